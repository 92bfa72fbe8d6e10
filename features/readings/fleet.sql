-- fleet: how the entities of each model fare: those that were read on the day asked, and those that had failed before
-- grain: one row per day asked and model; where the facts are kept in parts, the counts of the parts add up to it
-- sees:  readings of the day asked and failures that had arrived by its end, or within the grace of it
-- binds: days, grace_hours
{% from "readings/arrival.sql" import arrived_in_time %}
with asked as (
    select asof_day, (asof_day + 1)::timestamptz as asof_at from (select unnest($days::date[]) as asof_day)
),
-- Counted by number: a name for each of millions of readings takes most of the time.
models as materialized (
    select model, row_number() over () as number from (select distinct model from entity where component = '{{ component }}')
),
modelled as materialized (
    select entity.entity_key, models.number
    from entity
    join models on models.model is not distinct from entity.model
    where entity.component = '{{ component }}'
),
read_that_day as (
    select entity_key, day
    from {{ component }}_day
    semi join asked on asked.asof_day = {{ component }}_day.day
    where {{ arrived_in_time(component ~ "_day") }}
),
counted as (
    select read_that_day.day as asof_day, modelled.number, count(*) as entities{% for days in rate_windows %}, null as failed_{{ days }}d{% endfor %}

    from read_that_day
    join modelled using (entity_key)
    group by read_that_day.day, modelled.number
    union all by name
    select asked.asof_day, modelled.number{% for days in rate_windows %},
           count(*) filter (epoch_us(failure.failed_at) > epoch_us(asked.asof_at) - {{ days }} * 86400000000) as failed_{{ days }}d{% endfor %}

    from asked
    join failure
      on failure.failed_at <= asked.asof_at
     and failure.failed_at > asked.asof_at - to_days({{ rate_windows | max }})
     and failure.ingested_at <= asked.asof_at + to_hours($grace_hours)
    join modelled using (entity_key)
    group by asked.asof_day, modelled.number
)
select asked.asof_at,
       models.model,                                                        -- null: not told
       sum(entities)::bigint as entities,                                   -- read that day; null: none
{% for days in rate_windows %}
       sum(failed_{{ days }}d)::bigint as failed_{{ days }}d{{ "," if not loop.last }} -- failed in so many days before; null: none
{% endfor %}
from counted
join asked using (asof_day)
join models using (number)
group by asked.asof_at, models.model
order by asked.asof_at, models.model
