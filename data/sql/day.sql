-- Gauges, and the fact that the entity was seen at all, go in by day.
insert into {{ component }}_day
select day, entity_key, ingested_at,
{% for stem in gauges %}
       {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from fresh
order by day
