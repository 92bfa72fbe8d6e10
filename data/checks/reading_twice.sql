-- severity: error
-- says: an entity has two readings for one day
select entity_key, day, count(*) as readings from disk_day group by entity_key, day having count(*) > 1
