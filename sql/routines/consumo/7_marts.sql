-- Marts of electricity consumption. They are built from the days of clients and from the anomalies, which stay when
-- readings are archived.

create or replace view marts.consumo_diario as
select d.propietario_id, d.fecha, c.distrito, c.tarifa, d.horas, d.n as lecturas, d.horas - d.n as horas_sin_lectura,
       round(d.suma / 1000.0, 3) as consumo_total, round(d.suma / 1000.0 / d.n, 3) as consumo_promedio,
       round(d.minimo / 1000.0, 3) as consumo_minimo, round(d.maximo / 1000.0, 3) as consumo_maximo,
       round(d.noche_suma / 1000.0, 3) as consumo_noche, round(d.punta_suma / 1000.0, 3) as consumo_punta,
       round((d.suma - d.noche_suma - d.punta_suma) / 1000.0, 3) as consumo_valle,
       d.sospechosas > 0 as es_sospechoso, coalesce(a.anomalias, 0) as anomalias, coalesce(a.max_score, 0) as max_score
from consumo.dias d
left join consumo.clientes c on c.propietario_id = d.propietario_id
left join (
    select a.propietario_id, a.fecha, count(*) as anomalias, max(a.score) as max_score
    from consumo.anomalias a
    join consumo.modos m on m.modo = a.modo and m.principal
    group by a.propietario_id, a.fecha
) a on a.propietario_id = d.propietario_id and a.fecha = d.fecha
union all
-- Days of which nothing has come, between the client's first one and the last that is over.
select v.propietario_id, v.fecha, v.distrito, v.tarifa, v.horas, 0::smallint, v.horas, null, null, null, null, null, null, null, null, 0, 0
from (
    select p.propietario_id, g.dia::date as fecha, c.distrito, c.tarifa,
           (date_part('epoch', ((g.dia::date + 1)::timestamp at time zone coalesce(c.zona, 'Europe/Madrid'))
               - (g.dia::date::timestamp at time zone coalesce(c.zona, 'Europe/Madrid'))) / 3600)::smallint as horas
    from (select f.propietario_id, min(f.fecha) as fecha from consumo.dias f group by f.propietario_id) p
    cross join consumo.ultimo_dia u
    cross join lateral generate_series((p.fecha + 1)::timestamp, (u.fecha - 1)::timestamp, interval '1 day') as g (dia)
    left join consumo.clientes c on c.propietario_id = p.propietario_id
    where not exists (select from consumo.dias d where d.propietario_id = p.propietario_id and d.fecha = g.dia::date)
) v;
comment on view marts.consumo_diario is 'Each day of each client from its first reading on, by the clients clock; days that are over and of which nothing has come are there too';
comment on column marts.consumo_diario.propietario_id is 'Client';
comment on column marts.consumo_diario.fecha is 'Day on the clients clock';
comment on column marts.consumo_diario.distrito is 'District';
comment on column marts.consumo_diario.tarifa is 'Tariff';
comment on column marts.consumo_diario.horas is 'Length of the day: 23 or 25 when clocks are changed';
comment on column marts.consumo_diario.lecturas is 'Hours with a reading; 0 on a day of which nothing has come';
comment on column marts.consumo_diario.horas_sin_lectura is 'Hours without a reading';
comment on column marts.consumo_diario.consumo_total is 'Consumption, kWh; null on a day of which nothing has come, as all figures of consumption and es_sospechoso';
comment on column marts.consumo_diario.consumo_promedio is 'Mean of the hours, kWh';
comment on column marts.consumo_diario.consumo_minimo is 'Least hour, kWh';
comment on column marts.consumo_diario.consumo_maximo is 'Greatest hour, kWh';
comment on column marts.consumo_diario.consumo_noche is 'Consumption at night (0 to 5 and 23 h), kWh';
comment on column marts.consumo_diario.consumo_punta is 'Consumption at the peak (18 to 22 h), kWh';
comment on column marts.consumo_diario.consumo_valle is 'Consumption in the other hours, kWh';
comment on column marts.consumo_diario.es_sospechoso is 'Whether the publisher suspects the client';
comment on column marts.consumo_diario.anomalias is 'Anomalies of the principal way of judging';
comment on column marts.consumo_diario.max_score is 'Highest score among them';

