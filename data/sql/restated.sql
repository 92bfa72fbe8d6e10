-- Rows for days that are held already, with other values than those: what a drive said of a day is not rewritten.
with held as (
    select * from {{ component }}_day where day between $first_day and $last_day
),
believed as (
    select * exclude (version) from {{ component }}_change semi join {{ component }}_current using (entity_key, version)
),
compared as (
    select keyed.*,
{% for stem in gauges %}
           held.{{ stem }}_raw as held_{{ stem }},
{% endfor %}
{% for stem in counters %}
           believed.{{ stem }}_raw as held_{{ stem }}{{ "," if not loop.last }}
{% endfor %}
    from keyed
    join held on held.entity_key = keyed.entity_key and held.day = keyed.day
    asof left join believed on believed.entity_key = keyed.entity_key and keyed.day >= believed.from_day
)
select seq
from compared
where
{% for stem in gauges + counters %}
      {{ stem }}_raw is distinct from held_{{ stem }}{{ " or" if not loop.last }}
{% endfor %}
