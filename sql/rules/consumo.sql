-- Marts and data quality rules of consumo. Applied whole by worker migrate: entries no longer
-- listed here are switched off (rules, with their history) or removed (marts).
--
-- Rules look at the last 35 days that there are readings of: older days were looked at then. Readings that are ahead of
-- the clock do not move the last day.

delete from core.mart_refresh_log l using core.marts m where l.mart = m.mart and m.domain = 'consumo'
    and m.mart not in ('marts.consumo_diario', 'marts.consumo_mensual', 'marts.consumo_franjas', 'marts.consumo_score_mensual', 'marts.consumo_top_clientes',
    'marts.consumo_tipos_anomalia', 'marts.consumo_anomalias', 'marts.consumo_horario', 'marts.consumo_mes_contra_mes',
    'marts.consumo_mapa_calor', 'marts.consumo_resumen', 'marts.consumo_deteccion', 'marts.consumo_clientes',
    'marts.consumo_distribucion', 'marts.consumo_anomalias_retiradas');
delete from core.marts where domain = 'consumo'
    and mart not in ('marts.consumo_diario', 'marts.consumo_mensual', 'marts.consumo_franjas', 'marts.consumo_score_mensual', 'marts.consumo_top_clientes',
    'marts.consumo_tipos_anomalia', 'marts.consumo_anomalias', 'marts.consumo_horario', 'marts.consumo_mes_contra_mes',
    'marts.consumo_mapa_calor', 'marts.consumo_resumen', 'marts.consumo_deteccion', 'marts.consumo_clientes',
    'marts.consumo_distribucion', 'marts.consumo_anomalias_retiradas');

