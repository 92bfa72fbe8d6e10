-- What a driven executor remembers: orders, what becomes of their VMs, and what it has done to hosts. Moments are UTC texts.

create table if not exists job (
    order_id text primary key,
    host_id text not null,
    action text not null,
    order_event text not null,               -- the order as it came
    first_state text not null,               -- the first answer, which a repeated order gets again
    first_reason text,
    first_at text not null,
    state text not null,
    reason text,
    state_at text not null,
    called_back text,                        -- why it is to stop, while it is at work
    service text,                            -- of the host: null, doing, done
    host_state text                          -- how it left its host
) strict;
create index if not exists job_by_state on job (state);

create table if not exists task (
    order_id text not null references job,
    position integer not null,
    vm_id text not null,
    technique text not null,
    target_host_id text,
    seconds real not null,
    not_before text not null,                -- what its owner was told
    deadline text,
    phase text not null,                     -- offered, waiting, doing, done; withdrawn: it never began
    way text,                                -- live or anew, once it is being done
    attempts integer not null default 0,
    asked_at text,                           -- when its owner said: now
    began_at text,
    result text,
    host_id text,                            -- where it runs now
    pause_seconds real not null default 0,
    interrupted integer not null default 0,
    reason text,
    revision integer not null default 1,     -- goes up with each change, as the documents of owners do
    primary key (order_id, vm_id)
) strict;
create index if not exists task_by_vm on task (vm_id);
create index if not exists task_by_phase on task (phase);

create table if not exists host (
    host_id text primary key,
    order_id text not null,                  -- closed it
    state text not null,                     -- draining, blocked, empty, repair; in_service: it is open again
    since text not null,
    said text                                -- who opened it again, and why
) strict;
