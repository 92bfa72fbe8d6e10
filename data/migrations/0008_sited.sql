-- Who says that a part sits in a host: a picture of the inventory, which also ends what pictures before it have said, or
-- a source that read the part there or knows its history, which no picture ends that does not name the part.

alter table entity_host add column by_inventory boolean default true;
