-- severity: error
-- says: a superseded change does not end where the next one of its drive begins
select entity_key, version, from_day, until_day, next_day
from (
    select entity_key, version, from_day, until_day, lead(from_day) over later as next_day
    from (
        select entity_key, version, from_day, until_day from disk_superseded
        union all
        select entity_key, version, from_day, null from disk_current
    )
    window later as (partition by entity_key, version order by from_day)
)
where until_day <> coalesce(next_day, '9999-12-31')