create or replace view marts.consumo_mensual as
select d.propietario_id, d.mes, to_char(d.mes, 'YYYY-MM') as mes_str, c.distrito, c.tarifa, d.num_registros,
       round(d.suma / 1000.0, 3) as consumo_total, round(d.suma / 1000.0 / d.num_registros, 3) as consumo_promedio,
       round(d.minimo / 1000.0, 3) as consumo_minimo, round(d.maximo / 1000.0, 3) as consumo_maximo,
       round((sqrt(greatest(d.cuadrados - d.suma * d.suma / d.num_registros, 0) / nullif(d.num_registros - 1, 0)) / 1000)::numeric, 3) as consumo_desviacion,
       coalesce(a.anomalias, 0)::bigint as anomalias_detectadas, coalesce(a.criticas, 0)::bigint as anomalias_criticas,
       coalesce(a.altas, 0)::bigint as anomalias_altas, coalesce(a.medias, 0)::bigint as anomalias_medias,
       coalesce(a.max_score, 0) as max_score_anomalia, round(coalesce(a.suma_score, 0) / d.num_registros, 3) as avg_score_anomalia,
       round(d.noche_suma / 1000.0 / nullif(d.noche_n, 0), 3) as consumo_noche_promedio,
       round(d.punta_suma / 1000.0 / nullif(d.punta_n, 0), 3) as consumo_punta_promedio,
       round((d.suma - d.noche_suma - d.punta_suma) / 1000.0 / nullif(d.num_registros - d.noche_n - d.punta_n, 0), 3) as consumo_valle_promedio,
       d.sospechosas > 0 as tiene_comportamiento_sospechoso, d.dias, now() as timestamp,
       (least((d.mes + interval '1 month')::date - 1, greatest(u.fecha - 1, d.ultima)) - greatest(p.fecha, d.mes) + 1 - d.dias)::int as dias_sin_lectura,
       d.noche_n as noche_lecturas, d.punta_n as punta_lecturas, d.num_registros - d.noche_n - d.punta_n as valle_lecturas
from (
    select x.propietario_id, date_trunc('month', x.fecha::timestamp)::date as mes, sum(x.n) as num_registros, count(*) as dias,
           sum(x.suma) as suma, sum(x.cuadrados) as cuadrados, min(x.minimo) as minimo, max(x.maximo) as maximo,
           sum(x.noche_n) as noche_n, sum(x.noche_suma) as noche_suma, sum(x.punta_n) as punta_n, sum(x.punta_suma) as punta_suma,
           sum(x.sospechosas) as sospechosas, max(x.fecha) as ultima
    from consumo.dias x
    group by 1, 2
) d
cross join consumo.ultimo_dia u
cross join lateral (select min(f.fecha) as fecha from consumo.dias f where f.propietario_id = d.propietario_id) p
left join consumo.clientes c on c.propietario_id = d.propietario_id
left join (
    select a.propietario_id, date_trunc('month', a.fecha::timestamp)::date as mes, count(*) as anomalias,
           count(*) filter (where a.severidad = 'crítica') as criticas, count(*) filter (where a.severidad = 'alta') as altas,
           count(*) filter (where a.severidad = 'media') as medias, max(a.score) as max_score, sum(a.score) as suma_score
    from consumo.anomalias a
    join consumo.modos m on m.modo = a.modo and m.principal
    group by 1, 2
) a on a.propietario_id = d.propietario_id and a.mes = d.mes;
comment on view marts.consumo_mensual is 'Each month of each client, with the reference systems columns. Made from days, which stay when readings are archived';
comment on column marts.consumo_mensual.propietario_id is 'Client';
comment on column marts.consumo_mensual.mes is 'First day of the month';
comment on column marts.consumo_mensual.mes_str is 'Month as YYYY-MM';
comment on column marts.consumo_mensual.distrito is 'District';
comment on column marts.consumo_mensual.tarifa is 'Tariff';
comment on column marts.consumo_mensual.num_registros is 'Readings';
comment on column marts.consumo_mensual.consumo_total is 'Consumption, kWh';
comment on column marts.consumo_mensual.consumo_promedio is 'Mean of the hours, kWh';
comment on column marts.consumo_mensual.consumo_minimo is 'Least hour, kWh';
comment on column marts.consumo_mensual.consumo_maximo is 'Greatest hour, kWh';
comment on column marts.consumo_mensual.consumo_desviacion is 'Sample standard deviation of the hours, kWh; null with one reading';
comment on column marts.consumo_mensual.anomalias_detectadas is 'Anomalies of the principal way of judging';
comment on column marts.consumo_mensual.anomalias_criticas is '... of severity crítica';
comment on column marts.consumo_mensual.anomalias_altas is '... of severity alta';
comment on column marts.consumo_mensual.anomalias_medias is '... of severity media';
comment on column marts.consumo_mensual.max_score_anomalia is 'Highest score, 0 without anomalies';
comment on column marts.consumo_mensual.avg_score_anomalia is 'Sum of the scores by the number of readings';
comment on column marts.consumo_mensual.consumo_noche_promedio is 'Mean hour of the night (0 to 5 and 23 h), kWh';
comment on column marts.consumo_mensual.consumo_punta_promedio is 'Mean hour of the peak (18 to 22 h), kWh';
comment on column marts.consumo_mensual.consumo_valle_promedio is 'Mean of the other hours, kWh; not in the reference system';
comment on column marts.consumo_mensual.tiene_comportamiento_sospechoso is 'Whether the publisher suspected the client in any hour';
comment on column marts.consumo_mensual.dias is 'Days with a reading';
comment on column marts.consumo_mensual.timestamp is 'When it was computed: now';
comment on column marts.consumo_mensual.dias_sin_lectura is 'Days without any reading, from the first reading of the client on, as far as they are over';
comment on column marts.consumo_mensual.noche_lecturas is 'Readings behind consumo_noche_promedio';
comment on column marts.consumo_mensual.punta_lecturas is 'Readings behind consumo_punta_promedio';
comment on column marts.consumo_mensual.valle_lecturas is 'Readings behind consumo_valle_promedio';

