-- Entities that this batch is the first to mention get a key, in order of their first day.
insert into entity (entity_key, component, entity_id, model, capacity_bytes, first_seen_on, source, simulated)
select nextval('entity_key_seq'), '{{ component }}', entity_id, model, capacity_bytes, first_seen_on, $source, false
from (
    select entity_id,
           arg_min(model, day) as model,
           arg_min(capacity_bytes, day) as capacity_bytes,
           min(day) as first_seen_on
    from staged
    anti join (select entity_id from entity where component = '{{ component }}') using (entity_id)
    group by entity_id
    order by first_seen_on, entity_id
)
