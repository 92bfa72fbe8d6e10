-- spine: who is asked about, and when, of a component that is watched by daily readings
-- grain: one row per live entity and day asked; an entity is live from its first reading until it fails or falls silent;
--        in no order
-- sees:  readings that had arrived by the moment asked (or within the grace of their own day's end), nothing later
-- binds: days, the first and the last of them (first_day, last_day), lookback_days, grace_hours, stale_days, short_history_days, negative_share, positive_days, known_until, seed
{% from "readings/arrival.sql" import arrived_by, arrived_in_time %}
{% macro picked(key) -%}
($negative_share::double >= 1 or hash({{ key }}, asked.asof_at, $seed::integer) % 1000000 < $negative_share::double * 1000000)
{%- endmacro %}
with asked as materialized (
    select distinct asof_day, (asof_day + 1)::timestamptz as asof_at from (select unnest($days::date[]) as asof_day)
),
next_failure as (
    select entity_key, min(failed_at) as failed_at, min(ingested_at) as ingested_at from failure group by entity_key
),
positive as (
    select next_failure.entity_key, asked.asof_at
    from asked
    join next_failure
      on next_failure.failed_at > asked.asof_at
     and next_failure.failed_at <= asked.asof_at + to_days($positive_days::integer)
    where next_failure.failed_at <= $known_until::timestamptz
      and next_failure.ingested_at <= $known_until::timestamptz + to_hours($grace_hours)
),
-- Of those whose host was emptied none is spared: hardly any of them is seen to fail, and their evidence is the rarest.
emptied as (
    select distinct entity_host.entity_key, asked.asof_at
    from asked
    join mitigation
      on mitigation.started_at > asked.asof_at
     and mitigation.started_at <= least(asked.asof_at + to_days($positive_days::integer), $known_until::timestamptz)
    join entity_host using (host_id)
    where not entity_host.simulated
      and mitigation.started_at >= entity_host.valid_from
      and (entity_host.valid_until is null or mitigation.started_at < entity_host.valid_until)
),
spared_none as (
    select entity_key, asof_at from positive union select entity_key, asof_at from emptied
),
-- Chance picks before anything is looked up: what is not kept costs nothing.
kept as (
    select began.entity_key, asked.asof_day, asked.asof_at, began.first_day
    from asked
    join {{ component }}_current began on began.first_day <= asked.asof_day
    where {{ picked("began.entity_key") }}
    union all
    select began.entity_key, asked.asof_day, asked.asof_at, began.first_day
    from spared_none
    join asked using (asof_at)
    join {{ component }}_current began on began.entity_key = spared_none.entity_key
    where not {{ picked("spared_none.entity_key") }}
),
living as (
    select kept.*
    from kept
    anti join next_failure
      on next_failure.entity_key = kept.entity_key
     and next_failure.failed_at <= kept.asof_at
     and next_failure.ingested_at <= kept.asof_at + to_hours($grace_hours)
),
-- Written out first, so that no plan looks up all days held.
read_that_day as materialized (
    select entity_key, day
    from {{ component }}_day
    semi join asked on asked.asof_day = {{ component }}_day.day
    where {{ arrived_in_time(component ~ "_day") }}
),
-- Nearly all were read on the very day: only for the others are earlier days looked through.
looked_up as materialized (
    select living.*, read_that_day.day as last_day
    from living
    left join read_that_day on read_that_day.entity_key = living.entity_key and read_that_day.day = living.asof_day
),
unseen as (
    select entity_key, asof_day, asof_at, first_day from looked_up where last_day is null
),
-- Of who left long ago nothing is of use but what was read shortly before it was first missed.
missed as (
    select entity_key, min(asof_day) - $lookback_days::integer as from_day from unseen group by entity_key
),
read_before as materialized (
    select {{ component }}_day.entity_key, {{ component }}_day.day, {{ component }}_day.ingested_at
    from missed
    join {{ component }}_day
      on {{ component }}_day.entity_key = missed.entity_key and {{ component }}_day.day >= missed.from_day
    where {{ component }}_day.day between $first_day::date - $lookback_days::integer and $last_day::date - 1
),
seen_earlier as (
    select unseen.entity_key, unseen.asof_day, unseen.asof_at, unseen.first_day, max(read_before.day) as last_day
    from unseen
    join read_before
      on read_before.entity_key = unseen.entity_key
     and read_before.day < unseen.asof_day
     and read_before.day >= unseen.asof_day - $lookback_days::integer
     and {{ arrived_by("read_before", "epoch_us(unseen.asof_at)") }}
    group by unseen.entity_key, unseen.asof_day, unseen.asof_at, unseen.first_day
),
seen as (
    select * from looked_up where last_day is not null union all select * from seen_earlier
),
-- The first day of those with late readings, as it was believed at the moment asked: a version's first change is of it.
rewritten as (
    select superseded.entity_key, superseded.first_day, entity_version.known_from, entity_version.known_until
    from entity_version
    join {{ component }}_superseded superseded using (entity_key, version)
    where superseded.from_day = superseded.first_day
),
dated as (
    select seen.* replace (coalesce(rewritten.first_day, seen.first_day) as first_day)
    from seen
    left join rewritten
      on rewritten.entity_key = seen.entity_key
     and seen.asof_at >= rewritten.known_from
     and seen.asof_at < rewritten.known_until
)
select dated.entity_key,
       entity.entity_id,
       dated.asof_at,                                                       -- the moment asked: the end of the day
       last_day,                                                            -- day of the newest reading it may see
       (last_day - first_day + 1)::integer as history_days,                 -- days since the first reading
       case when last_day < asof_day - $stale_days::integer
                 or last_day - first_day + 1 < $short_history_days::integer
            then 'unknown' else 'ok' end as status,                         -- ok | unknown
       case when last_day < asof_day - $stale_days::integer then 'stale_telemetry'
            when last_day - first_day + 1 < $short_history_days::integer then 'too_little_history'
            end as reason,                                                  -- why unknown
       case when spared_none.entity_key is not null then 1.0 else 1.0 / $negative_share::double end as weight  -- how many rows this one stands for
from dated
join entity using (entity_key)
left join spared_none using (entity_key, asof_at)
