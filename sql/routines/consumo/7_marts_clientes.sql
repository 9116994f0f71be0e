-- Marts by client, and how clients differ: what an average over all of them hides.

create or replace view marts.consumo_clientes as
select coalesce(c.propietario_id, d.propietario_id) as propietario_id, c.nombre, c.distrito, c.tarifa, c.zona,
       d.primera as primera_lectura, d.ultima as ultima_lectura, coalesce(d.dias, 0) as dias,
       (greatest(u.fecha - 1, d.ultima) - d.primera + 1 - d.dias)::integer as dias_sin_lectura,
       case when d.ultima is not null then greatest(u.fecha - 1 - d.ultima, 0) end as dias_en_silencio,
       coalesce(d.n, 0) as lecturas, round(d.suma / 1000.0, 3) as consumo_total, round(d.suma / 1000.0 / d.dias, 3) as consumo_por_dia,
       round(d.suma / 1000.0 / d.n, 3) as consumo_promedio, coalesce(a.anomalias, 0) as anomalias,
       coalesce(a.criticas, 0) as anomalias_criticas, a.ultima as ultima_anomalia, d.sospechosas > 0 as es_sospechoso
from consumo.clientes c
full join (
    select x.propietario_id, min(x.fecha) as primera, max(x.fecha) as ultima, count(*) as dias, sum(x.n)::bigint as n,
           sum(x.suma) as suma, sum(x.sospechosas) as sospechosas
    from consumo.dias x
    group by x.propietario_id
) d on d.propietario_id = c.propietario_id
cross join consumo.ultimo_dia u
left join (
    select a.propietario_id, count(*) as anomalias, count(*) filter (where a.severidad = 'crítica') as criticas,
           max(a.instante) as ultima
    from consumo.anomalias a
    join consumo.modos m on m.modo = a.modo and m.principal
    group by a.propietario_id
) a on a.propietario_id = d.propietario_id;
comment on view marts.consumo_clientes is 'Each client of whom there is a contract, a reading or both: consumption, gaps and anomalies over all time. Clients without any reading are here and nowhere else';
comment on column marts.consumo_clientes.propietario_id is 'Client';
comment on column marts.consumo_clientes.nombre is 'Name; null while only readings of the client have come, as distrito, tarifa and zona';
comment on column marts.consumo_clientes.distrito is 'District';
comment on column marts.consumo_clientes.tarifa is 'Tariff';
comment on column marts.consumo_clientes.zona is 'Time zone of the client''s clock';
comment on column marts.consumo_clientes.primera_lectura is 'Day of the first reading; null without readings';
comment on column marts.consumo_clientes.ultima_lectura is 'Day of the last reading; null without readings';
comment on column marts.consumo_clientes.dias is 'Days with a reading';
comment on column marts.consumo_clientes.dias_sin_lectura is 'Days without any reading from the first one on, as far as they are over; null without readings';
comment on column marts.consumo_clientes.dias_en_silencio is 'Those of them that follow the last reading; null without readings';
comment on column marts.consumo_clientes.lecturas is 'Hours with a reading: the count behind the averages; 0 for a client without readings';
comment on column marts.consumo_clientes.consumo_total is 'Consumption, kWh; null without readings';
comment on column marts.consumo_clientes.consumo_por_dia is 'Consumption by days with a reading, kWh; null without readings';
comment on column marts.consumo_clientes.consumo_promedio is 'Mean of the hours, kWh; null without readings';
comment on column marts.consumo_clientes.anomalias is 'Anomalies of the principal way of judging';
comment on column marts.consumo_clientes.anomalias_criticas is '... of severity crítica';
comment on column marts.consumo_clientes.ultima_anomalia is 'Beginning of the last one; null without anomalies';
comment on column marts.consumo_clientes.es_sospechoso is 'Whether the publisher suspected the client in any hour; null without readings';

create or replace view marts.consumo_distribucion as
select x.mes, c.tarifa, count(*) as clientes, round(avg(x.por_dia), 3) as promedio,
       round(min(x.por_dia), 3) as minimo, round(percentile_disc(0.1) within group (order by x.por_dia), 3) as p10,
       round(percentile_disc(0.5) within group (order by x.por_dia), 3) as mediana,
       round(percentile_disc(0.9) within group (order by x.por_dia), 3) as p90, round(max(x.por_dia), 3) as maximo
from (
    select d.propietario_id, date_trunc('month', d.fecha::timestamp)::date as mes, sum(d.suma) / 1000.0 / count(*) as por_dia
    from consumo.dias d
    group by 1, 2
) x
left join consumo.clientes c on c.propietario_id = x.propietario_id
group by x.mes, c.tarifa;
comment on view marts.consumo_distribucion is 'Each month and tariff: how the consumption per day differs between clients';
comment on column marts.consumo_distribucion.mes is 'First day of the month';
comment on column marts.consumo_distribucion.tarifa is 'Tariff; null for clients of whom no contract has come, or whose contract names none';
comment on column marts.consumo_distribucion.clientes is 'Clients with a reading in the month: the count behind every figure of the row';
comment on column marts.consumo_distribucion.promedio is 'Mean over the clients of the consumption per day with a reading, kWh';
comment on column marts.consumo_distribucion.minimo is 'Least of them, kWh';
comment on column marts.consumo_distribucion.p10 is 'One client of ten is at or below it, kWh';
comment on column marts.consumo_distribucion.mediana is 'Half of the clients are at or below it, kWh';
comment on column marts.consumo_distribucion.p90 is 'Nine clients of ten are at or below it, kWh';
comment on column marts.consumo_distribucion.maximo is 'Greatest of them, kWh';

create or replace view marts.consumo_anomalias_retiradas as
select r.modo, r.propietario_id, c.nombre, c.distrito, r.instante, r.ambito, r.fecha, r.hora, r.consumo_kwh, r.tipos, r.score,
       r.severidad, r.detectada_at, r.retirada_at
from consumo.retiradas r
left join consumo.clientes c on c.propietario_id = r.propietario_id
-- It may have been found again since.
where not exists (
    select from consumo.anomalias a
    where a.propietario_id = r.propietario_id and a.modo = r.modo and a.instante = r.instante and a.ambito = r.ambito
);
comment on view marts.consumo_anomalias_retiradas is 'Anomalies that a late or corrected reading took back, and that have not been found again: what they were when they were last shown';
comment on column marts.consumo_anomalias_retiradas.modo is 'Way of judging';
comment on column marts.consumo_anomalias_retiradas.propietario_id is 'Client';
comment on column marts.consumo_anomalias_retiradas.nombre is 'Name';
comment on column marts.consumo_anomalias_retiradas.distrito is 'District';
comment on column marts.consumo_anomalias_retiradas.instante is 'Beginning of the hour or day';
comment on column marts.consumo_anomalias_retiradas.ambito is 'hora or dia';
comment on column marts.consumo_anomalias_retiradas.fecha is 'Day on the client''s clock';
comment on column marts.consumo_anomalias_retiradas.hora is 'Hour; null for a day';
comment on column marts.consumo_anomalias_retiradas.consumo_kwh is 'Consumption as it was known then, kWh';
comment on column marts.consumo_anomalias_retiradas.tipos is 'Rules that held';
comment on column marts.consumo_anomalias_retiradas.score is 'From 0 to 1';
comment on column marts.consumo_anomalias_retiradas.severidad is 'media, alta above 0.5, crítica above 0.7';
comment on column marts.consumo_anomalias_retiradas.detectada_at is 'When it was found first';
comment on column marts.consumo_anomalias_retiradas.retirada_at is 'When it was taken back';
