-- The running totals of the current changes of the entities in `sought`, in the order of their places.
select sought.place, {{ component }}_current.*
from sought
join {{ component }}_current using (entity_key)
order by sought.place
