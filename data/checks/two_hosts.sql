-- severity: error
-- says: a VM runs on two hosts, or one host or VM has two current rows
select vm_id as id, count(*) as rows_current from vm where valid_until is null group by vm_id having count(*) > 1
union all
select host_id, count(*) from host where valid_until is null group by host_id having count(*) > 1
