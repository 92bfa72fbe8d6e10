insert into {{ component }}_change by name
select * exclude (held) from changes where not held order by entity_key, from_day
