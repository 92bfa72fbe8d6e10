-- labels: what became of each row of the spine, as known by a later moment; a repaired entity can fail again
-- grain: one row per spine row
-- sees:  events, failures and stays that had arrived by known_until
-- binds: known_until, grace_hours, uncertain_days
with told as (
    select max(told_at) as until from (
        select observed_at as told_at, ingested_at from event join entity using (entity_key) where component = '{{ component }}'
        union all
        select failed_at, ingested_at from failure join entity using (entity_key) where component = '{{ component }}'
    )
    where told_at <= $known_until::timestamptz and ingested_at <= $known_until::timestamptz + to_hours($grace_hours)
),
-- Taken out unfailed, it is not seen any longer.
left_host as (
    select spine.entity_key, spine.asof_at, max(coalesce(entity_host.valid_until, 'infinity')) as gone_at
    from spine
    join entity_host
      on entity_host.entity_key = spine.entity_key
     and entity_host.valid_from <= spine.asof_at
     and (entity_host.valid_until is null or entity_host.valid_until > spine.asof_at)
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
)
select spine.entity_key,
       spine.asof_at,
       min(epoch(failure.failed_at - spine.asof_at)) / 86400 as failed_in_days,   -- null: not known to have failed
       greatest(0, epoch(any_value(least(told.until, left_host.gone_at, $known_until::timestamptz)) - spine.asof_at)) / 86400
           as observed_days,                                                       -- how long it was seen to live after
       min(epoch(mitigated.started_at - spine.asof_at)) / 86400 as mitigated_in_days -- null: nobody emptied its host; below zero: before
from spine
cross join told
left join left_host using (entity_key, asof_at)
left join failure
  on failure.entity_key = spine.entity_key and failure.failed_at > spine.asof_at
 and failure.failed_at <= $known_until::timestamptz
 and failure.ingested_at <= $known_until::timestamptz + to_hours($grace_hours)
 and failure.failed_at <= coalesce(left_host.gone_at, 'infinity') + interval 1 minute
left join mitigated
  on mitigated.entity_key = spine.entity_key and mitigated.started_at > spine.asof_at - to_days($uncertain_days::integer)
 and mitigated.started_at <= $known_until::timestamptz
group by spine.entity_key, spine.asof_at
order by spine.asof_at, spine.entity_key
