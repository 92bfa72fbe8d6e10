-- The rows of `series` that begin an entity's version or say something else than the row before; -1 stands for null.
-- `series` is in order of entity, version and day, so that the row before is found without sorting. Only counters of
-- which it holds any value are looked at. Bits that differ, taken together, cost half of what a comparison a column does;
-- `coalesce` costs half as much again as `case`.
with told as (
    select entity_key, version, day, held, (entity_key::bigint << 32) | version as belief
{%- for stem in filled %},
           case when {{ stem }}_raw is null then -1 else {{ stem }}_raw end as {{ stem }}_raw
{%- endfor %}

    from series
),
neighbours as (
    select *, lag(belief) over () as before_belief
{%- for stem in filled %},
           lag({{ stem }}_raw) over () as before_{{ stem }}
{%- endfor %}

    from told
)
select entity_key, version, day, held::tinyint as held
{%- for stem in filled %}, {{ stem }}_raw{% endfor %}

from neighbours
where (
    xor(belief, before_belief)
{%- for stem in filled %} | xor({{ stem }}_raw, before_{{ stem }}){% endfor %}

) is distinct from 0
