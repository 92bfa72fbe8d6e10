-- gpu: what a GPU's errors and moves, its slot's past and those made or put in with it say about it
-- grain: one row per row of `spine` (entity_key, asof_at, last_day)
-- sees:  failures, events and stays before asof_at; failures and events that had arrived by then, or within the grace of it
-- binds: grace_hours
with stay as (
    select entity_host.entity_key, host_id, valid_from, valid_until, left(entity_id, greatest(length(entity_id) - 3, 1)) as batch,
           min(valid_from) over (partition by entity_host.entity_key)::date as wave
    from entity_host join entity using (entity_key)
    where entity.component = 'gpu'
),
moment as (
    select distinct asof_at from spine
),
asked as (
    select spine.entity_key, spine.asof_at, arg_max(stay.host_id, stay.valid_from) as host_id,
           max(stay.valid_from) as stays_since, min(stay.valid_from) as first_at, count(*) as stays,
           any_value(stay.batch) as batch, any_value(stay.wave) as wave
    from spine join stay on stay.entity_key = spine.entity_key and stay.valid_from <= spine.asof_at
    group by spine.entity_key, spine.asof_at
),
-- Each failure with the slot it happened in.
error as (
    select failure.entity_key, failure.failed_at, failure.ingested_at, failure.cause,
           arg_max(stay.host_id, stay.valid_from) as host_id, any_value(stay.batch) as batch, any_value(stay.wave) as wave
    from failure
    join stay on stay.entity_key = failure.entity_key and stay.valid_from <= failure.failed_at
    group by failure.entity_key, failure.failed_at, failure.ingested_at, failure.cause
),
known as (
    select moment.asof_at, error.*
    from moment
    join error on error.failed_at <= moment.asof_at and error.ingested_at <= moment.asof_at + to_hours($grace_hours)
),
own as (
    select asof_at, entity_key, count(*) as errors, count(*) filter (cause = 'dbe') as dbe,
           count(*) filter (cause = 'otb') as otb, max(failed_at) as last_at
    from known group by asof_at, entity_key
),
{% for place, pattern in (("slot", "(.*)"), ("blade", "(.*)n[0-9]+$"), ("cage", "(.*)s[0-9]+n[0-9]+$"), ("cabinet", "(.*)c[0-9]+s[0-9]+n[0-9]+$")) %}
{{ place }} as (
    select asof_at, regexp_extract(host_id, '{{ pattern }}', 1) as place, count(*) as errors, max(failed_at) as last_at,
           count(*) filter (failed_at > asof_at - to_days(90)) as errors_90d,
           count(*) filter (failed_at > asof_at - to_days(365)) as errors_365d
    from known group by asof_at, place
),
{% endfor %}
-- Those made together (serial number) and those put in together, and how many of them are in a slot.
{% for group in ("batch", "wave") %}
{{ group }}_size as (
    select moment.asof_at, stay.{{ group }}, count(distinct stay.entity_key) as gpus
    from moment
    join stay on stay.valid_from <= moment.asof_at and (stay.valid_until is null or stay.valid_until > moment.asof_at)
    group by moment.asof_at, stay.{{ group }}
),
{{ group }}_errors as (
    select asof_at, {{ group }},
           count(*) filter (failed_at > asof_at - to_days(30)) as errors_30d,
           count(*) filter (failed_at > asof_at - to_days(90)) as errors_90d,
           count(*) filter (failed_at > asof_at - to_days(365)) as errors_365d
    from known group by asof_at, {{ group }}
),
{% endfor %}
fleet as (
    select known.asof_at, count(*) filter (failed_at > known.asof_at - to_days(30)) as errors_30d,
           count(*) filter (failed_at > known.asof_at - to_days(90)) as errors_90d
    from known group by known.asof_at
),
fleet_size as (
    select asof_at, sum(gpus) as gpus from wave_size group by asof_at
),
xid as (
    select asked.entity_key, asked.asof_at, max(observed_at) as last_at, arg_max(value, observed_at) as last_code,
           count(*) filter (observed_at > asked.asof_at - to_days(1)) as xids_1d,
           count(*) filter (observed_at > asked.asof_at - to_days(7)) as xids_7d,
           count(*) filter (observed_at > asked.asof_at - to_days(30)) as xids_30d,
           count(distinct value) filter (observed_at > asked.asof_at - to_days(30)) as xid_codes_30d
    from asked
    join event
      on event.entity_key = asked.entity_key and event.kind = 'xid'
     and event.observed_at <= asked.asof_at
     and event.ingested_at <= asked.asof_at + to_hours($grace_hours)
    group by asked.entity_key, asked.asof_at
)
select asked.entity_key,
       asked.asof_at,
       (epoch(asked.asof_at - asked.first_at) / 86400)::float as gpu_age_days,                    -- d since it was first put in
       (epoch(asked.asof_at - asked.stays_since) / 86400)::float as slot_days,                    -- d in this slot
       asked.stays::float as stays,                                                               -- slots it has been in, this one included
       try_cast(regexp_extract(asked.host_id, '^c([0-9]+)-', 1) as integer)::float as cabinet_column,
       try_cast(regexp_extract(asked.host_id, '^c[0-9]+-([0-9]+)c', 1) as integer)::float as cabinet_row,
       try_cast(regexp_extract(asked.host_id, 'c([0-9]+)s[0-9]+n[0-9]+$', 1) as integer)::float as cage,  -- 0 is the lowest
       try_cast(regexp_extract(asked.host_id, 's([0-9]+)n[0-9]+$', 1) as integer)::float as blade,
       try_cast(regexp_extract(asked.host_id, 'n([0-9]+)$', 1) as integer)::float as blade_node,
       coalesce(own.errors, 0)::float as errors,                                                  -- of this GPU so far
       coalesce(own.dbe, 0)::float as double_bit_errors,
       coalesce(own.otb, 0)::float as off_the_bus,
       (epoch(asked.asof_at - own.last_at) / 86400)::float as days_since_gpu_error,               -- d; null: none
{% for place in ("slot", "blade", "cage", "cabinet") %}
       coalesce({{ place }}.errors, 0)::float as {{ place }}_errors,                              -- there so far, of any GPU
       coalesce({{ place }}.errors_90d, 0)::float as {{ place }}_errors_90d,
       coalesce({{ place }}.errors_365d, 0)::float as {{ place }}_errors_365d,
       (epoch(asked.asof_at - {{ place }}.last_at) / 86400)::float as days_since_{{ place }}_error,
{% endfor %}
{% for group in ("batch", "wave") %}
       {{ group }}_size.gpus::float as {{ group }}_gpus,
{% for days in (30, 90, 365) %}
       ((coalesce({{ group }}_errors.errors_{{ days }}d, 0) + 20 * 0.03 * {{ days }} / 365) / ({{ group }}_size.gpus + 20) * 365 / {{ days }})::float
           as {{ group }}_failure_rate_{{ days }}d,                                               -- failures a GPU-year, shrunk to 0.03 as by 20 more
{% endfor %}
{% endfor %}
       (coalesce(fleet.errors_30d, 0) / fleet_size.gpus * 365 / 30)::float as fleet_failure_rate_30d,
       (coalesce(fleet.errors_90d, 0) / fleet_size.gpus * 365 / 90)::float as fleet_failure_rate_90d,
       coalesce(xid.xids_1d, 0)::float as xids_1d,                                                -- errors the driver logged
       coalesce(xid.xids_7d, 0)::float as xids_7d,
       coalesce(xid.xids_30d, 0)::float as xids_30d,
       coalesce(xid.xid_codes_30d, 0)::float as xid_codes_30d,
       xid.last_code::float as last_xid,                                                          -- NVIDIA's code; null: none
       (epoch(asked.asof_at - xid.last_at) / 86400)::float as days_since_xid
from asked
join fleet_size on fleet_size.asof_at = asked.asof_at
join batch_size on batch_size.asof_at = asked.asof_at and batch_size.batch = asked.batch
join wave_size on wave_size.asof_at = asked.asof_at and wave_size.wave = asked.wave
left join batch_errors on batch_errors.asof_at = asked.asof_at and batch_errors.batch = asked.batch
left join wave_errors on wave_errors.asof_at = asked.asof_at and wave_errors.wave = asked.wave
left join fleet on fleet.asof_at = asked.asof_at
left join own on own.asof_at = asked.asof_at and own.entity_key = asked.entity_key
{% for place, pattern in (("slot", "(.*)"), ("blade", "(.*)n[0-9]+$"), ("cage", "(.*)s[0-9]+n[0-9]+$"), ("cabinet", "(.*)c[0-9]+s[0-9]+n[0-9]+$")) %}
left join {{ place }} on {{ place }}.asof_at = asked.asof_at and {{ place }}.place = regexp_extract(asked.host_id, '{{ pattern }}', 1)
     and {{ place }}.place <> ''
{% endfor %}
left join xid on xid.entity_key = asked.entity_key and xid.asof_at = asked.asof_at
order by asked.asof_at, asked.entity_key
