-- node: what a node's outages, and those around it, say about it
-- grain: one row per row of `spine` (entity_key, asof_at, last_day)
-- sees:  outages and returns before asof_at that had arrived by then, or within the grace of it
-- binds: grace_hours
with outage as (
    select failure.entity_key, failure.failed_at, failure.ingested_at, split_part(failure.cause, ':', 1) as cause,
           entity.model as system, try_cast(regexp_extract(entity.entity_id, '-([0-9]+)$', 1) as integer) as number
    from failure join entity using (entity_key)
    where entity.component = 'node'
),
asked as (
    select spine.entity_key, spine.asof_at, entity.model as system,
           try_cast(regexp_extract(entity.entity_id, '-([0-9]+)$', 1) as integer) as number
    from spine join entity using (entity_key)
),
moment as (
    select distinct asof_at, system from asked
),
stay as (
    select asked.entity_key, asked.asof_at, min(entity_host.valid_from) as since
    from asked
    join entity_host on entity_host.entity_key = asked.entity_key and entity_host.valid_from <= asked.asof_at
    group by asked.entity_key, asked.asof_at
),
own as (
    select asked.entity_key, asked.asof_at, count(*) as outages, max(failed_at) as last_at, min(failed_at) as first_at,
           arg_max(cause, failed_at) as last_cause,
{% for days in (1, 7, 30, 90, 365) %}
           count(*) filter (failed_at > asked.asof_at - to_days({{ days }})) as outages_{{ days }}d,
{% endfor %}
{% for cause in ("Hardware", "Software") %}
           count(*) filter (cause = '{{ cause }}' and failed_at > asked.asof_at - to_days(30)) as {{ cause | lower }}_30d,
           count(*) filter (cause = '{{ cause }}' and failed_at > asked.asof_at - to_days(365)) as {{ cause | lower }}_365d,
{% endfor %}
           count(distinct failed_at::date) filter (failed_at > asked.asof_at - to_days(90)) as outage_days_90d
    from asked
    join outage
      on outage.entity_key = asked.entity_key
     and outage.failed_at <= asked.asof_at
     and outage.ingested_at <= asked.asof_at + to_hours($grace_hours)
    group by asked.entity_key, asked.asof_at
),
-- What the system went through: outages of any of its nodes.
around as (
    select moment.asof_at, moment.system,
           count(*) filter (failed_at > moment.asof_at - to_hours(6)) as system_outages_6h,
{% for days in (1, 7, 30) %}
           count(*) filter (failed_at > moment.asof_at - to_days({{ days }})) as system_outages_{{ days }}d,
{% endfor %}
           count(*) filter (cause = 'Hardware' and failed_at > moment.asof_at - to_days(30)) as system_hardware_30d,
           count(*) filter (cause = 'Software' and failed_at > moment.asof_at - to_days(30)) as system_software_30d,
           count(*) filter (failed_at > moment.asof_at - to_days(365)) as system_outages_365d
    from moment
    join outage
      on outage.system = moment.system
     and outage.failed_at <= moment.asof_at
     and outage.failed_at > moment.asof_at - to_days(365)
     and outage.ingested_at <= moment.asof_at + to_hours($grace_hours)
    group by moment.asof_at, moment.system
),
sited as (
    select moment.asof_at, moment.system, count(distinct entity_host.entity_key) as nodes
    from moment
    join entity on entity.component = 'node' and entity.model = moment.system
    join entity_host
      on entity_host.entity_key = entity.entity_key
     and entity_host.valid_from <= moment.asof_at
     and (entity_host.valid_until is null or entity_host.valid_until > moment.asof_at)
    group by moment.asof_at, moment.system
),
-- Nodes whose numbers are next to its own mostly stand next to it; the end of a UUID is no such number.
recent as (
    select moment.asof_at, moment.system, outage.number, count(*) as outages
    from moment
    join outage
      on outage.system = moment.system
     and outage.failed_at <= moment.asof_at
     and outage.failed_at > moment.asof_at - to_days(30)
     and outage.ingested_at <= moment.asof_at + to_hours($grace_hours)
    group by moment.asof_at, moment.system, outage.number
),
beside as (
    select asked.entity_key, asked.asof_at, sum(recent.outages) as neighbour_outages_30d
    from asked
    join recent
      on recent.asof_at = asked.asof_at and recent.system = asked.system
     and abs(recent.number - asked.number) between 1 and 4
    group by asked.entity_key, asked.asof_at
),
back as (
    select asked.entity_key, asked.asof_at, max(observed_at) as last_at, arg_max(value, observed_at) as last_seconds,
           sum(value) filter (observed_at > asked.asof_at - to_days(90)) as seconds_90d
    from asked
    join event
      on event.entity_key = asked.entity_key and event.kind = 'returned'
     and event.observed_at <= asked.asof_at
     and event.ingested_at <= asked.asof_at + to_hours($grace_hours)
    group by asked.entity_key, asked.asof_at
)
select asked.entity_key,
       asked.asof_at,
       (epoch(asked.asof_at - stay.since) / 86400)::float as age_days,                          -- d in production
       sited.nodes::float as system_nodes,                                                      -- nodes of its system
       coalesce(own.outages, 0)::float as outages,                                              -- in all
{% for days in (1, 7, 30, 90, 365) %}
       coalesce(own.outages_{{ days }}d, 0)::float as outages_{{ days }}d,
{% endfor %}
       coalesce(own.hardware_30d, 0)::float as hardware_outages_30d,
       coalesce(own.hardware_365d, 0)::float as hardware_outages_365d,
       coalesce(own.software_30d, 0)::float as software_outages_30d,
       coalesce(own.software_365d, 0)::float as software_outages_365d,
       coalesce(own.outage_days_90d, 0)::float as outage_days_90d,                              -- days with an outage
       (epoch(asked.asof_at - own.last_at) / 86400)::float as days_since_outage,                -- d; null: never down
       (epoch(asked.asof_at - back.last_at) / 86400)::float as days_since_return,               -- d; null: never down
       (own.last_cause = 'Hardware')::integer::float as last_outage_hardware,                   -- 1: hardware; null: never down
       (back.last_seconds / 3600)::float as last_down_hours,                                    -- h
       (coalesce(back.seconds_90d, 0) / 3600)::float as down_hours_90d,                         -- h
       (epoch(own.last_at - own.first_at) / 86400 / nullif(own.outages - 1, 0))::float as mean_gap_days, -- d between outages
       ((coalesce(own.outages, 0) + 1) * 365.0 / (epoch(asked.asof_at - stay.since) / 86400 + 365))::float
           as outages_per_year,                                                                 -- shrunk to one a year
       ((coalesce(own.outages_365d, 0) + 1) / (coalesce(around.system_outages_365d, 0) / sited.nodes + 1))::float
           as outages_over_system_365d,                                                         -- its year against its system's mean
       (coalesce(around.system_outages_6h, 0) / sited.nodes)::float as system_outages_6h,       -- outages a node of its system
{% for days in (1, 7, 30) %}
       (coalesce(around.system_outages_{{ days }}d, 0) / sited.nodes)::float as system_outages_{{ days }}d,
{% endfor %}
       (coalesce(around.system_hardware_30d, 0) / sited.nodes)::float as system_hardware_outages_30d,
       (coalesce(around.system_software_30d, 0) / sited.nodes)::float as system_software_outages_30d,
       coalesce(beside.neighbour_outages_30d, 0)::float as neighbour_outages_30d                -- of the four on each side
from asked
join stay using (entity_key, asof_at)
join sited on sited.asof_at = asked.asof_at and sited.system = asked.system
left join own on own.entity_key = asked.entity_key and own.asof_at = asked.asof_at
left join around on around.asof_at = asked.asof_at and around.system = asked.system
left join beside on beside.entity_key = asked.entity_key and beside.asof_at = asked.asof_at
left join back on back.entity_key = asked.entity_key and back.asof_at = asked.asof_at
order by asked.asof_at, asked.entity_key
