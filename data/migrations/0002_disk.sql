-- Disk readings. Gauges move every day: one row a drive and day, in order of day. Counters hardly ever change (on
-- about one drive-day in two hundred): one row for each change, with running totals, so that the difference of two
-- rows tells all that happened in between. A drive's counters on a day are those of its last change up to that day.

create table disk_day (
    day            date not null,
    entity_key     integer not null,
    ingested_at    timestamptz not null,
    smart_1_raw    bigint,
    smart_7_raw    bigint,
    smart_9_raw    bigint,
    smart_190_raw  bigint,
    smart_193_raw  bigint,
    smart_194_raw  bigint,
    smart_195_raw  bigint,
    smart_241_raw  bigint,
    smart_242_raw  bigint
);

create table disk_change (
    entity_key  integer not null,
    version     integer not null,           -- see entity_version
    from_day    date not null,              -- these values hold from this day until the drive's next row
    first_day   date not null,              -- the drive's first day in this version
    -- per counter: value, days on which it changed so far, last such day, first day above zero, largest rise so far
    smart_5_raw bigint, smart_5_changes integer not null, smart_5_changed_on date, smart_5_nonzero_on date, smart_5_max_rise bigint not null,
    smart_10_raw bigint, smart_10_changes integer not null, smart_10_changed_on date, smart_10_nonzero_on date, smart_10_max_rise bigint not null,
    smart_12_raw bigint, smart_12_changes integer not null, smart_12_changed_on date, smart_12_nonzero_on date, smart_12_max_rise bigint not null,
    smart_183_raw bigint, smart_183_changes integer not null, smart_183_changed_on date, smart_183_nonzero_on date, smart_183_max_rise bigint not null,
    smart_184_raw bigint, smart_184_changes integer not null, smart_184_changed_on date, smart_184_nonzero_on date, smart_184_max_rise bigint not null,
    smart_187_raw bigint, smart_187_changes integer not null, smart_187_changed_on date, smart_187_nonzero_on date, smart_187_max_rise bigint not null,
    smart_188_raw bigint, smart_188_changes integer not null, smart_188_changed_on date, smart_188_nonzero_on date, smart_188_max_rise bigint not null,
    smart_189_raw bigint, smart_189_changes integer not null, smart_189_changed_on date, smart_189_nonzero_on date, smart_189_max_rise bigint not null,
    smart_192_raw bigint, smart_192_changes integer not null, smart_192_changed_on date, smart_192_nonzero_on date, smart_192_max_rise bigint not null,
    smart_196_raw bigint, smart_196_changes integer not null, smart_196_changed_on date, smart_196_nonzero_on date, smart_196_max_rise bigint not null,
    smart_197_raw bigint, smart_197_changes integer not null, smart_197_changed_on date, smart_197_nonzero_on date, smart_197_max_rise bigint not null,
    smart_198_raw bigint, smart_198_changes integer not null, smart_198_changed_on date, smart_198_nonzero_on date, smart_198_max_rise bigint not null,
    smart_199_raw bigint, smart_199_changes integer not null, smart_199_changed_on date, smart_199_nonzero_on date, smart_199_max_rise bigint not null
);

-- A late reading can rewrite what a drive's changes look like. What was believed before stays: version v of a drive's
-- changes was the belief in [known_from, known_until). A drive that is not listed here has only ever had version 0.
create table entity_version (
    entity_key   integer not null,
    version      integer not null,
    known_from   timestamptz not null,
    known_until  timestamptz not null
);
