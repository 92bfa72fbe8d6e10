-- Every entity of the component, in order of key, with its last change: what its next reading goes on from.
with current_version as (
    select entity_key, max(version) as version from entity_version group by entity_key
),
latest as (
    select entity_key, arg_max({{ component }}_change.rowid, from_day) as change_row
    from {{ component }}_change
    left join current_version using (entity_key)
    where {{ component }}_change.version = coalesce(current_version.version, 0)
    group by entity_key
)
select entity.entity_id, entity.entity_key, coalesce(current_version.version, 0)::integer as version,
       entity.first_seen_on, (entity.model is null)::tinyint as unnamed, change.first_day,
{% for stem in counters %}
       {{ stem }}_raw, {{ stem }}_changes, {{ stem }}_changed_on, {{ stem }}_nonzero_on, {{ stem }}_max_rise{{ "," if not loop.last }}
{% endfor %}
from entity
left join current_version using (entity_key)
left join latest using (entity_key)
left join {{ component }}_change change on change.rowid = latest.change_row
where entity.component = '{{ component }}'
order by entity.entity_key
