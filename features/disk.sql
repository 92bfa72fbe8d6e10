-- disk: what a drive's own readings say about it; what its counters' changes say, of each alike, is made from the change
--       log (features/history.py) and stands behind the counter's own features here
-- grain: one row per row of `asked` (row, entity_key, asof_at, last_day), in no order
-- sees:  readings of last_day; of the change log what held then, as was believed at asof_at; of other drives of its
--        model, what readings/fleet.sql sees
-- needs: fleet, which readings/fleet.sql makes; in `asked`, beside each row, the gauges of its newest reading, which
--        readings/gauges.sql finds, and the change of its counters that held on its last_day
-- checks: features equal those that pandas computes from the daily readings (tests/features)
select asked.row,
       (asked.last_day - asked.first_day + 1)::float as observed_days,        -- days since the first reading, d
       (asked.smart_9_raw / 24.0::double)::float as power_on_days,            -- age by its own clock, d
       (entity.capacity_bytes / 1e12::double)::float as capacity_tb,          -- TB
       (asked.smart_9_raw / 24.0::double - (asked.last_day - asked.first_day + 1))::float as ran_before_days, -- power-on days before its first reading
       fleet.entities::float as model_drives,                                 -- drives of its model in the fleet that day
{% for days in rate_windows %}
       ((coalesce(fleet.failed_{{ days }}d, 0) + 100 * 0.0365 * {{ days }} / 365) / (fleet.entities + 100)::double * 365 / {{ days }})::float
           as model_failure_rate_{{ days }}d,                                 -- failures a drive-year of its model, shrunk to 0.0365 as by 100 drives more
{% endfor %}
{% for stem in gauges if stem != "smart_9" %}
       asked.{{ stem }}_raw::float as {{ stem }},                             -- gauge as read
{% endfor %}
       ({% for stem in rule %}(coalesce(asked.{{ stem }}_raw, 0) > 0)::integer{{ " + " if not loop.last }}{% endfor %})::float
           as rule_nonzero,                                                   -- how many of the rule's attributes are above zero
       (asked.last_day - greatest({% for stem in rule %}asked.{{ stem }}_changed_on{{ ", " if not loop.last }}{% endfor %}))::float
           as days_since_rule_change,                                         -- d; null: none ever changed
{% for stem in per_year %}
       (asked.{{ stem }}_raw * 365.0::double / (asked.smart_9_raw / 24.0::double + 30))::float as {{ stem }}_per_year, -- a year of power-on time
{% endfor %}
{% for stem in packed %}
       (asked.{{ stem }}_raw & 65535)::float as {{ stem }}_low_word,          -- three counters packed into one
       ((asked.{{ stem }}_raw >> 16) & 65535)::float as {{ stem }}_middle_word,
       ((asked.{{ stem }}_raw >> 32) & 65535)::float as {{ stem }}_high_word{{ "," if not loop.last }}
{% endfor %}
from asked
join entity using (entity_key)
left join fleet on fleet.asof_at = asked.asof_at and fleet.model is not distinct from entity.model
