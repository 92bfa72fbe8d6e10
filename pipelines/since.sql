-- When the first host with each value came, for values that came after the first picture of the inventory.
-- grain: attribute and value; binds: $at.
with pictured as (
    select zone || '/' || rack as rack, hardware_model, firmware, kernel, power_feed, switch, valid_from
    from host where valid_from <= $at
),
told as (
    select unnest(['rack', 'hardware_model', 'firmware', 'kernel', 'power_feed', 'switch']) as attribute,
           unnest([rack, hardware_model, firmware, kernel, power_feed, switch]) as held, valid_from
    from pictured
),
seen as (                                      -- an attribute's own first telling is no beginning of its values
    select attribute, held, min(valid_from) as since, min(min(valid_from)) over (partition by attribute) as told_from
    from told where held is not null group by attribute, held
)
select attribute, held, since
from seen
where since > told_from
order by attribute, held
