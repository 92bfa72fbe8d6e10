-- severity: error
-- says: a VM runs on a host that the inventory does not have
select vm_id, host_id from vm
where valid_until is null and host_id not in (select host_id from host where valid_until is null)
