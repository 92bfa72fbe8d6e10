-- What in-order entities said, each after the current change held of it.
create or replace temp table series as
with onward as (
    select * from fresh anti join late using (entity_key)
)
select entity_key, version, from_day as day, true as held,
{% for stem in counters %}
       {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from {{ component }}_current
semi join onward using (entity_key)
union all
select onward.entity_key, coalesce({{ component }}_current.version, 0), onward.day, false as held,
{% for stem in counters %}
       onward.{{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from onward
left join {{ component }}_current using (entity_key)
order by entity_key, version, day
