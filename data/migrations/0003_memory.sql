-- Corrected memory errors with their address, read out of the events' JSON once: features group by address parts, and
-- parsing the text for every question would cost far more than the questions. One row per event of kind `ce` on a DIMM.

create table memory_error (
    entity_key   integer not null,
    observed_at  timestamptz not null,
    ingested_at  timestamptz not null,
    errors       integer not null,          -- corrected errors that this event stands for
    scrub        boolean,                   -- found by the patrol scrubber rather than by a read; null: not told
    rank         smallint,                  -- address parts; null: not told
    device       smallint,
    bank_group   smallint,
    bank         smallint,
    row_number   integer,
    column_number integer,
    dqs          smallint,                  -- distinct data pins in the faulty burst
    beats        smallint,                  -- distinct beats of it
    bits         smallint                   -- faulty bits of it
);

create macro memory_error_of(detail) as {
    'scrub': case upper(json_extract_string(detail, '$.access')) when 'SCRUB' then true when 'READ' then false end,
    'rank': try_cast(json_extract_string(detail, '$.rank') as smallint),
    'device': try_cast(json_extract_string(detail, '$.device') as smallint),
    'bank_group': try_cast(json_extract_string(detail, '$.bank_group') as smallint),
    'bank': try_cast(json_extract_string(detail, '$.bank') as smallint),
    'row_number': try_cast(json_extract_string(detail, '$.row') as integer),
    'column_number': try_cast(json_extract_string(detail, '$.column') as integer),
    'dqs': try_cast(json_extract_string(detail, '$.dqs') as smallint),
    'beats': try_cast(json_extract_string(detail, '$.beats') as smallint),
    'bits': try_cast(json_extract_string(detail, '$.bits') as smallint)
};

insert into memory_error
select entity_key, observed_at, ingested_at, coalesce(try_cast(value as integer), 1), unnest(memory_error_of(if(json_valid(detail), detail, null)))
from event join entity using (entity_key)
where component = 'memory' and kind = 'ce';