create or replace view marts.consumo_franjas as
select m.propietario_id, m.mes, f.franja, f.consumo_promedio, f.lecturas
from marts.consumo_mensual m
cross join lateral (
    values ('noche', m.consumo_noche_promedio, m.noche_lecturas), ('valle', m.consumo_valle_promedio, m.valle_lecturas),
        ('punta', m.consumo_punta_promedio, m.punta_lecturas)
) as f (franja, consumo_promedio, lecturas);
comment on view marts.consumo_franjas is 'Each month of each client by time slot: night, valley, peak';
comment on column marts.consumo_franjas.propietario_id is 'Client';
comment on column marts.consumo_franjas.mes is 'First day of the month';
comment on column marts.consumo_franjas.franja is 'noche (0 to 5 and 23 h), punta (18 to 22 h) or valle';
comment on column marts.consumo_franjas.consumo_promedio is 'Mean hour of the slot, kWh; null without readings in it';
comment on column marts.consumo_franjas.lecturas is 'Readings behind the mean';

create or replace view marts.consumo_score_mensual as
select m.propietario_id, m.mes, m.anomalias_detectadas, m.avg_score_anomalia, m.max_score_anomalia,
       case when m.max_score_anomalia >= 0.66 then 'alto' when m.max_score_anomalia >= 0.33 then 'medio' else 'bajo' end as banda,
       m.num_registros as lecturas
from marts.consumo_mensual m;
comment on view marts.consumo_score_mensual is 'Anomaly score of each client and month, with its band';
comment on column marts.consumo_score_mensual.propietario_id is 'Client';
comment on column marts.consumo_score_mensual.mes is 'First day of the month';
comment on column marts.consumo_score_mensual.anomalias_detectadas is 'Anomalies';
comment on column marts.consumo_score_mensual.avg_score_anomalia is 'Sum of the scores by the number of readings';
comment on column marts.consumo_score_mensual.max_score_anomalia is 'Highest score';
comment on column marts.consumo_score_mensual.banda is 'bajo, medio from 0.33, alto from 0.66, by the highest score';
comment on column marts.consumo_score_mensual.lecturas is 'Readings of the month: what avg_score_anomalia divides by';

create or replace view marts.consumo_top_clientes as
select a.propietario_id, c.nombre, c.distrito, count(*) as total_anomalias,
       count(*) filter (where a.severidad = 'crítica') as anomalias_criticas, max(a.score) as max_score,
       max(a.instante) as ultima_anomalia, bool_or(a.es_sospechoso) as es_sospechoso
