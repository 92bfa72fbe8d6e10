-- Facts as they arrive. Surrogate keys keep the large tables narrow; nothing here has an index, because an index on
-- the large tables costs several times the append: uniqueness is kept by anti-joins and watched by data/checks.

create sequence entity_key_seq;

create table entity (
    entity_key      integer not null,      -- ours, small, never reused
    component       varchar not null,      -- disk | memory | gpu | node
    entity_id       varchar not null,      -- as its maker or operator calls it
    model           varchar,
    capacity_bytes  bigint,
    firmware        varchar,
    first_seen_on   date,                  -- first day with a reading, or the inventory's day
    source          varchar not null,
    simulated       boolean not null default false
);

create table event (
    entity_key   integer not null,
    observed_at  timestamptz not null,     -- the device's clock
    ingested_at  timestamptz not null,     -- ours
    kind         varchar not null,
    value        double,                   -- unit as the kind says
    detail       varchar                   -- JSON
);

create table failure (
    entity_key   integer not null,
    failed_at    timestamptz not null,     -- a daily source: the end of the day
    ingested_at  timestamptz not null,
    cause        varchar,
    source       varchar not null
);

-- Inventory with history: one row for as long as nothing about it changes.
create table host (
    host_id         varchar not null,
    cluster         varchar not null,
    zone            varchar not null,
    rack            varchar not null,
    fault_domain    integer not null,
    hardware_model  varchar not null,
    firmware        varchar not null,
    vcpus           integer not null,
    memory_bytes    bigint not null,
    state           varchar not null,
    simulated       boolean not null,
    valid_from      timestamptz not null,
    valid_until     timestamptz            -- null: still so
);

create table vm (
    vm_id                   varchar not null,
    host_id                 varchar not null,
    owner                   varchar not null,
    series                  varchar not null,
    vcpus                   integer not null,
    memory_bytes            bigint not null,
    dirty_bytes_per_second  bigint not null,
    availability_set        varchar,
    live_migratable         boolean not null,
    simulated               boolean not null,
    valid_from              timestamptz not null,
    valid_until             timestamptz
);

create table entity_host (
    entity_key   integer not null,
    host_id      varchar not null,
    simulated    boolean not null,
    valid_from   timestamptz not null,
    valid_until  timestamptz
);

create table quarantine (
    quarantined_at  timestamptz not null,
    source          varchar not null,
    file            varchar not null,
    line            bigint,                -- in the file, header = 1; null: the whole file
    reason          varchar not null,      -- one word a person can group by
    detail          varchar,
    raw             varchar                -- the record as it came
);

create table ingest_file (
    ingested_at       timestamptz not null,
    source            varchar not null,
    file              varchar not null,
    rows_read         bigint not null,
    rows_loaded       bigint not null,
    rows_duplicate    bigint not null,
    rows_quarantined  bigint not null
);

create table risk (
    asof_at        timestamptz not null,
    entity_key     integer not null,
    component      varchar not null,
    model_version  varchar not null,
    status         varchar not null,       -- ok | unknown
    reason         varchar,                -- why unknown
    risk_1d        double,                 -- probability of failure within that many days of asof_at
    risk_3d        double,
    risk_7d        double,
    risk_14d       double,
    risk_30d       double,
    factors        varchar                 -- JSON: [{"feature", "value", "contribution"}], most telling first
);

-- What was done to a host, so that labels after it are known to be uncertain.
create table mitigation (
    order_id     varchar not null,
    host_id      varchar not null,
    action       varchar not null,
    started_at   timestamptz not null,
    finished_at  timestamptz not null
);
