-- severity: warning
-- says: on the newest day, fewer than nine in ten of the entities of the day before reported
with days as (
    select day, count(*) as entities from disk_day where day >= (select max(day) from disk_day) - 1 group by day
)
select max(day) as day, arg_max(entities, day) as entities, arg_min(entities, day) as entities_before
from days
having count(*) = 2 and arg_max(entities, day) < 0.9 * arg_min(entities, day)