from consumo.anomalias a
join consumo.modos m on m.modo = a.modo and m.principal
left join consumo.clientes c on c.propietario_id = a.propietario_id
group by a.propietario_id, c.nombre, c.distrito
order by anomalias_criticas desc, total_anomalias desc, a.propietario_id;
comment on view marts.consumo_top_clientes is 'Clients with anomalies, the most critical first, over all time';
comment on column marts.consumo_top_clientes.propietario_id is 'Client';
comment on column marts.consumo_top_clientes.nombre is 'Name';
comment on column marts.consumo_top_clientes.distrito is 'District';
comment on column marts.consumo_top_clientes.total_anomalias is 'Anomalies of the principal way of judging';
comment on column marts.consumo_top_clientes.anomalias_criticas is '... of severity crítica';
comment on column marts.consumo_top_clientes.max_score is 'Highest score';
comment on column marts.consumo_top_clientes.ultima_anomalia is 'Beginning of the last one';
comment on column marts.consumo_top_clientes.es_sospechoso is 'Whether the publisher suspected the client';

create or replace view marts.consumo_tipos_anomalia as
select a.modo, a.fecha, t.tipo, a.severidad, count(*) as anomalias, count(distinct a.propietario_id) as clientes
from consumo.anomalias a
cross join lateral unnest(a.tipos) as t (tipo)
group by a.modo, a.fecha, t.tipo, a.severidad;
comment on view marts.consumo_tipos_anomalia is 'Anomalies by day, way of judging, kind and severity';
comment on column marts.consumo_tipos_anomalia.modo is 'Way of judging';
comment on column marts.consumo_tipos_anomalia.fecha is 'Day';
comment on column marts.consumo_tipos_anomalia.tipo is 'Rule that holds';
comment on column marts.consumo_tipos_anomalia.severidad is 'Severity';
comment on column marts.consumo_tipos_anomalia.anomalias is 'Anomalies';
comment on column marts.consumo_tipos_anomalia.clientes is 'Clients';

create or replace view marts.consumo_anomalias as
select a.modo, m.principal, a.propietario_id, c.nombre, c.distrito, c.tarifa, a.instante, a.ambito, a.fecha, a.hora, a.consumo_kwh,
       a.tipos, a.score, a.severidad, a.es_sospechoso, a.evidencia, a.detectada_at
from consumo.anomalias a
join consumo.modos m on m.modo = a.modo
left join consumo.clientes c on c.propietario_id = a.propietario_id;
comment on view marts.consumo_anomalias is 'Every anomaly, with its evidence and the facts known about the client';
comment on column marts.consumo_anomalias.modo is 'Way of judging';
comment on column marts.consumo_anomalias.principal is 'Whether it is the one that the other marts show';
comment on column marts.consumo_anomalias.propietario_id is 'Client';
comment on column marts.consumo_anomalias.nombre is 'Name';
comment on column marts.consumo_anomalias.distrito is 'District';
comment on column marts.consumo_anomalias.tarifa is 'Tariff';
comment on column marts.consumo_anomalias.instante is 'Beginning of the hour or day';
comment on column marts.consumo_anomalias.ambito is 'hora or dia';
comment on column marts.consumo_anomalias.fecha is 'Day on the clients clock';
comment on column marts.consumo_anomalias.hora is 'Hour; null for a day';
comment on column marts.consumo_anomalias.consumo_kwh is 'Consumption of the hour or day, kWh';
comment on column marts.consumo_anomalias.tipos is 'Rules that hold';
comment on column marts.consumo_anomalias.score is 'From 0 to 1';
comment on column marts.consumo_anomalias.severidad is 'media, alta above 0.5, crítica above 0.7';
comment on column marts.consumo_anomalias.es_sospechoso is 'Whether the publisher suspected the client';
comment on column marts.consumo_anomalias.evidencia is 'Per rule: value, what it was compared with, limit';
comment on column marts.consumo_anomalias.detectada_at is 'When it was found first';

create or replace view marts.consumo_horario as
select d.propietario_id, d.fecha, d.inicio + (u.k - 1) * interval '1 hour' as instante, round(u.v / 1000.0, 3) as consumo_kwh,
       a.score, a.severidad, a.tipos
from consumo.dias d
cross join lateral unnest(d.wh) with ordinality u (v, k)
left join consumo.modos m on m.principal
left join consumo.anomalias a on a.propietario_id = d.propietario_id and a.modo = m.modo and a.ambito = 'hora'
    and a.instante = d.inicio + (u.k - 1) * interval '1 hour'
