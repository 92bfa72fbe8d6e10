-- severity: warning
-- says: an entity went on reporting after the day it failed; is the serial number reused, or the failure wrong?
select entity_key, min(failure.failed_at) as failed_at, max(disk_day.day) as last_reading
from failure
join disk_day using (entity_key)
where disk_day.day >= failure.failed_at::date
group by entity_key
