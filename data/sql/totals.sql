-- The running totals of the changes in `sought`, in the order of their places.
with found as (
    select {{ component }}_change.rowid as change_row, sought.place
    from {{ component }}_change
    join sought using (entity_key, version, from_day)
)
select found.place, {{ component }}_change.* exclude (entity_key, version, from_day)
from {{ component }}_change
join found on found.change_row = {{ component }}_change.rowid
order by found.place
