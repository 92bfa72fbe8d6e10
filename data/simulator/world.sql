-- A simulated world: what stands where, what will happen, what was asked and what became of it.
-- Moments are microseconds since 1970-01-01 UTC.

create table meta (
    key    text primary key,
    value  text not null
) without rowid;

create table host (
    host_id                text primary key,
    cluster                text not null,
    zone                   text not null,
    rack                   text not null,
    fault_domain           integer not null,
    hardware_model         text not null,
    firmware               text not null,
    vcpus                  integer not null,
    memory_bytes           integer not null,
    state                  text not null,
    simulated              integer not null,
    power_feed             text,
    switch                 text,
    kernel                 text,
    dedicated_to           text,
    free_vcpus             integer not null check (free_vcpus >= 0),         -- neither used nor promised to a move
    free_memory_bytes      integer not null check (free_memory_bytes >= 0),
    epoch                  integer not null default 0                        -- counts changes of state
) without rowid;
create index host_by_cluster on host (cluster, state);

create table vm (
    vm_id                   text primary key,
    host_id                 text not null references host (host_id),
    owner                   text not null,
    series                  text not null,
    vcpus                   integer not null,
    memory_bytes            integer not null,
    dirty_bytes_per_second  integer not null,
    availability_set        text,
    live_migratable         integer not null,
    simulated               integer not null
) without rowid;
create index vm_by_host on vm (host_id);
create index vm_by_set on vm (availability_set) where availability_set is not null;

create table entity (
    component       text not null,
    entity_id       text not null,
    model           text,
    capacity_bytes  integer,
    firmware        text,
    host_id         text,                        -- null: failed and taken out
    simulated       integer not null,
    primary key (component, entity_id)
) without rowid;

-- The truth. Nothing that inventory shows is read from here.
create table failure (
    component       text not null,
    entity_id       text not null,
    host_id         text not null,
    failed_at       integer not null,
    cause           text,
    replacement_id  text,                        -- what is put in its place; null: nothing
    state           text not null,               -- future | happened | replaced | averted
    primary key (component, entity_id)
) without rowid;
create index failure_by_host on failure (host_id, state);
create index failure_by_time on failure (state, failed_at);

-- What happens next, in order of time, then rank, then the order in which it was planned.
create table agenda (
    seq   integer primary key,
    at    integer not null,
    rank  integer not null,
    kind  text not null,                         -- failure | move | choice | finish | return | release | start
    a     text not null,
    b     text not null
);
create index agenda_in_order on agenda (at, rank, seq);

create table work (
    order_id      text primary key,
    host_id       text not null,
    action        text not null,
    not_before    integer not null,
    expires_at    integer not null,
    first_state   text not null,                 -- what submit answered, and answers again
    first_reason  text,
    state         text not null,
    state_at      integer not null,
    reason        text,
    attribute     text,                          -- the host's, changed by the service; null: none
    becomes       text
) without rowid;
create index work_by_host on work (host_id, state);

create table work_vm (
    order_id        text not null,
    position        integer not null,
    vm_id           text not null,
    technique       text not null,
    target_host_id  text,
    deadline        integer,                     -- until when its owner may pick the moment
    result          text,                        -- moved | redeployed | chosen | paused | stayed | failed | lost; null: not yet
    pause_seconds   real not null default 0,
    interrupted     integer not null default 0,
    primary key (order_id, vm_id)
) without rowid;
create index work_vm_by_target on work_vm (target_host_id) where result is null;
create index work_vm_by_vm on work_vm (vm_id) where result is null;

create table interruption (
    vm_id     text not null,
    at        integer not null,
    cause     text not null,                     -- failure | failed_move | failed_pause | redeploy | chosen
    host_id   text not null,
    order_id  text
);
