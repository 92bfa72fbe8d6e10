-- disk: what a drive's own readings say about it
-- grain: one row per row of `spine` (entity_key, asof_at, last_day), in no order: sorting rows this wide costs more than making them
-- sees:  readings up to last_day, and of the change log the version that was believed at asof_at; of other drives of its
--        model, what readings/fleet.sql sees
-- needs: fleet, which readings/fleet.sql makes
-- binds: first_day, last_day of the spine, so that no other days are read
-- checks: features equal those that pandas computes from the daily readings (tests/features)
with asked as (
    select spine.entity_key, spine.asof_at, spine.last_day, coalesce(entity_version.version, 0) as version
    from spine
    left join entity_version
      on entity_version.entity_key = spine.entity_key
     and spine.asof_at >= entity_version.known_from
     and spine.asof_at < entity_version.known_until
),
-- Which change held on last_day, and which held so many days before it. Most drives change nothing for months: then it
-- is one and the same, and nothing needs to be looked up for it.
held as (
    select asked.entity_key, asked.asof_at, asked.last_day,
           arg_max(disk_change.rowid, disk_change.from_day) as newest_row,
{% for days in windows %}
           arg_max(disk_change.rowid, disk_change.from_day) filter (disk_change.from_day <= asked.last_day - {{ days }}) as row_{{ days }}d{{ "," if not loop.last }}
{% endfor %}
    from asked
    join disk_change
      on disk_change.entity_key = asked.entity_key
     and disk_change.version = asked.version
     and disk_change.from_day <= asked.last_day
    group by asked.entity_key, asked.asof_at, asked.last_day
),
newest as (
    select held.*, disk_change.* exclude (entity_key, version)
    from held
    join disk_change on disk_change.rowid = held.newest_row
),
{% for days in windows %}
before_{{ days }}d as (
    select held.entity_key, held.asof_at,
{% for stem in counters %}
           {{ stem }}_raw, {{ stem }}_changes{{ "," if not loop.last }}
{% endfor %}
    from held
    join disk_change on disk_change.rowid = held.row_{{ days }}d
    where held.row_{{ days }}d <> held.newest_row
),
{% endfor %}
-- Only the days asked about are read, not all between the first and the last of them; and they are written out, so that
-- no plan puts the wide changes into the table that these are looked up in.
last_read as materialized (
    select distinct last_day as day from spine
),
gauges as materialized (
    select spine.entity_key, spine.asof_at, read_then.* exclude (day, entity_key, ingested_at)
    from spine
    join (select * from disk_day semi join last_read using (day) where day between $first_day::date and $last_day::date) read_then
      on read_then.entity_key = spine.entity_key and read_then.day = spine.last_day
)
select newest.entity_key,
       newest.asof_at,
       (newest.last_day - newest.first_day + 1)::float as observed_days,     -- days since the first reading, d
       (gauges.smart_9_raw / 24.0)::float as power_on_days,                  -- age by its own clock, d
       (entity.capacity_bytes / 1e12)::float as capacity_tb,                 -- TB
       (gauges.smart_9_raw / 24.0 - (newest.last_day - newest.first_day + 1))::float as ran_before_days, -- power-on days before its first reading
       fleet.entities::float as model_drives,                                -- drives of its model in the fleet that day
{% for days in rate_windows %}
       ((coalesce(fleet.failed_{{ days }}d, 0) + 100 * 0.0365 * {{ days }} / 365) / (fleet.entities + 100) * 365 / {{ days }})::float
           as model_failure_rate_{{ days }}d,                                -- failures a drive-year of its model, shrunk to 0.0365 as by 100 drives more
{% endfor %}
{% for stem in gauges if stem != "smart_9" %}
       gauges.{{ stem }}_raw::float as {{ stem }},                           -- gauge as read
{% endfor %}
       ({% for stem in rule %}(coalesce(newest.{{ stem }}_raw, 0) > 0)::integer{{ " + " if not loop.last }}{% endfor %})::float
           as rule_nonzero,                                                  -- how many of the rule's attributes are above zero
       (newest.last_day - greatest({% for stem in rule %}newest.{{ stem }}_changed_on{{ ", " if not loop.last }}{% endfor %}))::float
           as days_since_rule_change,                                        -- d; null: none ever changed
{% for stem in counters %}
       newest.{{ stem }}_raw::float as {{ stem }},                           -- counter as it stands
{% if stem in per_year %}
       (newest.{{ stem }}_raw * 365.0 / (gauges.smart_9_raw / 24.0 + 30))::float as {{ stem }}_per_year, -- a year of power-on time
{% endif %}
{% if stem in packed %}
       (newest.{{ stem }}_raw & 65535)::float as {{ stem }}_low_word,        -- three counters packed into one
       ((newest.{{ stem }}_raw >> 16) & 65535)::float as {{ stem }}_middle_word,
       ((newest.{{ stem }}_raw >> 32) & 65535)::float as {{ stem }}_high_word,
{% endif %}
{% for days in windows %}
       (newest.{{ stem }}_raw - if(row_{{ days }}d = newest_row, newest.{{ stem }}_raw, before_{{ days }}d.{{ stem }}_raw))::float
           as {{ stem }}_rise_{{ days }}d,                                   -- growth in that many days; null: not yet seen then
{% endfor %}
{% for days in windows if days >= 7 %}
       (newest.{{ stem }}_changes - if(row_{{ days }}d = newest_row, newest.{{ stem }}_changes, before_{{ days }}d.{{ stem }}_changes))::float
           as {{ stem }}_changes_{{ days }}d,                                -- days on which it changed
{% endfor %}
       (newest.last_day - newest.{{ stem }}_changed_on)::float as {{ stem }}_days_since_change,     -- d; null: it never changed
       (newest.last_day - newest.{{ stem }}_nonzero_on)::float as {{ stem }}_days_since_nonzero,    -- d since it was first above zero
       newest.{{ stem }}_max_rise::float as {{ stem }}_max_rise{{ "," if not loop.last }}             -- largest growth in one day
{% endfor %}
from newest
join entity using (entity_key)
join gauges using (entity_key, asof_at)
left join fleet on fleet.asof_at = newest.asof_at and fleet.model is not distinct from entity.model
{% for days in windows %}
left join before_{{ days }}d using (entity_key, asof_at)
{% endfor %}
