-- The rows of `series` in which any counter is not what it was in the row before. `series` is in order of entity,
-- version and day, so that the row before is found without sorting again. A rise is null where either value is.
create or replace temp table changed as
with neighbours as (
    select *,
           lag(entity_key) over () is not distinct from entity_key and lag(version) over () = version as continued,
{% for stem in counters %}
           lag({{ stem }}_raw) over () as before_{{ stem }}{{ "," if not loop.last }}
{% endfor %}
    from series
)
select entity_key, version, day,
{% for stem in counters %}
       {{ stem }}_raw,
       case when continued then {{ stem }}_raw - before_{{ stem }} end as rise_{{ stem }}{{ "," if not loop.last }}
{% endfor %}
from neighbours
where not held
  and (
       not continued
{% for stem in counters %}
       or before_{{ stem }} is distinct from {{ stem }}_raw
{% endfor %}
  )
