-- An entity known from the inventory, or from a later day, learns what its readings say of it.
update entity
set first_seen_on = least(coalesce(entity.first_seen_on, heard.first_seen_on), heard.first_seen_on),
    model = coalesce(entity.model, heard.model),
    capacity_bytes = coalesce(entity.capacity_bytes, heard.capacity_bytes)
from (
    select entity_key, min(day) as first_seen_on, arg_min(model, day) as model, arg_min(capacity_bytes, day) as capacity_bytes
    from keyed
    group by entity_key
) heard
where entity.entity_key = heard.entity_key
  and (entity.first_seen_on is null or entity.first_seen_on > heard.first_seen_on or (entity.model is null and heard.model is not null)
       or (entity.capacity_bytes is null and heard.capacity_bytes is not null))
