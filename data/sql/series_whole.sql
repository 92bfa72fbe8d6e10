-- All that late entities ever said, once for each belief: the first belief holds what arrived in time, and each later
-- one begins when something arrived late and holds that as well. Days come from the day table, values from this batch
-- where it has them, else from the newest belief so far, which holds every day.
create or replace temp table series as
with believed as (
    select *
    from {{ component }}_change
    semi join late using (entity_key)
    semi join {{ component }}_current using (entity_key, version)
),
seen as (
    select entity_key, day,
           case when ingested_at <= (day + 1)::timestamptz + to_hours($grace_hours) then '-infinity'::timestamptz
                else ingested_at end as known_from
    from {{ component }}_day
    semi join late using (entity_key)
),
beliefs as (
    select entity_key, known_from, row_number() over (partition by entity_key order by known_from) - 1 as version
    from (
        select entity_key, known_from from seen
        union
        select entity_key, '-infinity'::timestamptz from late
    )
),
said as (
    select seen.entity_key, seen.day, seen.known_from,
{% for stem in counters %}
           case when fresh.entity_key is null then believed.{{ stem }}_raw else fresh.{{ stem }}_raw end as {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
    from seen
    left join fresh on fresh.entity_key = seen.entity_key and fresh.day = seen.day
    asof left join believed on believed.entity_key = seen.entity_key and seen.day >= believed.from_day
)
select said.entity_key, beliefs.version::integer as version, said.day, false as held, beliefs.known_from,
{% for stem in counters %}
       said.{{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from said
join beliefs on beliefs.entity_key = said.entity_key and said.known_from <= beliefs.known_from
order by said.entity_key, beliefs.version, said.day
