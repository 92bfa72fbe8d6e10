-- severity: error
-- says: a drive with readings has no current change, several, or one that is not its newest
with read_once as (
    select distinct entity_key from disk_day
),
newest as (
    select entity_key, max(version) as version, arg_max(from_day, (version, from_day)) as from_day
    from disk_change group by entity_key
),
current as (
    select entity_key, count(*) as changes, any_value(version) as version, any_value(from_day) as from_day
    from disk_current group by entity_key
)
select entity_key, newest.from_day, coalesce(current.changes, 0) as current_changes, current.from_day as current_from_day
from read_once
full join newest using (entity_key)
left join current using (entity_key)
where current.changes is distinct from 1
   or current.version <> newest.version
   or current.from_day <> newest.from_day
