-- What several failing hosts may have in common besides their rack and make, and whom a whole host serves alone.
-- Null: not told, as for every host of an inventory from before.

alter table host add column power_feed varchar;      -- the feed that powers the host's rack
alter table host add column switch varchar;          -- the switch that the host hangs on
alter table host add column kernel varchar;          -- the kernel that runs on it
alter table host add column dedicated_to varchar;    -- owner whom the host serves alone; null: shared
