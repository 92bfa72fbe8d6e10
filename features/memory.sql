-- memory: what a DIMM's own corrected errors say about it
-- grain: one row per row of `spine` (entity_key, asof_at, last_day)
-- sees:  errors observed before asof_at that had arrived by then, or within the grace of their own day's end
-- binds: last_day of the spine, so that no later errors are read; grace_hours
-- checks: features equal those that pandas computes from the errors themselves (tests/features)
-- A report is one row of `memory_error`, and stands for one error or several. A fault mode is told from how far the
-- errors of 30 days spread: the largest that holds counts; of a row and a column, the one where they spread further.
{% set storm_errors = 10 %}
{% set least = {"rank": 3, "device": 3, "bank": 3, "row": 2, "column": 2, "cell": 2} %}
with heard as (
    select spine.entity_key, spine.asof_at, memory_error.* exclude (entity_key),
           epoch(spine.asof_at - memory_error.observed_at) / 86400 as age_days
    from spine
    join memory_error using (entity_key)
    where memory_error.observed_at < spine.asof_at
      and memory_error.observed_at < ($last_day::date + 1)::timestamptz
      and (memory_error.ingested_at <= spine.asof_at
           or (memory_error.observed_at::date < spine.asof_at::date
               and memory_error.ingested_at <= (memory_error.observed_at::date + 1)::timestamptz + to_hours($grace_hours)))
),
-- Errors in the quarter of an hour, and in the hour, that each error ends; wherever midnight falls.
storm as (
    select entity_key, asof_at, age_days,
           sum(errors) over (partition by entity_key, asof_at order by observed_at
                             range between interval 15 minutes preceding and current row) as within_15min,
           sum(errors) over (partition by entity_key, asof_at order by observed_at
                             range between interval 1 hour preceding and current row) as within_1h
    from heard
    where age_days <= 7 + 1 / 24.0
),
stormed as (
    select entity_key, asof_at,
           count(*) filter (age_days <= 1 and within_15min >= {{ storm_errors }}) as storm_reports_1d,
           max(within_15min) filter (age_days <= 1) as storm_15min_1d, max(within_15min) filter (age_days <= 7) as storm_15min_7d,
           max(within_1h) filter (age_days <= 1) as storm_1h_1d, max(within_1h) filter (age_days <= 7) as storm_1h_7d
    from storm
    group by entity_key, asof_at
),
-- How far the errors of 30 days spread: columns within one row, rows within one column, and so on, the worst of each.
recent as (
    select * from heard where age_days <= 30
),
in_cell as (
    select entity_key, asof_at, max(reports) as worst from (
        select entity_key, asof_at, count(*) as reports from recent
        where row_number is not null and column_number is not null
        group by entity_key, asof_at, rank, device, bank_group, bank, row_number, column_number
    ) group by entity_key, asof_at
),
in_row as (
    select entity_key, asof_at, max(columns) as worst from (
        select entity_key, asof_at, count(distinct column_number) as columns from recent
        where row_number is not null and column_number is not null
        group by entity_key, asof_at, rank, device, bank_group, bank, row_number
    ) group by entity_key, asof_at
),
in_column as (
    select entity_key, asof_at, max(rows) as worst from (
        select entity_key, asof_at, count(distinct row_number) as rows from recent
        where row_number is not null and column_number is not null
        group by entity_key, asof_at, rank, device, bank_group, bank, column_number
    ) group by entity_key, asof_at
),
in_bank as (
    select entity_key, asof_at, max(spread) as worst from (
        select entity_key, asof_at, least(count(distinct row_number), count(distinct column_number)) as spread from recent
        where row_number is not null and column_number is not null
        group by entity_key, asof_at, rank, device, bank_group, bank
    ) group by entity_key, asof_at
),
in_device as (
    select entity_key, asof_at, max(banks) as worst from (
        select entity_key, asof_at, count(distinct (bank_group, bank)) as banks from recent
        where bank is not null
        group by entity_key, asof_at, rank, device
    ) group by entity_key, asof_at
),
in_rank as (
    select entity_key, asof_at, max(devices) as worst from (
        select entity_key, asof_at, count(distinct device) as devices from recent
        where device is not null
        group by entity_key, asof_at, rank
    ) group by entity_key, asof_at
),
counted as (
    select entity_key, asof_at,
           sum(errors) filter (age_days <= 0.25 / 24) as errors_15min,
           sum(errors) filter (age_days <= 1 / 24.0) as errors_1h,
           sum(errors) filter (age_days <= 6 / 24.0) as errors_6h,
           sum(errors) filter (age_days <= 1) as errors_1d,
           sum(errors) filter (age_days <= 7) as errors_7d,
           sum(errors) filter (age_days <= 30) as errors_30d,
           sum(errors) filter (age_days > 1 and age_days <= 2) as errors_day_before,
           sum(errors) filter (age_days > 7 and age_days <= 14) as errors_week_before,
           count(distinct observed_at::date) filter (age_days <= 30) as error_days,
           max(age_days) as first_error_days, min(age_days) as last_error_days,
           coalesce(sum(errors) filter (age_days <= 30 and scrub), 0) / nullif(sum(errors) filter (age_days <= 30 and scrub is not null), 0)
               as scrub_share,
           max(bits) filter (age_days <= 30) as bits_max, avg(bits) filter (age_days <= 30) as bits_mean,
           avg((dqs > 1 and beats > 1)::integer) filter (age_days <= 7) as risky_7d,
           count(*) filter (age_days <= 30) as reports, count(row_number) filter (age_days <= 30) as told_rows,
           count(column_number) filter (age_days <= 30) as told_columns, count(bank) filter (age_days <= 30) as told_banks,
           count(device) filter (age_days <= 30) as told_devices,
           count(distinct (rank, device, bank_group, bank, row_number, column_number))
               filter (age_days <= 30 and row_number is not null and column_number is not null) as cells,
           count(distinct (rank, device, bank_group, bank, row_number)) filter (age_days <= 30 and row_number is not null) as rows,
           count(distinct (rank, device, bank_group, bank, column_number)) filter (age_days <= 30 and column_number is not null) as columns,
           count(distinct (rank, device, bank_group, bank)) filter (age_days <= 30 and bank is not null) as banks,
           count(distinct (rank, device)) filter (age_days <= 30 and device is not null) as devices
    from heard
    group by entity_key, asof_at
),
-- An address part that no report tells says nothing, rather than "none": null where there were errors and no part.
spread as (
    select counted.*, stormed.* exclude (entity_key, asof_at),
           if(reports > 0 and least(told_rows, told_columns) = 0, null, coalesce(in_cell.worst, 0)) as cell_reports,
           if(reports > 0 and least(told_rows, told_columns) = 0, null, coalesce(in_row.worst, 0)) as row_columns,
           if(reports > 0 and least(told_rows, told_columns) = 0, null, coalesce(in_column.worst, 0)) as column_rows,
           if(reports > 0 and least(told_rows, told_columns) = 0, null, coalesce(in_bank.worst, 0)) as bank_spread,
           if(reports > 0 and told_banks = 0, null, coalesce(in_device.worst, 0)) as device_banks,
           if(reports > 0 and told_devices = 0, null, coalesce(in_rank.worst, 0)) as rank_devices
    from counted
    left join stormed using (entity_key, asof_at)
{% for place in ("cell", "row", "column", "bank", "device", "rank") %}
    left join in_{{ place }} using (entity_key, asof_at)
{% endfor %}
),
moded as (
    select *,
           case when reports > 0 and told_rows + told_columns + told_banks + told_devices = 0 then null
                when rank_devices >= {{ least.rank }} then {{ fault_modes.rank }}
                when device_banks >= {{ least.device }} then {{ fault_modes.device }}
                when bank_spread >= {{ least.bank }} then {{ fault_modes.bank }}
                when column_rows >= {{ least.column }} and column_rows > coalesce(row_columns, 0) then {{ fault_modes.column }}
                when row_columns >= {{ least.row }} then {{ fault_modes.row }}
                when cell_reports >= {{ least.cell }} then {{ fault_modes.cell }}
                else 0 end as mode
    from spread
)
select spine.entity_key,
       spine.asof_at,
{% for span in ("15min", "1h", "6h", "1d", "7d", "30d") %}
       coalesce(errors_{{ span }}, 0)::float as errors_{{ span }},           -- corrected errors in that time up to asof_at
{% endfor %}
       (coalesce(errors_1d, 0) - coalesce(errors_day_before, 0))::float as errors_growth_1d,    -- more than on the day before
       (coalesce(errors_7d, 0) - coalesce(errors_week_before, 0))::float as errors_growth_7d,   -- more than in the week before
{% for span in ("15min", "1h") %}{% for days in (1, 7) %}
       coalesce(storm_{{ span }}_{{ days }}d, 0)::float as storm_{{ span }}_{{ days }}d,        -- most errors within that span, in the last {{ days }} d
{% endfor %}{% endfor %}
       coalesce(storm_reports_1d, 0)::float as storm_reports_1d,            -- reports of the last day in a storm: ten errors within 15 minutes
       coalesce(error_days, 0)::float as error_days_30d,                    -- days of the last 30 with an error
       first_error_days::float as days_since_first_error,                   -- d; null: none so far
       last_error_days::float as days_since_last_error,                     -- d; null: none so far
       scrub_share::float as scrub_share_30d,                               -- share of errors that the scrubber found; null: not told
       bits_max::float as burst_bits_max_30d,                               -- most wrong bits in one burst; null: not told
       bits_mean::float as burst_bits_mean_30d,                             -- wrong bits in a burst, mean over reports
       risky_7d::float as risky_burst_share_7d,                             -- share of reports with several data pins and several beats wrong
{% for part, told in (("cells", "least(told_rows, told_columns)"), ("rows", "told_rows"), ("columns", "told_columns"),
                      ("banks", "told_banks"), ("devices", "told_devices")) %}
       if(reports > 0 and {{ told }} = 0, null, coalesce({{ part }}, 0))::float as {{ part }}_30d,  -- distinct {{ part }} with errors; null: not told
{% endfor %}
{% for name, worst in (("cell_reports", "reports of one cell"), ("row_columns", "columns of one row"), ("column_rows", "rows of one column"),
                       ("bank_spread", "rows and columns of one bank, the fewer"), ("device_banks", "banks of one device"),
                       ("rank_devices", "devices of one rank")) %}
       if(reports is null, 0, {{ name }})::float as {{ name }}_30d,         -- most {{ worst }} with errors
{% endfor %}
       if(reports is null, 0, mode)::float as fault_mode                    -- 0 none, 1 cell, 2 row, 3 column, 4 bank, 5 device, 6 rank; null: not told
from spine
left join moded using (entity_key, asof_at)
order by spine.asof_at, spine.entity_key
