-- What in-order entities said, each after the last change held of it.
create or replace temp table series as
select newest.entity_key, newest.version, {{ component }}_change.from_day as day, true as held,
{% for stem in counters %}
       {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from newest
join {{ component }}_change on {{ component }}_change.rowid = newest.change_row
union all
select fresh.entity_key, coalesce(newest.version, 0), fresh.day, false as held,
{% for stem in counters %}
       {{ stem }}_raw{{ "," if not loop.last }}
{% endfor %}
from fresh
anti join late using (entity_key)
left join newest using (entity_key)
order by entity_key, version, day
