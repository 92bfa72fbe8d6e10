-- Every entity of the component, and the version of its changes that is believed now.
with current_version as (
    select entity_key, max(version) as version from entity_version group by entity_key
)
select entity_id, entity_key, coalesce(version, 0)::integer as version, first_seen_on, (model is null)::tinyint as unnamed
from entity
left join current_version using (entity_key)
where component = '{{ component }}'
