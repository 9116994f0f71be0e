-- The reference system's detector: its rules and constants, and nothing better.
--
-- It looks at the 24 last records of a client, the judged one among them, by their count and not by their
-- age. So a reading that comes late changes the verdict of the 23 after it: all of these are judged again.

create or replace function consumo.juzgar_original(p_cliente text[], p_desde timestamptz[], p_hasta timestamptz[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_cliente text[];
    v_desde timestamptz[];
    v_hasta timestamptz[];
    v_halladas consumo.anomalias[];
begin
with spans as (
    select s.cliente, s.desde, s.hasta
    from unnest(p_cliente, p_desde, p_hasta) as s (cliente, desde, hasta)
),
-- The changed hours, the 23 before them, the 23 after.
hours as (
    select s.cliente, s.desde, h.*
    from spans s
    cross join lateral (
        (
            select d.fecha, u.k, d.inicio + (u.k - 1) * interval '1 hour' as instante, u.v, u.m
            from consumo.dias d
            cross join lateral unnest(d.wh, d.marcas) with ordinality u (v, m, k)
            where d.propietario_id = s.cliente and d.fecha <= (s.desde at time zone 'UTC')::date + 1
              and u.v is not null and d.inicio + (u.k - 1) * interval '1 hour' < s.desde
            order by d.fecha desc, u.k desc
            limit 23
        )
        union all
        (
            select d.fecha, u.k, d.inicio + (u.k - 1) * interval '1 hour', u.v, u.m
            from consumo.dias d
            cross join lateral unnest(d.wh, d.marcas) with ordinality u (v, m, k)
            where d.propietario_id = s.cliente
              and d.fecha >= (s.desde at time zone 'UTC')::date - 1 and d.fecha <= (s.hasta at time zone 'UTC')::date + 1
              and u.v is not null and d.inicio + (u.k - 1) * interval '1 hour' between s.desde and s.hasta
        )
        union all
        (
            select d.fecha, u.k, d.inicio + (u.k - 1) * interval '1 hour', u.v, u.m
            from consumo.dias d
            cross join lateral unnest(d.wh, d.marcas) with ordinality u (v, m, k)
            where d.propietario_id = s.cliente and d.fecha >= (s.hasta at time zone 'UTC')::date - 1
              and u.v is not null and d.inicio + (u.k - 1) * interval '1 hour' > s.hasta
            order by d.fecha, u.k
            limit 23
        )
    ) h
),
-- Watt-hours are whole numbers and their sums exact, so the order of arrival leaves no trace.
seen as (
    select h.*, count(*) over w as n, sum(h.v) over w as suma, sum(h.v::float8 * h.v) over w as cuadrados
    from hours h
    window w as (partition by h.cliente order by h.instante rows between 23 preceding and current row)
),
measured as (
    select s.*, s.suma::float8 / s.n as media,
           sqrt(greatest(s.cuadrados / s.n - (s.suma::float8 / s.n) ^ 2, 0)) as desviacion
    from seen s
    where s.instante >= s.desde
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
)
select (select array_agg(x.cliente) from (select m.cliente from measured m group by m.cliente order by m.cliente) x),
       (select array_agg(x.desde) from (select min(m.desde) as desde from measured m group by m.cliente order by m.cliente) x),
       (select array_agg(x.hasta) from (select max(m.instante) as hasta from measured m group by m.cliente order by m.cliente) x),
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
perform consumo.anotar('original', v_cliente, v_desde, v_hasta, coalesce(v_halladas, '{}'));
end
$$;
comment on function consumo.juzgar_original(text[], timestamptz[], timestamptz[]) is 'Judges the readings of clients from the first to the last changed hour, and the 23 after it, by the reference system''s rules';
