-- How far a source that is asked over the network has been read, so that the next question begins there: nothing is
-- asked twice, and what was missed during an outage is caught up.

create table source_cursor (
    source      varchar not null,
    name        varchar not null,          -- its address
    read_until  timestamptz not null
);