where u.v is not null;
comment on view marts.consumo_horario is 'Each hour of each client, with its anomaly; to be asked for a client and some days';
comment on column marts.consumo_horario.propietario_id is 'Client';
comment on column marts.consumo_horario.fecha is 'Day on the clients clock';
comment on column marts.consumo_horario.instante is 'Beginning of the hour';
comment on column marts.consumo_horario.consumo_kwh is 'Consumption, kWh';
comment on column marts.consumo_horario.score is 'Score of its anomaly, null without one';
comment on column marts.consumo_horario.severidad is 'Severity of its anomaly';
comment on column marts.consumo_horario.tipos is 'Rules that hold';

create or replace view marts.consumo_mes_contra_mes as
select m.propietario_id, m.distrito, m.mes, m.consumo_total, p.consumo_total as consumo_anterior, m.dias, p.dias as dias_anterior,
       round((m.consumo_total / m.dias - p.consumo_total / p.dias) * 100 / nullif(p.consumo_total / p.dias, 0), 1) as cambio_pct
from marts.consumo_mensual m
left join marts.consumo_mensual p on p.propietario_id = m.propietario_id and p.mes = (m.mes - interval '1 month')::date;
comment on view marts.consumo_mes_contra_mes is 'Each month of each client beside the month before';
comment on column marts.consumo_mes_contra_mes.propietario_id is 'Client';
comment on column marts.consumo_mes_contra_mes.distrito is 'District';
comment on column marts.consumo_mes_contra_mes.mes is 'First day of the month';
comment on column marts.consumo_mes_contra_mes.consumo_total is 'Consumption, kWh';
comment on column marts.consumo_mes_contra_mes.consumo_anterior is 'Consumption of the month before, kWh; null without one';
comment on column marts.consumo_mes_contra_mes.dias is 'Days with a reading';
comment on column marts.consumo_mes_contra_mes.dias_anterior is '... in the month before';
comment on column marts.consumo_mes_contra_mes.cambio_pct is 'Change of the consumption per day, percent';

create or replace view marts.consumo_mapa_calor as
select x.mes, x.dia_semana, (u.k - 1)::int as hora, round(u.suma / 1000.0 / u.n, 3) as consumo_promedio, u.n as lecturas
from (
    select date_trunc('month', d.fecha::timestamp)::date as mes, extract(isodow from d.fecha)::int as dia_semana,
           array[sum(d.wh[1]), sum(d.wh[2]), sum(d.wh[3]), sum(d.wh[4]), sum(d.wh[5]), sum(d.wh[6]), sum(d.wh[7]), sum(d.wh[8]), sum(d.wh[9]),
               sum(d.wh[10]), sum(d.wh[11]), sum(d.wh[12]), sum(d.wh[13]), sum(d.wh[14]), sum(d.wh[15]), sum(d.wh[16]), sum(d.wh[17]),
               sum(d.wh[18]), sum(d.wh[19]), sum(d.wh[20]), sum(d.wh[21]), sum(d.wh[22]), sum(d.wh[23]), sum(d.wh[24])] as sumas,
           array[count(d.wh[1]), count(d.wh[2]), count(d.wh[3]), count(d.wh[4]), count(d.wh[5]), count(d.wh[6]), count(d.wh[7]), count(d.wh[8]),
               count(d.wh[9]), count(d.wh[10]), count(d.wh[11]), count(d.wh[12]), count(d.wh[13]), count(d.wh[14]), count(d.wh[15]),
               count(d.wh[16]), count(d.wh[17]), count(d.wh[18]), count(d.wh[19]), count(d.wh[20]), count(d.wh[21]), count(d.wh[22]),
               count(d.wh[23]), count(d.wh[24])] as numeros
    from consumo.dias d
    where d.horas = 24
    group by 1, 2
) x
cross join lateral unnest(x.sumas, x.numeros) with ordinality u (suma, n, k)
where u.n > 0;
comment on view marts.consumo_mapa_calor is 'Mean consumption by hour and weekday, per month, over all clients; without the two days on which clocks are changed';
comment on column marts.consumo_mapa_calor.mes is 'First day of the month';
comment on column marts.consumo_mapa_calor.dia_semana is '1 Monday to 7 Sunday';
comment on column marts.consumo_mapa_calor.hora is 'Hour on the clients clocks';
comment on column marts.consumo_mapa_calor.consumo_promedio is 'Mean of the hours, kWh';
comment on column marts.consumo_mapa_calor.lecturas is 'Readings';

