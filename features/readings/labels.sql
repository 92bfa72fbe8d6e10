-- labels: what became of each row of the spine, as known by a later moment
-- grain: one row per spine row, in no order
-- sees:  failures and readings that had arrived by known_until
-- binds: known_until, grace_hours, uncertain_days
{% from "readings/arrival.sql" import arrived_by, days_between %}
with newest as (
    select max(day) as day from {{ component }}_day where day < $known_until::timestamptz::date
),
-- Nearly all were seen in the last week held: only for the others are earlier days looked through.
seen_lately as (
    select entity_key, max(day) as day
    from {{ component }}_day
    where day > (select day - 7 from newest)
      and day < $known_until::timestamptz::date
      and {{ arrived_by(component ~ "_day", "epoch_us($known_until::timestamptz)") }}
    group by entity_key
),
unseen as (
    select distinct entity_key from spine anti join seen_lately using (entity_key)
),
seen_once as (
    select entity_key, max(day) as day
    from {{ component }}_day
    semi join unseen using (entity_key)
    where day < $known_until::timestamptz::date
      and {{ arrived_by(component ~ "_day", "epoch_us($known_until::timestamptz)") }}
    group by entity_key
),
last_seen as (
    select entity_key, least((day + 1)::timestamptz, $known_until::timestamptz) as seen_until
    from (select * from seen_lately union all select * from seen_once)
),
failed as (
    select spine.entity_key, spine.asof_at, min(failure.failed_at) as failed_at
    from spine
    join failure
      on failure.entity_key = spine.entity_key and failure.failed_at > spine.asof_at
     and failure.failed_at <= $known_until::timestamptz
     and failure.ingested_at <= $known_until::timestamptz + to_hours($grace_hours)
    group by spine.entity_key, spine.asof_at
),
-- Where VMs and their hosts are simulated nobody touches the part: what became of it is certain.
mitigated as (
    select entity_host.entity_key, mitigation.started_at
    from mitigation
    join entity_host using (host_id)
    where not entity_host.simulated
      and mitigation.started_at >= entity_host.valid_from
      and (entity_host.valid_until is null or mitigation.started_at < entity_host.valid_until)
),
emptied as (
    select spine.entity_key, spine.asof_at, min(mitigated.started_at) as started_at
    from spine
    join mitigated
      on mitigated.entity_key = spine.entity_key
     and mitigated.started_at > spine.asof_at - to_days($uncertain_days::integer)
     and mitigated.started_at <= $known_until::timestamptz
    group by spine.entity_key, spine.asof_at
)
select spine.entity_key,
       spine.asof_at,
       {{ days_between("spine.asof_at", "failed.failed_at") }} as failed_in_days,     -- null: not known to have failed
       greatest(0, {{ days_between("spine.asof_at", "last_seen.seen_until") }}) as observed_days, -- how long it was seen to live after
       {{ days_between("spine.asof_at", "emptied.started_at") }} as mitigated_in_days -- null: nobody emptied its host; below zero: before
from spine
left join last_seen using (entity_key)
left join failed using (entity_key, asof_at)
left join emptied using (entity_key, asof_at)
