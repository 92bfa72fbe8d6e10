-- Where the last change of each in-order entity stands in the change table.
create or replace temp table newest as
with current_version as (
    select entity_key, max(version) as version from entity_version group by entity_key
)
select entity_key, {{ component }}_change.version, arg_max({{ component }}_change.rowid, from_day) as change_row
from {{ component }}_change
semi join (select entity_key from fresh anti join late using (entity_key)) onward using (entity_key)
left join current_version using (entity_key)
where {{ component }}_change.version = coalesce(current_version.version, 0)
group by entity_key, {{ component }}_change.version
