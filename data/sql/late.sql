-- Entities whose changes cannot simply be continued: a day at or before one already held, a reading that came later than
-- the grace after its day's end, or a day that belongs into an earlier belief than the newest as well.
create or replace temp table late as
with arrived as (
    select entity_key,
           min(day) as first_day,
           bool_and(ingested_at <= (day + 1)::timestamptz + to_hours($grace_hours)) as timely
    from fresh
    group by entity_key
),
held as (
    select entity_key, max(day) as last_day
    from {{ component }}_day
    semi join arrived using (entity_key)
    where day >= $first_day
      and not exists (select 1 from fresh where fresh.entity_key = {{ component }}_day.entity_key and fresh.day = {{ component }}_day.day)
    group by entity_key
),
newest_belief as (
    select entity_key, max(known_from) as known_from from entity_version group by entity_key
)
select arrived.entity_key
from arrived
left join held using (entity_key)
left join newest_belief using (entity_key)
where not arrived.timely
   or held.last_day > arrived.first_day
   or newest_belief.known_from > (arrived.first_day + 1)::timestamptz
