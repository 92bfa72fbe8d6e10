-- Rows for days that are not held yet, in order of entity and day. `repeated` marks the second and later rows of the
-- batch itself for the same entity and day: the first one wins.
create or replace temp table fresh as
with unheld as (
    select keyed.*
    from keyed
    anti join (select day, entity_key from {{ component }}_day where day between $first_day and $last_day) held
        on held.day = keyed.day and held.entity_key = keyed.entity_key
),
ordered as (
    select * from unheld order by entity_key, day, seq
)
select *,
       coalesce(lag(entity_key) over () = entity_key and lag(day) over () = day, false) as repeated
from ordered
