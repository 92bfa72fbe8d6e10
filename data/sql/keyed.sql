-- The batch with our keys instead of serial numbers; `seq` is the order in which the rows came.
create or replace temp table keyed as
select entity.entity_key, staged.rowid as seq, staged.day, staged.ingested_at, staged.failure, staged.model, staged.capacity_bytes,
{% for column in columns %}
       staged.{{ column }}{{ "," if not loop.last }}
{% endfor %}
from staged
join entity on entity.component = '{{ component }}' and entity.entity_id = staged.entity_id
