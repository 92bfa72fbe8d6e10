-- The beliefs about late entities' changes that differ from the belief before: `stood` is their number from now on.
create or replace temp table belief as
with spelt_out as (
    select entity_key, version, list(row(from_day{% for stem in counters %}, {{ stem }}_raw{% endfor %}) order by from_day) as content
    from changes
    group by entity_key, version
),
every as (
    select entity_key, 0 as version, '-infinity'::timestamptz as known_from from late
    union
    select distinct entity_key, version, known_from from series
),
compared as (
    select every.*, spelt_out.content,
           lag(spelt_out.content) over (partition by every.entity_key order by every.version) as before_content
    from every
    left join spelt_out using (entity_key, version)
)
select entity_key, version, known_from,
       (row_number() over (partition by entity_key order by version) - 1)::integer as stood
from compared
where version = 0 or content is distinct from before_content