insert into core.marts (mart, domain, kind, position, depends_on, objective) values
('marts.consumo_diario', 'consumo', 'view', 1, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_mensual', 'consumo', 'view', 2, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_franjas', 'consumo', 'view', 3, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_score_mensual', 'consumo', 'view', 4, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_top_clientes', 'consumo', 'view', 5, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_tipos_anomalia', 'consumo', 'view', 6, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_anomalias', 'consumo', 'view', 7, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_horario', 'consumo', 'view', 8, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_mes_contra_mes', 'consumo', 'view', 9, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_mapa_calor', 'consumo', 'view', 10, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_resumen', 'consumo', 'view', 11, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_deteccion', 'consumo', 'view', 12, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_clientes', 'consumo', 'view', 13, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_distribucion', 'consumo', 'view', 14, '{consumo.lecturas,consumo.clientes}', '1 minute'),
('marts.consumo_anomalias_retiradas', 'consumo', 'view', 15, '{consumo.lecturas,consumo.clientes}', '1 minute')
on conflict (mart) do update set domain = excluded.domain, kind = excluded.kind, position = excluded.position,
    depends_on = excluded.depends_on, objective = excluded.objective;

-- Days are cut by the clients' clocks, and anomalies found in days.
delete from core.derived_tables where table_name like 'consumo.%';
insert into core.derived_tables (table_name, core_table) values
('consumo.dias', 'consumo.lecturas'),
('consumo.dias', 'consumo.clientes'),
('consumo.anomalias', 'consumo.lecturas'),
('consumo.anomalias', 'consumo.clientes'),
('consumo.retiradas', 'consumo.lecturas'),
('consumo.retiradas', 'consumo.clientes');

-- Marts read days, so readings may leave when no correction is to be expected any more.
delete from core.lifecycle_policies where domain = 'consumo' and table_name not in ('consumo.lecturas');
insert into core.lifecycle_policies (table_name, domain, time_column, granularity, keep_hot, keep_archive) values
('consumo.lecturas', 'consumo', 'instante', 'month', '90 days', '6 years')
on conflict (table_name) do update set domain = excluded.domain, time_column = excluded.time_column,
    granularity = excluded.granularity, keep_hot = excluded.keep_hot, keep_archive = excluded.keep_archive;

update core.dq_rules set enabled = false where domain = 'consumo';

insert into core.dq_rules (rule, domain, schema_name, table_name, test, severity, description, remedy, failing_rows, measure, threshold) values
('lecturas_complete', 'consumo', 'consumo', 'dias', 'expression_is_true', 'warn',
 'At most 1 % of the hours of clients are missing, from the day after their first reading on, the last day apart',
 'Ask the publisher for the hours of marts.consumo_diario with horas_sin_lectura above 0; they are taken whenever they come.',
 $$select x.propietario_id || '/' || g.dia::date as key from (select p.propietario_id, greatest(p.fecha + 1, u.fecha - 35) as desde, u.fecha - 1 as hasta from consumo.primeros_dias p, consumo.ultimo_dia u where p.fecha < u.fecha - 1) x cross join lateral generate_series(x.desde::timestamp, x.hasta::timestamp, interval '1 day') as g (dia) left join consumo.dias d on d.propietario_id = x.propietario_id and d.fecha = g.dia::date where d.n is null or d.n < d.horas$$,
 $$select round((sum(x.hasta - x.desde + 1 - l.dias) * 24 + coalesce(sum(l.horas - l.n), 0)) * 100.0 / nullif(sum(x.hasta - x.desde + 1 - l.dias) * 24 + coalesce(sum(l.horas), 0), 0), 2) from (select p.propietario_id, greatest(p.fecha + 1, u.fecha - 35) as desde, u.fecha - 1 as hasta from consumo.primeros_dias p, consumo.ultimo_dia u where p.fecha < u.fecha - 1) x cross join lateral (select count(*) as dias, sum(d.horas) as horas, sum(d.n) as n from consumo.dias d where d.propietario_id = x.propietario_id and d.fecha between x.desde and x.hasta) l$$, 1),
('lecturas_contradicted', 'consumo', 'stg', 'consumo_lectura', 'unique', 'warn',
 'At most 1 % of the client-hours received since yesterday came with different values',
 'Look whether the publisher corrects readings or two publishers speak of the same meter.',
 $$select propietario_id || '/' || timestamp as key from stg.consumo_lectura where day >= current_date - 1 group by propietario_id, timestamp having count(distinct consumo_kwh) > 1$$,
 $$select round(count(*) filter (where n > 1) * 100.0 / nullif(count(*), 0), 2) from (select count(distinct consumo_kwh) as n from stg.consumo_lectura where day >= current_date - 1 group by propietario_id, timestamp) x$$, 1),
('lecturas_not_negative', 'consumo', 'consumo', 'dias', 'accepted_range', 'error',
 'No consumption is negative',
 'The contract and the table forbid this: find out which statement wrote the row.',
 $$select d.propietario_id || '/' || d.fecha as key from consumo.dias d, consumo.ultimo_dia m where d.fecha >= m.fecha - 35 and d.minimo < 0$$, null, 0),
('lecturas_not_absurd', 'consumo', 'consumo', 'dias', 'accepted_range', 'warn',
 'No client of tariff 2.0TD, or without a known tariff, uses more than 50 kWh in an hour',
 'Check the meter; the contract allows up to 1000 kWh.',
 $$select d.propietario_id || '/' || d.fecha as key from consumo.dias d cross join consumo.ultimo_dia m left join consumo.clientes c on c.propietario_id = d.propietario_id where d.fecha >= m.fecha - 35 and d.maximo > 50000 and coalesce(c.tarifa, '2.0TD') = '2.0TD'$$, null, 0),
('lecturas_clock', 'consumo', 'consumo', 'dias', 'expression_is_true', 'warn',
 'At most 1 % of the readings name another hour than the client''s clock showed',
 'Look at the publisher''s clock and at the client''s zone; both values are kept, days follow the instant.',
 $$select d.propietario_id || '/' || d.fecha as key from consumo.dias d, consumo.ultimo_dia m where d.fecha >= m.fecha - 35 and d.desacuerdos > 0$$,
 $$select round(sum(d.desacuerdos) * 100.0 / nullif(sum(d.n), 0), 2) from consumo.dias d, consumo.ultimo_dia m where d.fecha >= m.fecha - 35$$, 1),
('lecturas_volume', 'consumo', 'consumo', 'dias', 'row_count', 'warn',
 'The last complete day has at least 80 % of the readings of the same day a week before',
 'Look which clients are missing in marts.consumo_diario and whether their publishers run.',
 $$select d.propietario_id as key from consumo.dias d, consumo.ultimo_dia m where d.fecha = m.fecha - 8 and not exists (select from consumo.dias e where e.propietario_id = d.propietario_id and e.fecha = d.fecha + 7)$$,
 $$select round(100 - sum(d.n) filter (where d.fecha = m.fecha - 1) * 100.0 / nullif(sum(d.n) filter (where d.fecha = m.fecha - 8), 0), 2) from consumo.dias d, consumo.ultimo_dia m where d.fecha in (m.fecha - 1, m.fecha - 8)$$, 20),
('deteccion_precision', 'consumo', 'consumo', 'anomalias', 'expression_is_true', 'warn',
 'Where the truth is known, at most 10 % of the flagged days of the seasonal way of judging are false',
 'Look at marts.consumo_deteccion and at the evidence in marts.consumo_anomalias.',
 $$select distinct a.propietario_id || '/' || a.fecha as key from consumo.anomalias a join consumo.dias d on d.propietario_id = a.propietario_id and d.fecha = a.fecha, consumo.ultimo_dia m where a.modo = 'estacional' and a.fecha >= m.fecha - 35 and d.esperadas = 0 and exists (select from consumo.dias t where t.esperadas > 0)$$,
 $$select round(count(*) filter (where d.esperadas = 0) * 100.0 / nullif(count(*), 0), 2) from (select distinct propietario_id, fecha from consumo.anomalias where modo = 'estacional') a join consumo.dias d on d.propietario_id = a.propietario_id and d.fecha = a.fecha, consumo.ultimo_dia m where a.fecha >= m.fecha - 35 and exists (select from consumo.dias t where t.esperadas > 0)$$, 10),
('anomalias_have_days', 'consumo', 'consumo', 'anomalias', 'relationships', 'error',
 'Every anomaly of the last 35 days belongs to a day of the client',
 'Find out which statement removed the day; worker trace shows the readings.',
 $$select a.propietario_id || '/' || a.instante as key from consumo.anomalias a, consumo.ultimo_dia m where a.fecha >= m.fecha - 35 and not exists (select from consumo.dias d where d.propietario_id = a.propietario_id and d.fecha = a.fecha)$$, null, 0),
('consumo_recency', 'consumo', 'core', 'batches', 'recency', 'warn',
 'Messages arrived within the last day',
 'Look whether the publishers run and whether queue acequia.consumo has messages.',
 $$select domain as key from core.batches where domain = 'consumo' group by domain having max(received_at) < now() - interval '1 day'$$,
 $$select round(extract(epoch from now() - max(received_at)) / 3600, 2) from core.batches where domain = 'consumo'$$, 24),
('consumo_conservation', 'consumo', 'core', 'batch_entities', 'row_count', 'error',
 'Every received message is a duplicate, staged, promoted, stale, pending or in quarantine',
 'Stop trusting the domain and compare core.batch_entities with core.pending and raw.quarantine.',
 $$select entity as key from core.conservation where domain = 'consumo' and unaccounted <> 0$$, null, 0),
('consumo_alerts_leave', 'consumo', 'core', 'outbox', 'recency', 'warn',
 'No alert waits longer than ten minutes for the broker',
 'Look at loop outbox_relay in /readyz and at the broker.',
 $$select id as key from core.outbox where domain = 'consumo' and published_at is null and created_at < now() - interval '10 minutes'$$, null, 0)
on conflict (rule) do update set domain = excluded.domain, schema_name = excluded.schema_name, table_name = excluded.table_name,
    test = excluded.test, severity = excluded.severity, description = excluded.description, remedy = excluded.remedy,
    failing_rows = excluded.failing_rows, measure = excluded.measure, threshold = excluded.threshold, enabled = true;
