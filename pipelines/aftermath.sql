-- aftermath: the VMs that stood on a host at a moment, and each failure of a host that they stood on from then on
-- grain: one row per row of `asked` (number, host_id, asof_at, until), VM and failure; a VM that met none has one row
-- sees:  inventory as of each moment; a host's failures of one day count once
-- binds: since, before which no failure matters
with stood as (
    select asked.number, asked.asof_at, asked.until, vm.vm_id
    from asked
    join vm
      on vm.host_id = asked.host_id
     and vm.valid_from <= asked.asof_at
     and (vm.valid_until is null or vm.valid_until > asked.asof_at)
),
failed as (
    select entity_host.host_id, min(failure.failed_at) as failed_at
    from failure
    join entity_host using (entity_key)
    where failure.failed_at > $since
      and entity_host.valid_from <= failure.failed_at
      and (entity_host.valid_until is null or entity_host.valid_until >= failure.failed_at)
    group by entity_host.host_id, failure.failed_at::date
),
met as (
    select stood.number, stood.vm_id, there.host_id, there.valid_from, failed.failed_at
    from stood
    join vm there using (vm_id)
    join failed
      on failed.host_id = there.host_id
     and failed.failed_at > stood.asof_at
     and failed.failed_at <= stood.until
     and there.valid_from < failed.failed_at
     and (there.valid_until is null or there.valid_until >= failed.failed_at)
)
select stood.number, stood.vm_id, met.host_id, met.valid_from as there_from, met.failed_at
from stood
left join met using (number, vm_id)
order by all
