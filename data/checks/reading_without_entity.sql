-- severity: error
-- says: readings belong to an entity that is not known
select entity_key, count(*) as readings from disk_day anti join entity using (entity_key) group by entity_key
