-- The change that holds now is what every new reading is compared with and what a scoring day asks of nearly every drive;
-- those before it pile up for years, and only the newest of them are asked for again. So each has a table of its own, and
-- `disk_change` shows both. With the history held, ingesting a day and scoring it hardly grow dearer.

create table disk_current (
    entity_key  integer not null,           -- one row for each drive with a reading
    version     integer not null,           -- the newest of the drive's; see entity_version
    from_day    date not null,              -- these values hold from this day on
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

-- In the order in which they were superseded, but for what is loaded in bulk or was rewritten by late readings.
create table disk_superseded (
    entity_key  integer not null,
    version     integer not null,
    from_day    date not null,
    until_day   date not null,              -- the day of the drive's next change in this version; 9999-12-31: there is
                                            -- none, and the version is not the newest
    first_day   date not null,
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

insert into disk_current by name
select * from disk_change
where version = (select coalesce(max(newer.version), 0) from entity_version newer where newer.entity_key = disk_change.entity_key)
qualify from_day = max(from_day) over (partition by entity_key)
order by entity_key;

insert into disk_superseded by name
select changed.*
from (
    select *, coalesce(lead(from_day) over (partition by entity_key, version order by from_day), '9999-12-31') as until_day
    from disk_change
) changed
anti join disk_current using (entity_key, version, from_day)
order by until_day, entity_key, version;

drop table disk_change;

create view disk_change as
select * from disk_current
union all by name
select * exclude (until_day) from disk_superseded;
