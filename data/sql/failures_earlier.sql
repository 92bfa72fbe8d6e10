-- A failure that is held already was earlier, where the same source tells of an earlier day.
update failure
set failed_at = told.failed_at, ingested_at = least(failure.ingested_at, told.ingested_at)
from (
    select entity_key, (min(day) + interval 1 day)::timestamptz as failed_at, min(ingested_at) as ingested_at
    from keyed
    where keyed.failure = 1
    group by entity_key
) told
where failure.entity_key = told.entity_key and failure.source = $source and failure.failed_at > told.failed_at
