-- severity: error
-- says: a recorded change has no reading on its day
select entity_key, from_day from disk_change
anti join disk_day on disk_day.entity_key = disk_change.entity_key and disk_day.day = disk_change.from_day
