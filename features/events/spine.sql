-- spine: who is asked about, and when, of a component that is watched by its events
-- grain: one row per live entity and day asked; an entity is live while it sits in a host and is not known to be down
-- sees:  events and failures that had arrived by the moment asked (or within the grace of their own day's end)
-- binds: days, grace_hours, silent_days, short_history_days, negative_share, positive_days, known_until, seed
with asked as (
    select asof_day, (asof_day + 1)::timestamptz as asof_at from (select unnest($days::date[]) as asof_day)
),
news as (
    select event.entity_key, observed_at as told_at, ingested_at, kind = 'returned' as returned
    from event join entity using (entity_key) where component = '{{ component }}'
    union all
    select failure.entity_key, failed_at, ingested_at, false
    from failure join entity using (entity_key) where component = '{{ component }}'
    union all
    select entity_host.entity_key, unnest([valid_from, valid_until]), unnest([valid_from, valid_until]), false
    from entity_host join entity using (entity_key) where component = '{{ component }}'
),
-- The feed of the whole component: silence of one entity is good news, silence of all of them is no news.
told as (
    select max(told_at)::date as day, greatest(told_at, ingested_at - to_hours($grace_hours))::date as known_on
    from news group by known_on
),
feed as (
    select asof_day, max(told.day) as told_day
    from asked left join told on told.known_on <= asof_day
    group by asof_day
),
stay as (
    select entity_host.entity_key, entity.entity_id, valid_from, valid_until,
           min(valid_from) over (partition by entity_host.entity_key) as first_from
    from entity_host join entity using (entity_key)
    where component = '{{ component }}'
),
sited as (
    select asked.asof_day, asked.asof_at, stay.entity_key, stay.entity_id,
           max(stay.valid_from) as stayed_from, any_value(stay.first_from)::date as first_day
    from asked
    join stay on stay.valid_from <= asked.asof_at and (stay.valid_until is null or stay.valid_until > asked.asof_at)
    group by asked.asof_day, asked.asof_at, stay.entity_key, stay.entity_id
),
came_back as (
    select entity_key, observed_at as told_at, ingested_at from event where kind = 'returned'
),
last_failure as (
    select sited.asof_at, sited.entity_key, max(failure.failed_at) as failed_at
    from sited
    join failure
      on failure.entity_key = sited.entity_key and failure.failed_at <= sited.asof_at
     and failure.ingested_at <= sited.asof_at + to_hours($grace_hours)
    group by sited.asof_at, sited.entity_key
),
down as (
    select last_failure.asof_at, last_failure.entity_key
    from last_failure
    join sited using (asof_at, entity_key)
    where sited.stayed_from <= last_failure.failed_at
      and not exists (
          select 1 from came_back
          where came_back.entity_key = last_failure.entity_key and came_back.told_at >= last_failure.failed_at
            and came_back.told_at <= last_failure.asof_at
            and came_back.ingested_at <= last_failure.asof_at + to_hours($grace_hours)
      )
),
-- Of those whose host was emptied none is spared: hardly any of them is seen to fail, and their evidence is the rarest.
emptied as (
    select distinct sited.asof_at, sited.entity_key, true as mitigated
    from sited
    join entity_host using (entity_key)
    join mitigation using (host_id)
    where not entity_host.simulated
      and mitigation.started_at > sited.asof_at
      and mitigation.started_at <= least(sited.asof_at + to_days($positive_days::integer), $known_until::timestamptz)
      and mitigation.started_at >= entity_host.valid_from
      and (entity_host.valid_until is null or mitigation.started_at < entity_host.valid_until)
),
marked as (
    select sited.*, feed.told_day, coalesce(failing.positive, false) as positive,
           coalesce(emptied.mitigated, false) as mitigated
    from sited
    join feed using (asof_day)
    left join (
        select distinct sited.asof_at, sited.entity_key, true as positive
        from sited
        join failure
          on failure.entity_key = sited.entity_key
         and failure.failed_at > sited.asof_at
         and failure.failed_at <= least(sited.asof_at + to_days($positive_days::integer), $known_until::timestamptz)
         and failure.ingested_at <= $known_until::timestamptz + to_hours($grace_hours)
    ) failing using (asof_at, entity_key)
    left join emptied using (asof_at, entity_key)
    anti join down using (asof_at, entity_key)
)
select entity_key,
       entity_id,
       asof_at,                                                             -- the moment asked: the end of the day
       asof_day as last_day,                                                -- the last day of which it may know
       (asof_day - first_day + 1)::integer as history_days,                 -- days since it was first in a host
       case when told_day is null or told_day < asof_day - $silent_days::integer
                 or asof_day - first_day + 1 < $short_history_days::integer
            then 'unknown' else 'ok' end as status,                         -- ok | unknown
       case when told_day is null or told_day < asof_day - $silent_days::integer then 'stale_telemetry'
            when asof_day - first_day + 1 < $short_history_days::integer then 'too_little_history'
            end as reason,                                                  -- why unknown
       case when positive or mitigated then 1.0 else 1.0 / $negative_share::double end as weight  -- how many rows this one stands for
from marked
where positive
   or mitigated
   or $negative_share::double >= 1
   or hash(entity_key, asof_at, $seed::integer) % 1000000 < $negative_share::double * 1000000
order by asof_at, entity_key
