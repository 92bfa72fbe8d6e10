-- Every entity of the component with its last change: what its next reading is compared with.
with current_version as (
    select entity_key, max(version) as version from entity_version group by entity_key
),
latest as (
    select entity_key, max(from_day) as from_day
    from {{ component }}_change
    left join current_version using (entity_key)
    where {{ component }}_change.version = coalesce(current_version.version, 0)
    group by entity_key
)
select entity.entity_id, entity.entity_key, coalesce(current_version.version, 0)::integer as version,
       entity.first_seen_on, (entity.model is null)::tinyint as unnamed, latest.from_day,
{% for stem in counters %}
       {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from entity
left join current_version using (entity_key)
left join latest using (entity_key)
left join {{ component }}_change change
    on change.entity_key = entity.entity_key
    and change.from_day = latest.from_day
    and change.version = coalesce(current_version.version, 0)
where entity.component = '{{ component }}'
