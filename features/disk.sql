-- disk: what a drive's own readings say about it; what its counters' changes say, of each alike, is made from the change
--       log (features/history.py) and stands behind the counter's own features here
-- grain: one row per row of `asked` (row, entity_key, asof_at, last_day), in no order
-- sees:  readings of last_day; of the change log what held then, as was believed at asof_at; of other drives of its
--        model, what readings/fleet.sql sees
-- needs: fleet and gauges, which readings/fleet.sql and readings/gauges.sql make; held_place (row, place) and
--        held_change (place, and the columns of the change log): the change that held on each row's last_day
-- checks: features equal those that pandas computes from the daily readings (tests/features)
select asked.row,
       (asked.last_day - changes.first_day + 1)::float as observed_days,    -- days since the first reading, d
       (gauges.smart_9_raw / 24.0::double)::float as power_on_days,                  -- age by its own clock, d
       (entity.capacity_bytes / 1e12::double)::float as capacity_tb,                 -- TB
       (gauges.smart_9_raw / 24.0::double - (asked.last_day - changes.first_day + 1))::float as ran_before_days, -- power-on days before its first reading
       fleet.entities::float as model_drives,                                -- drives of its model in the fleet that day
{% for days in rate_windows %}
       ((coalesce(fleet.failed_{{ days }}d, 0) + 100 * 0.0365 * {{ days }} / 365) / (fleet.entities + 100)::double * 365 / {{ days }})::float
           as model_failure_rate_{{ days }}d,                                -- failures a drive-year of its model, shrunk to 0.0365 as by 100 drives more
{% endfor %}
{% for stem in gauges if stem != "smart_9" %}
       gauges.{{ stem }}_raw::float as {{ stem }},                           -- gauge as read
{% endfor %}
       ({% for stem in rule %}(coalesce(changes.{{ stem }}_raw, 0) > 0)::integer{{ " + " if not loop.last }}{% endfor %})::float
           as rule_nonzero,                                                  -- how many of the rule's attributes are above zero
       (asked.last_day - greatest({% for stem in rule %}changes.{{ stem }}_changed_on{{ ", " if not loop.last }}{% endfor %}))::float
           as days_since_rule_change,                                        -- d; null: none ever changed
{% for stem in per_year %}
       (changes.{{ stem }}_raw * 365.0::double / (gauges.smart_9_raw / 24.0::double + 30))::float as {{ stem }}_per_year, -- a year of power-on time
{% endfor %}
{% for stem in packed %}
       (changes.{{ stem }}_raw & 65535)::float as {{ stem }}_low_word,       -- three counters packed into one
       ((changes.{{ stem }}_raw >> 16) & 65535)::float as {{ stem }}_middle_word,
       ((changes.{{ stem }}_raw >> 32) & 65535)::float as {{ stem }}_high_word{{ "," if not loop.last }}
{% endfor %}
from asked
join held_place using (row)
join held_change changes using (place)
join entity using (entity_key)
join gauges using (row)
left join fleet on fleet.asof_at = asked.asof_at and fleet.model is not distinct from entity.model