-- Up to which hour: that which half of the clients of the last week have reached. One client whose clock is ahead, or
-- who was sooner than the others, does not decide what the last day is.
create or replace view marts.consumo_resumen as
with ultimas as (
    select d.propietario_id, max(d.inicio + (u.k - 1) * interval '1 hour') as hora
    from consumo.ultimo_dia t
    join consumo.dias d on d.fecha between t.fecha - 7 and t.fecha
    cross join lateral unnest(d.wh) with ordinality u (v, k)
    where u.v is not null and d.inicio + (u.k - 1) * interval '1 hour' <= now()
    group by d.propietario_id
),
limite as (
    select percentile_disc(0.5) within group (order by l.hora) as hasta from ultimas l
),
horas as (
    select count(distinct d.propietario_id) as clientes, sum(u.v) as suma
    from limite l
    join consumo.dias d on d.fecha between (l.hasta - interval '2 days')::date and (l.hasta + interval '1 day')::date
    cross join lateral unnest(d.wh) with ordinality u (v, k)
    where u.v is not null and d.inicio + (u.k - 1) * interval '1 hour' > l.hasta - interval '24 hours'
      and d.inicio + (u.k - 1) * interval '1 hour' <= l.hasta
),
futuras as (
    select count(*) as lecturas
    from consumo.dias d
    cross join lateral unnest(d.wh) with ordinality u (v, k)
    where d.fecha >= (now() - interval '1 day')::date and u.v is not null and d.inicio + (u.k - 1) * interval '1 hour' > now()
)
select l.hasta, h.clientes, round(h.suma / 1000.0, 3) as consumo_total, a.total_anomalias, a.anomalias_criticas, a.anomalias_altas,
       a.anomalias_medias, a.clientes_afectados, f.lecturas as lecturas_futuras
from limite l
cross join horas h
cross join futuras f
cross join lateral (
    select count(*) as total_anomalias, count(*) filter (where x.severidad = 'crítica') as anomalias_criticas,
           count(*) filter (where x.severidad = 'alta') as anomalias_altas, count(*) filter (where x.severidad = 'media') as anomalias_medias,
           count(distinct x.propietario_id) as clientes_afectados
    from consumo.anomalias x
    where x.modo = (select m.modo from consumo.modos m where m.principal)
      and x.instante > l.hasta - interval '24 hours' and x.instante <= l.hasta
) a;
comment on view marts.consumo_resumen is 'The last 24 hours that are known, in one row: up to the hour that half of the clients with a reading in the last week have reached';
comment on column marts.consumo_resumen.hasta is 'Last of these hours, by its beginning';
comment on column marts.consumo_resumen.clientes is 'Clients with a reading in them';
comment on column marts.consumo_resumen.consumo_total is 'Their consumption in them, kWh';
comment on column marts.consumo_resumen.total_anomalias is 'Anomalies of the principal way of judging';
comment on column marts.consumo_resumen.anomalias_criticas is '... of severity crítica';
comment on column marts.consumo_resumen.anomalias_altas is '... of severity alta';
comment on column marts.consumo_resumen.anomalias_medias is '... of severity media';
comment on column marts.consumo_resumen.clientes_afectados is 'Clients with an anomaly';
comment on column marts.consumo_resumen.lecturas_futuras is 'Readings of hours that have not begun: they are in none of the other figures';

