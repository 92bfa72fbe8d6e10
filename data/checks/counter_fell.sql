-- severity: warning
-- says: reallocated sectors shrank, which no drive does: a reading is wrong, or two drives share a serial number
select later.entity_key, later.from_day, earlier.smart_5_raw as sectors_before, later.smart_5_raw as sectors_after
from (
    select *, lag(from_day) over (partition by entity_key, version order by from_day) as before_day from disk_change
) later
join disk_change earlier
  on earlier.entity_key = later.entity_key and earlier.version = later.version and earlier.from_day = later.before_day
where later.smart_5_raw < earlier.smart_5_raw
