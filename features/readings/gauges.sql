-- gauges: what each row's newest reading says
-- grain: one row per row of `asked` (row, entity_key, asof_at, last_day), in no order
-- sees:  readings of last_day
-- binds: first_day, last_day of the rows, so that no other days are read
-- Only the days asked about are read, not all between the first and the last of them.
with last_read as materialized (
    select distinct last_day as day from asked
)
select asked.row, read_then.* exclude (day, entity_key, ingested_at)
from asked
join (
    select *
    from {{ component }}_day
    semi join last_read using (day)
    where day between $first_day::date and $last_day::date
) read_then
  on read_then.entity_key = asked.entity_key and read_then.day = asked.last_day
