-- told: what was last told of an entity before its host was emptied, for rows of the spine asked before that
-- grain: one row per spine row whose host was emptied later, and of whose entity something had been told by then
-- sees:  mitigations begun, and risks told, by known_until
-- binds: component, known_until, told_days
with emptied as (
    select spine.entity_key, spine.asof_at, min(mitigation.started_at) as emptied_at
    from spine
    join entity_host using (entity_key)
    join mitigation using (host_id)
    where not entity_host.simulated
      and mitigation.started_at > spine.asof_at
      and mitigation.started_at <= $known_until::timestamptz
      and mitigation.started_at >= entity_host.valid_from
      and (entity_host.valid_until is null or mitigation.started_at < entity_host.valid_until)
    group by spine.entity_key, spine.asof_at
),
judged as (
    select risk.* from risk semi join emptied using (entity_key) where component = $component and status = 'ok'
),
newest as (
    select emptied.entity_key, emptied.asof_at, max(judged.asof_at) as told_at
    from emptied
    join judged
      on judged.entity_key = emptied.entity_key
     and judged.asof_at <= emptied.emptied_at
     and judged.asof_at > emptied.emptied_at - to_days($told_days::integer)
    group by emptied.entity_key, emptied.asof_at
)
select newest.entity_key,
       newest.asof_at,
       epoch(newest.told_at - newest.asof_at) / 86400 as told_in_days,      -- when it was told; below zero: before the row was asked
       avg(judged.risk_1d) as risk_1d,                                      -- of failing within that many days of being told,
       avg(judged.risk_3d) as risk_3d,                                      -- a mean where champion and challenger both told one
       avg(judged.risk_7d) as risk_7d,
       avg(judged.risk_14d) as risk_14d,
       avg(judged.risk_30d) as risk_30d
from newest
join judged on judged.entity_key = newest.entity_key and judged.asof_at = newest.told_at
group by newest.entity_key, newest.asof_at, newest.told_at
order by newest.asof_at, newest.entity_key
