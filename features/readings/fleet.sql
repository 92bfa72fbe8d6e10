-- fleet: how the entities of each model fare: those that were read on the day asked, and those that had failed before
-- grain: one row per day asked and model; where the facts are kept in parts, the counts of the parts add up to it
-- sees:  readings of the day asked and failures that had arrived by its end, or within the grace of it
-- binds: days, grace_hours
with asked as (
    select asof_day, (asof_day + 1)::timestamptz as asof_at from (select unnest($days::date[]) as asof_day)
),
counted as (
    select asked.asof_at, entity.model, count(*) as entities{% for days in rate_windows %}, null as failed_{{ days }}d{% endfor %}

    from asked
    join {{ component }}_day
      on {{ component }}_day.day = asked.asof_day
     and {{ component }}_day.ingested_at <= asked.asof_at + to_hours($grace_hours)
    join entity using (entity_key)
    group by asked.asof_at, entity.model
    union all by name
    select asked.asof_at, entity.model{% for days in rate_windows %},
           count(*) filter (failure.failed_at > asked.asof_at - to_days({{ days }})) as failed_{{ days }}d{% endfor %}

    from asked
    join failure
      on failure.failed_at <= asked.asof_at
     and failure.failed_at > asked.asof_at - to_days({{ rate_windows | max }})
     and failure.ingested_at <= asked.asof_at + to_hours($grace_hours)
    join entity using (entity_key)
    where entity.component = '{{ component }}'
    group by asked.asof_at, entity.model
)
select asof_at,
       model,                                                               -- null: not told
       sum(entities)::bigint as entities,                                   -- read that day; null: none
{% for days in rate_windows %}
       sum(failed_{{ days }}d)::bigint as failed_{{ days }}d{{ "," if not loop.last }} -- failed in so many days before; null: none
{% endfor %}
from counted
group by asof_at, model
order by asof_at, model
