-- What entities' counters are now believed to have been, and from which day on; in order of entity and day.
with current_version as (
    select entity_key, max(version) as version from entity_version group by entity_key
)
select entity_key, from_day,
{% for stem in counters %}
       {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from {{ component }}_change
left join current_version using (entity_key)
where {{ component }}_change.version = coalesce(current_version.version, 0)
order by entity_key, from_day
