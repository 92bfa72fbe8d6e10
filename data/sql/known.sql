-- Every entity of the component.
select entity_id, entity_key, first_seen_on, (model is null)::tinyint as unnamed, (capacity_bytes is null)::tinyint as unsized
from entity
where component = '{{ component }}'