create or replace view marts.consumo_deteccion as
with truth as materialized (
    select d.propietario_id, d.fecha, d.inicio + (u.k - 1) * interval '1 hour' as instante, t.tipo
    from consumo.dias d
    cross join lateral unnest(d.marcas) with ordinality u (m, k)
    join consumo.tipos t on t.codigo = u.m & 7
    where d.esperadas > 0
),
-- The reference system has other names for some.
flags as materialized (
    select distinct a.modo, a.propietario_id, a.fecha, a.instante, a.ambito,
           case r.regla when 'consumo_elevado' then 'pico_anomalo' when 'consumo_noche_anomalo' then 'plantacion_cannabis'
               else r.regla end as tipo
    from consumo.anomalias a
    cross join lateral unnest(a.tipos) as r (regla)
),
-- A peak is to be found in its hour; the others last for days, and are to be found within seven.
episodes as (
    select x.propietario_id, x.tipo, min(x.fecha) as desde
    from (
        select t.propietario_id, t.tipo, t.fecha,
               t.fecha - (row_number() over (partition by t.propietario_id, t.tipo order by t.fecha))::int as isla
        from truth t
        where t.tipo <> 'pico_anomalo'
        group by t.propietario_id, t.tipo, t.fecha
    ) x
    group by x.propietario_id, x.tipo, x.isla
),
expected as (
    select m.modo, t.tipo, exists (select from flags f where f.modo = m.modo and f.propietario_id = t.propietario_id
               and f.tipo = t.tipo and f.instante = t.instante and f.ambito = 'hora') as hallado
    from consumo.modos m
    cross join truth t
    where t.tipo = 'pico_anomalo'
    union all
    select m.modo, e.tipo, exists (select from flags f where f.modo = m.modo and f.propietario_id = e.propietario_id
               and f.tipo = e.tipo and f.fecha between e.desde and e.desde + 6)
    from consumo.modos m
    cross join episodes e
),
flagged as (
    select f.modo, f.tipo, f.propietario_id, f.fecha,
           exists (select from truth t where t.propietario_id = f.propietario_id and t.fecha = f.fecha) as acierto
    from (select distinct modo, tipo, propietario_id, fecha from flags) f
),
normal as (
    select d.propietario_id, sum(1) as dias
    from consumo.dias d
    group by d.propietario_id
    having sum(d.esperadas) = 0 and sum(d.sospechosas) = 0
),
alarms as (
    select f.modo, count(distinct (f.propietario_id, f.fecha)) as falsas
    from flags f
    join normal n on n.propietario_id = f.propietario_id
    group by f.modo
),
rows as (
    select e.modo, e.tipo, count(*) as esperados, count(*) filter (where e.hallado) as hallados, 0 as marcados, 0 as aciertos
    from expected e group by e.modo, e.tipo
    union all
    select f.modo, f.tipo, 0, 0, count(*), count(*) filter (where f.acierto) from flagged f group by f.modo, f.tipo
)
select r.modo, coalesce(r.tipo, 'todos') as tipo, sum(r.esperados)::bigint as esperados, sum(r.hallados)::bigint as hallados,
       round(sum(r.hallados) / nullif(sum(r.esperados), 0), 4) as recall,
       sum(r.marcados)::bigint as dias_marcados, sum(r.aciertos)::bigint as aciertos,
       round(sum(r.aciertos) / nullif(sum(r.marcados), 0), 4) as precision,
       case when r.tipo is null then (select coalesce(sum(n.dias), 0)::bigint from normal n) end as dias_normales,
       case when r.tipo is null then coalesce((select a.falsas from alarms a where a.modo = r.modo), 0) end as falsas_alarmas,
       case when r.tipo is null then round(coalesce((select a.falsas from alarms a where a.modo = r.modo), 0)
           / nullif((select sum(n.dias) from normal n), 0)::numeric, 5) end as tasa_falsas
from rows r
group by grouping sets ((r.modo, r.tipo), (r.modo))
order by r.modo, (r.tipo is null), r.tipo;
comment on view marts.consumo_deteccion is 'How well each way of judging finds what publishers of known truth say is there';
comment on column marts.consumo_deteccion.modo is 'Way of judging';
comment on column marts.consumo_deteccion.tipo is 'Kind of anomaly; todos for all of them';
comment on column marts.consumo_deteccion.esperados is 'Expected findings: hours of peaks, episodes of the others';
comment on column marts.consumo_deteccion.hallados is 'Found under its own name: peaks in their hour, episodes within seven days of their beginning';
comment on column marts.consumo_deteccion.recall is 'Share found, 0 to 1';
comment on column marts.consumo_deteccion.dias_marcados is 'Days of clients that were flagged so';
comment on column marts.consumo_deteccion.aciertos is 'Those on which the publisher expected an anomaly of any kind';
comment on column marts.consumo_deteccion.precision is 'Share of these, 0 to 1';
comment on column marts.consumo_deteccion.dias_normales is 'Days of clients of whom nothing is expected on any day';
comment on column marts.consumo_deteccion.falsas_alarmas is 'Those that were flagged';
comment on column marts.consumo_deteccion.tasa_falsas is 'Share of these, 0 to 1';
