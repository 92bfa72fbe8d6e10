-- Parts and what they and their hosts were within a window, as known at a moment: one row per stay.
-- grain: part, host and the host's unchanged properties; binds: $begins, $asof_at, $at, $horizon, $at_risk_from,
-- $components, $versions.
with sighted as (                              -- a value that was not told before is taken to have held before
    select host_id, zone, cluster, zone || '/' || rack as rack, hardware_model, firmware, simulated,
           coalesce(power_feed, first_value(power_feed ignore nulls) over onward) as power_feed,
           coalesce(switch, first_value(switch ignore nulls) over onward) as switch,
           coalesce(kernel, first_value(kernel ignore nulls) over onward) as kernel,
           if(row_number() over (partition by host_id order by valid_from) = 1, '-infinity', valid_from) as begins,
           if(valid_until <= $at, valid_until, 'infinity') as ends
    from host
    where valid_from <= $at
    window onward as (partition by host_id order by valid_from rows between current row and unbounded following)
),
sited as (
    select entity_key, host_id,
           if(row_number() over (partition by entity_key order by valid_from) = 1, '-infinity', valid_from) as begins,
           if(valid_until <= $at, valid_until, 'infinity') as ends
    from entity_host
    where valid_from <= $at
),
placed as (
    select entity_key, min(valid_from) as since from entity_host where valid_from <= $at group by entity_key
),
broken as (
    select entity_key, min(failed_at) as failed_at from failure
    where ingested_at <= $asof_at and failed_at <= $asof_at group by entity_key
),
reading as (
    select entity_key, min(day)::timestamptz as begins, (max(day) + interval 1 day)::timestamptz as ends,
           max(smart_9_raw) as hours
    from disk_day
    where day >= $begins::date and day < $asof_at::date and ingested_at <= $asof_at
    group by entity_key
),
lived as (                                     -- drives while they were read; other parts while they sat somewhere
    select entity.*, reading.hours, broken.failed_at,
           greatest($begins, coalesce(reading.begins, placed.since)) as begins, least($asof_at, reading.ends, broken.failed_at) as ends
    from entity left join reading using (entity_key) left join broken using (entity_key)
         left join placed using (entity_key)
    where (list_contains($components, component)) and (broken.failed_at is null or broken.failed_at > $begins)
      and (reading.entity_key is not null
           or (placed.since < $asof_at and (component <> 'disk' or not exists (select 1 from reading))))
),
believed as (
    select unnest($models) as component, unnest($versions) as model_version
),
risky as (                                     -- each part's days at risk in the window, by the model that is believed
    select entity_key, min(asof_at) as since, max(asof_at) as until
    from risk join believed using (component, model_version)
    where asof_at > $begins and asof_at <= $asof_at and status = 'ok'
      and case $horizon when 1 then risk_1d when 3 then risk_3d when 7 then risk_7d when 14 then risk_14d
          else risk_30d end >= $at_risk_from
    group by entity_key
),
stayed as (
    select lived.*, sited.host_id, sighted.* exclude (host_id, begins, ends, simulated, firmware),
           sighted.firmware as host_firmware, coalesce(sighted.simulated, false) as host_simulated,
           greatest(lived.begins, coalesce(sited.begins, '-infinity'), coalesce(sighted.begins, '-infinity')) as from_at,
           least(lived.ends, coalesce(sited.ends, 'infinity'), coalesce(sighted.ends, 'infinity')) as until_at,
           coalesce(lived.failed_at, if(risky.until = $asof_at, risky.since, null)) as hit_at
    from lived
    left join risky using (entity_key)
    left join sited on sited.entity_key = lived.entity_key and sited.begins < lived.ends and sited.ends > lived.begins
    left join sighted on sighted.host_id = sited.host_id
         and sighted.begins < least(lived.ends, sited.ends) and sighted.ends > greatest(lived.begins, sited.begins)
)
select component, entity_id as part,
       host_id as host,
       date_diff('second', from_at, until_at) / 86400.0 as days,       -- watched within the window
       if(hit_at > from_at and hit_at <= until_at, hit_at, null) as event_at,
       failed_at is not null as failed,
       failed_at is null and until_at >= $asof_at as current,
       simulated or host_simulated as simulated,
       zone, cluster, rack, power_feed, switch, hardware_model,
       host_firmware as firmware,
       kernel,
       model,
       firmware as part_firmware,
       if(component = 'disk', model || ' ' || entity_id[:4], null) as batch,   -- makers begin a serial with its lot
       case when hours is null then null when hours < 8766 then 'under 1 year' when hours < 17532 then '1 to 2 years'
            when hours < 26298 then '2 to 3 years' when hours < 35064 then '3 to 4 years' else 'over 4 years' end as age
from stayed
where until_at > from_at
order by component, entity_id, from_at
