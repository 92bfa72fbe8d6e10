-- The risk of each host from the risks of its parts, with what the breakers count it for.
-- grain: host; binds: $asof_at, $at, $components, $versions.
with believed as (
    select unnest($components) as component, unnest($versions) as model_version
),
sited as (
    select entity_key, host_id from entity_host
    where valid_from <= $at and (valid_until is null or valid_until > $at)
),
part as (
    select sited.host_id, risk.* exclude (entity_key), entity.entity_id, entity.model
    from risk
    join believed using (component, model_version)
    join sited using (entity_key)
    join entity using (entity_key)
    where risk.asof_at = $asof_at
)
select host_id,
       list_sort(list(distinct model_version)) as model_versions,
       list_sort(coalesce(list(distinct model) filter (status = 'ok' and model is not null), [])) as makes,
       bool_and(status = 'ok' and factors is null) as plain,      -- all known, and no cause that they might share
       greatest(1.0 - coalesce(product(1.0 - risk_1d order by risk_30d desc, entity_id, component) filter (component <> 'node'), 1.0),
                coalesce(max(risk_1d) filter (component = 'node'), 0.0)) as risk_1d,
       greatest(1.0 - coalesce(product(1.0 - risk_3d order by risk_30d desc, entity_id, component) filter (component <> 'node'), 1.0),
                coalesce(max(risk_3d) filter (component = 'node'), 0.0)) as risk_3d,
       greatest(1.0 - coalesce(product(1.0 - risk_7d order by risk_30d desc, entity_id, component) filter (component <> 'node'), 1.0),
                coalesce(max(risk_7d) filter (component = 'node'), 0.0)) as risk_7d,
       greatest(1.0 - coalesce(product(1.0 - risk_14d order by risk_30d desc, entity_id, component) filter (component <> 'node'), 1.0),
                coalesce(max(risk_14d) filter (component = 'node'), 0.0)) as risk_14d,
       greatest(1.0 - coalesce(product(1.0 - risk_30d order by risk_30d desc, entity_id, component) filter (component <> 'node'), 1.0),
                coalesce(max(risk_30d) filter (component = 'node'), 0.0)) as risk_30d
from part
group by host_id
order by host_id
