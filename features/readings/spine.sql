-- spine: who is asked about, and when, of a component that is watched by daily readings
-- grain: one row per live entity and day asked; an entity is live from its first reading until it fails or falls silent
-- sees:  readings that had arrived by the moment asked (or within the grace of their own day's end), nothing later
-- binds: days, lookback_days, grace_hours, stale_days, short_history_days, negative_share, positive_days, known_until, seed
with asked as (
    select asof_day, asof_day - back.days::integer as day
    from (select unnest($days::date[]) as asof_day), range($lookback_days::integer + 1) back(days)
),
seen as (
    select asked.asof_day, {{ component }}_day.entity_key, max({{ component }}_day.day) as last_day
    from asked
    join {{ component }}_day
      on {{ component }}_day.day = asked.day
     and {{ component }}_day.ingested_at
         <= greatest((asked.asof_day + 1)::timestamptz, ({{ component }}_day.day + 1)::timestamptz + to_hours($grace_hours))
    group by asked.asof_day, {{ component }}_day.entity_key
),
next_failure as (
    select entity_key, min(failed_at) as failed_at, min(ingested_at) as ingested_at from failure group by entity_key
),
live as (
    select seen.*, entity.entity_id, (seen.asof_day + 1)::timestamptz as asof_at, next_failure.failed_at,
           next_failure.ingested_at as failure_known_at
    from seen
    join entity using (entity_key)
    left join next_failure using (entity_key)
    where next_failure.failed_at is null
       or next_failure.failed_at > (seen.asof_day + 1)::timestamptz
       or next_failure.ingested_at > (seen.asof_day + 1)::timestamptz + to_hours($grace_hours)
),
-- Of those whose host was emptied none is spared: hardly any of them is seen to fail, and their evidence is the rarest.
emptied as (
    select distinct live.entity_key, live.asof_at, true as mitigated
    from live
    join entity_host using (entity_key)
    join mitigation using (host_id)
    where not entity_host.simulated
      and mitigation.started_at > live.asof_at
      and mitigation.started_at <= least(live.asof_at + to_days($positive_days::integer), $known_until::timestamptz)
      and mitigation.started_at >= entity_host.valid_from
      and (entity_host.valid_until is null or mitigation.started_at < entity_host.valid_until)
),
-- An entity's first day, as it was believed at the moment asked.
began as (
    select entity_key, version, min(first_day) as first_day from {{ component }}_change group by entity_key, version
),
marked as (
    select live.*, began.first_day, coalesce(emptied.mitigated, false) as mitigated,
           coalesce(failed_at > asof_at and failed_at <= asof_at + to_days($positive_days::integer)
                    and failed_at <= $known_until::timestamptz
                    and failure_known_at <= $known_until::timestamptz + to_hours($grace_hours), false) as positive
    from live
    left join emptied using (entity_key, asof_at)
    left join entity_version
      on entity_version.entity_key = live.entity_key
     and live.asof_at >= entity_version.known_from
     and live.asof_at < entity_version.known_until
    left join began
      on began.entity_key = live.entity_key and began.version = coalesce(entity_version.version, 0)
)
select entity_key,
       entity_id,
       asof_at,                                                             -- the moment asked: the end of the day
       last_day,                                                            -- day of the newest reading it may see
       (last_day - first_day + 1)::integer as history_days,             -- days since the first reading
       case when last_day < asof_at::date - 1 - $stale_days::integer
                 or last_day - first_day + 1 < $short_history_days::integer
            then 'unknown' else 'ok' end as status,                         -- ok | unknown
       case when last_day < asof_at::date - 1 - $stale_days::integer then 'stale_telemetry'
            when last_day - first_day + 1 < $short_history_days::integer then 'too_little_history'
            end as reason,                                                  -- why unknown
       case when positive or mitigated then 1.0 else 1.0 / $negative_share::double end as weight  -- how many rows this one stands for
from marked
where positive
   or mitigated
   or $negative_share::double >= 1
   or hash(entity_key, asof_at, $seed::integer) % 1000000 < $negative_share::double * 1000000
order by asof_at, entity_key
