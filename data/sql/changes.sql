-- `changed` with running totals, which go on from those of the last change held.
create or replace temp table changes as
with steps as (
    select newest.entity_key, newest.version, from_day as day, true as held, first_day,
{% for stem in counters %}
           {{ stem }}_raw, {{ stem }}_changes, {{ stem }}_changed_on, {{ stem }}_nonzero_on, {{ stem }}_max_rise{{ "," if not loop.last }}
{% endfor %}
    from newest
    semi join changed using (entity_key)
    join {{ component }}_change on {{ component }}_change.rowid = newest.change_row
    union all
    select entity_key, version, day, false, day,
{% for stem in counters %}
           {{ stem }}_raw,
           (coalesce(rise_{{ stem }}, 0) <> 0)::integer,
           case when rise_{{ stem }} <> 0 then day end,
           case when {{ stem }}_raw > 0 then day end,
           greatest(rise_{{ stem }}, 0){{ "," if not loop.last }}
{% endfor %}
    from changed
)
select entity_key, version, day as from_day, min(first_day) over so_far as first_day, held,
{% for stem in counters %}
       {{ stem }}_raw,
       (sum({{ stem }}_changes) over so_far)::integer as {{ stem }}_changes,
       max({{ stem }}_changed_on) over so_far as {{ stem }}_changed_on,
       min({{ stem }}_nonzero_on) over so_far as {{ stem }}_nonzero_on,
       coalesce(max({{ stem }}_max_rise) over so_far, 0) as {{ stem }}_max_rise{{ "," if not loop.last }}
{% endfor %}
from steps
window so_far as (partition by entity_key, version order by day rows unbounded preceding)
