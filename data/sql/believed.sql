-- What entities' counters are now believed to have been, and from which day on; in order of entity and day.
select entity_key, from_day,
{% for stem in counters %}
       {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from {{ component }}_change
semi join {{ component }}_current using (entity_key, version)
order by entity_key, from_day
