-- labels: what became of each row of the spine, as known by a later moment
-- grain: one row per spine row
-- sees:  failures and readings that had arrived by known_until
-- binds: known_until, grace_hours, uncertain_days
with last_seen as (
    select entity_key, max(day) as day
    from {{ component }}_day
    where day < $known_until::timestamptz::date
      and ingested_at <= greatest($known_until::timestamptz, (day + 1)::timestamptz + to_hours($grace_hours))
    group by entity_key
),
-- Where VMs and their hosts are simulated nobody touches the part: what became of it is certain.
mitigated as (
    select entity_host.entity_key, mitigation.started_at, entity_host.valid_from, entity_host.valid_until
    from mitigation
    join entity_host using (host_id)
    where not entity_host.simulated
      and mitigation.started_at >= entity_host.valid_from
      and (entity_host.valid_until is null or mitigation.started_at < entity_host.valid_until)
)
select spine.entity_key,
       spine.asof_at,
       min(epoch(failure.failed_at - spine.asof_at)) / 86400 as failed_in_days,   -- null: not known to have failed
       greatest(0, epoch(any_value(least((last_seen.day + 1)::timestamptz, $known_until::timestamptz)) - spine.asof_at)) / 86400
           as observed_days,                                                       -- how long it was seen to live after
       min(epoch(mitigated.started_at - spine.asof_at)) / 86400 as mitigated_in_days -- null: nobody emptied its host; below zero: before
from spine
left join last_seen using (entity_key)
left join failure
  on failure.entity_key = spine.entity_key and failure.failed_at > spine.asof_at
 and failure.failed_at <= $known_until::timestamptz
 and failure.ingested_at <= $known_until::timestamptz + to_hours($grace_hours)
left join mitigated
  on mitigated.entity_key = spine.entity_key and mitigated.started_at > spine.asof_at - to_days($uncertain_days::integer)
 and mitigated.started_at <= $known_until::timestamptz
group by spine.entity_key, spine.asof_at
order by spine.asof_at, spine.entity_key
