-- The reference system's detector: its rules and constants, and nothing better.
--
-- It looks at the 24 last records of a client, the judged one among them, by their count and not by their
-- age. So a reading that comes late changes the verdict of the 23 after it: all of these are judged again.

drop function if exists consumo.juzgar_original(text[], timestamptz[], timestamptz[], date[], date[]);
create or replace function consumo.evaluate_original(
    p_cliente text[], p_desde timestamptz[], p_hasta timestamptz[], p_primera date[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- No two windows are the same: to remember their sums costs and saves nothing.
set enable_memoize = off as $$
declare
    v_cliente text[];
    v_desde timestamptz[];
    v_hasta timestamptz[];
    v_halladas consumo.anomalias[];
begin
with spans as (
    select s.*
    from unnest(p_cliente, p_desde, p_hasta, p_primera) as s (cliente, desde, hasta, primera)
),
-- The changed hours and the 23 records after them, some more where hours are missing between; with each the last day
-- before its own that has any.
hours as (
    select s.cliente, h.*
    from spans s
    cross join lateral (
        select d.fecha, d.wh, u.j + p.first - 1 as k, d.inicio + (u.j + p.first - 2) * interval '1 hour' as instante, u.v, u.m,
               y.wh as ayer, y.n as ayer_n
        from consumo.dias d
        left join lateral (
            select array_remove(y.wh, null) as wh, y.n from consumo.dias y where y.propietario_id = s.cliente and y.fecha < d.fecha order by y.fecha desc limit 1
        ) y on true
        cross join lateral (
            select greatest((date_part('epoch', s.desde - d.inicio) / 3600)::int, 0) + 1 as first
        ) p
        cross join lateral unnest(d.wh[p.first:], d.marcas[p.first:]) with ordinality u (v, m, j)
        where d.propietario_id = s.cliente and d.fecha >= s.primera and u.v is not null
        order by d.fecha, u.j
        limit (date_part('epoch', s.hasta - s.desde) / 3600)::int + 24
    ) h
),
-- The records before it: those of its day and of that last day, which are enough when that day is whole; else those of
-- as many days as it takes.
windows as (
    select h.*, w.registros[greatest(cardinality(w.registros) - 23, 1):] as registros, least(cardinality(w.registros), 24) as n
    from hours h
    cross join lateral (
        select case when h.ayer_n is null or h.ayer_n >= 23 then h.ayer else (
            select array_agg(x.v order by x.fecha, x.k)
            from (
                select d.fecha, u.k, u.v
                from consumo.dias d
                cross join lateral unnest(d.wh) with ordinality u (v, k)
                where d.propietario_id = h.cliente and d.fecha < h.fecha and u.v is not null
                order by d.fecha desc, u.k desc
                limit 23
            ) x
        ) end || array_remove(h.wh[:h.k], null) as registros
        offset 0
    ) w
),
-- Watt-hours are whole numbers and their sums exact, so the order of arrival leaves no trace.
measured as (
    select w.cliente, w.fecha, w.instante, w.v, w.m, w.n, s.suma / w.n as media,
           sqrt(greatest(s.cuadrados / w.n - (s.suma / w.n) ^ 2, 0)) as desviacion
    from windows w
    cross join lateral (
        select sum(u.r)::float8 as suma, sum(u.r::float8 * u.r) as cuadrados from (select unnest(w.registros) as r) u
    ) s
),
ruled as (
    select m.*, c.hora,
           -- The reference adds a millionth of a kWh to the deviation.
           (m.v - m.media) / (m.desviacion + 0.001) as z,
           (m.v - m.media) / m.media * 100 as exceso,
           (m.v - m.media) / (m.desviacion + 0.001) > 3 as pico,
           (m.v - m.media) / m.media * 100 > 150 as elevado,
           (c.hora < 6 or c.hora = 23) and m.v > 2 * m.media as noche
    from measured m
    -- The hour as the publisher has it, as the reference does.
    cross join lateral (select (m.m >> 4)::smallint as hora) c
    where m.media > 0 and m.v > m.media
),
scored as (
    select r.*, r.pico::int * 0.4 + r.elevado::int * 0.3 + r.noche::int * 0.3 as score
    from ruled r
    where r.pico or r.elevado or r.noche
),
judged as (
    select m.cliente, min(m.instante) as desde, max(m.instante) as hasta from measured m group by m.cliente
)
select (select array_agg(j.cliente) from judged j), (select array_agg(j.desde) from judged j),
       (select array_agg(j.hasta) from judged j),
       array_agg(row(s.cliente, 'original', s.instante, 'hora', s.fecha, s.hora, s.v / 1000.0,
           array_remove(array[case when s.pico then 'pico_anomalo' end, case when s.elevado then 'consumo_elevado' end,
               case when s.noche then 'consumo_noche_anomalo' end], null),
           s.score, case when s.score > 0.7 then 'crítica' when s.score > 0.5 then 'alta' else 'media' end,
           s.m & 8 > 0,
           jsonb_build_object('registros', s.n, 'media', round(s.media::numeric / 1000, 3),
               'desviacion', round(s.desviacion::numeric / 1000, 3), 'z', round(s.z::numeric, 2),
               'exceso_pct', round(s.exceso::numeric, 1)),
           null)::consumo.anomalias)
into v_cliente, v_desde, v_hasta, v_halladas
from scored s;

perform consumo.record_anomalies('original', v_cliente, v_desde, v_hasta, coalesce(v_halladas, '{}'));
end
$$;
comment on function consumo.evaluate_original(text[], timestamptz[], timestamptz[], date[]) is 'Judges the readings of clients from the first to the last changed hour, and the 23 after it, by the reference system''s rules';
