-- The anomalies that a judge found replace those that were there; the difference is published.

create or replace function consumo.record_anomalies(
    p_modo text, p_cliente text[], p_desde timestamptz[], p_hasta timestamptz[], p_halladas consumo.anomalias[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- How many clients and anomalies there are differs from call to call, and with it the way to go.
set plan_cache_mode = force_custom_plan as $$
begin
with found as (
    select f.* from unnest(p_halladas) f
),
-- Span by span, and then all at once: the cost grows with the spans that are judged, not with the table.
there as materialized (
    select a.*
    from unnest(p_cliente, p_desde, p_hasta) as s (cliente, desde, hasta)
    cross join lateral (
        select a.*
        from consumo.anomalias a
        -- As rows, which only the primary key can find: by the time alone it would be everybody's.
        where (a.propietario_id, a.modo, a.instante) >= (s.cliente, p_modo, s.desde)
          and (a.propietario_id, a.modo, a.instante) <= (s.cliente, p_modo, s.hasta)
        offset 0
    ) a
),
gone as (
    delete from consumo.anomalias a
    using (
        select t.propietario_id, t.instante, t.ambito from there t
        except
        select f.propietario_id, f.instante, f.ambito from found f
    ) g
    where a.propietario_id = g.propietario_id and a.modo = p_modo and a.instante = g.instante and a.ambito = g.ambito
    returning a.*
),
-- Anomalies that were shown stay visible as taken back.
taken_back as (
    insert into consumo.retiradas as r (propietario_id, modo, instante, ambito, fecha, hora, consumo_kwh, tipos, score, severidad,
        detectada_at)
    select g.propietario_id, g.modo, g.instante, g.ambito, g.fecha, g.hora, g.consumo_kwh, g.tipos, g.score, g.severidad, g.detectada_at
    from gone g
    join consumo.modos m on m.modo = g.modo and m.principal
    on conflict (propietario_id, modo, instante, ambito) do update
    set fecha = excluded.fecha, hora = excluded.hora, consumo_kwh = excluded.consumo_kwh, tipos = excluded.tipos,
        score = excluded.score, severidad = excluded.severidad, detectada_at = excluded.detectada_at, retirada_at = clock_timestamp()
),
-- An unchanged anomaly is left alone: judging twice has no second effect, and locks nothing.
kept as (
    insert into consumo.anomalias as a (propietario_id, modo, instante, ambito, fecha, hora, consumo_kwh, tipos, score,
        severidad, es_sospechoso, evidencia)
    select f.propietario_id, f.modo, f.instante, f.ambito, f.fecha, f.hora, f.consumo_kwh, f.tipos, f.score,
           f.severidad, f.es_sospechoso, f.evidencia
    from found f
    left join there t on t.propietario_id = f.propietario_id and t.instante = f.instante and t.ambito = f.ambito
    where t.propietario_id is null
       or (t.fecha, t.hora, t.consumo_kwh, t.tipos, t.score, t.severidad, t.es_sospechoso, t.evidencia)
        is distinct from (f.fecha, f.hora, f.consumo_kwh, f.tipos, f.score, f.severidad, f.es_sospechoso, f.evidencia)
    on conflict (propietario_id, modo, instante, ambito) do update
    set fecha = excluded.fecha, hora = excluded.hora, consumo_kwh = excluded.consumo_kwh, tipos = excluded.tipos,
        score = excluded.score, severidad = excluded.severidad, es_sospechoso = excluded.es_sospechoso,
        evidencia = excluded.evidencia
    returning a.*
)
insert into core.outbox (domain, routing_key, key, body)
select 'consumo', 'consumo.anomalia', t.propietario_id, jsonb_build_object(
    'entity', 'anomalia', 'estado', t.estado, 'propietario_id', t.propietario_id, 'modo', t.modo, 'ambito', t.ambito,
    'timestamp_consumo', t.instante, 'timestamp_deteccion', t.detectada_at, 'consumo_kwh', t.consumo_kwh, 'hora', t.hora,
    'tipos_anomalia', t.tipos, 'score_anomalia', t.score, 'severidad', t.severidad,
    'es_sospechoso_cliente', t.es_sospechoso, 'evidencia', t.evidencia)
from (
    select k.*, 'vigente' as estado from kept k
    union all
    select g.*, 'retirada' from gone g
) t
join consumo.modos m on m.modo = t.modo and m.avisa;
end
$$;
comment on function consumo.record_anomalies(text, text[], timestamptz[], timestamptz[], consumo.anomalias[]) is 'Replaces the anomalies of a way of judging in the given spans of clients by those found; differences go to core.outbox if the way of judging alerts, and removed anomalies to consumo.retiradas';
