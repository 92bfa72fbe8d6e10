-- A daily source knows the day only: the failure is put at the day's end. An entity fails once, by its first such day.
insert into failure (entity_key, failed_at, ingested_at, cause, source)
select entity_key, (min(day) + interval 1 day)::timestamptz, min(ingested_at), null, $source
from keyed
anti join failure using (entity_key)
where keyed.failure = 1
group by entity_key
order by entity_key
