{#- Moments compared in whole numbers, microseconds since 1970: when a day's row had arrived, and days between. The same said in timestamps with a time zone
   takes several times as long, on tens of millions of rows. -#}
{%- macro end_of_grace(table) -%}
(({{ table }}.day - date '1970-01-01' + 1) * 86400000000 + $grace_hours::bigint * 3600000000)
{%- endmacro -%}
{%- macro arrived_in_time(table) -%}
epoch_us({{ table }}.ingested_at) <= {{ end_of_grace(table) }}
{%- endmacro -%}
{%- macro arrived_by(table, moment) -%}
epoch_us({{ table }}.ingested_at) <= greatest({{ moment }}, {{ end_of_grace(table) }})
{%- endmacro -%}
{%- macro days_between(begin, end) -%}
(epoch_us({{ end }}) - epoch_us({{ begin }})) / 1000000 / 86400
{%- endmacro -%}
