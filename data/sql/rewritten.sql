-- The changes of late entities in every belief that stands; the last one of the newest belief is current. In an earlier
-- belief nothing follows the last one, and nothing ever will.
create or replace temp table rewritten as
select changes.* replace (belief.stood as version, coalesce(changes.until_day, '9999-12-31') as until_day),
       changes.until_day is null and belief.stood = max(belief.stood) over (partition by changes.entity_key) as is_current
from changes
join belief using (entity_key, version)
