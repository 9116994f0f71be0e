-- The detector of this project: every client against its own earlier weeks.
--
--   pico_anomalo               an hour far above its median in spread and in size, and above what the client ever uses
--   plantacion_cannabis        the third night in a row far above the usual night
--   consumo_constante_anomalo  the second day in a row without variation, of a client that varies
--   consumo_caida_anomalo      the third day in a row far below the usual level, with the usual shape: an empty
--                              home loses its shape, a bypassed meter keeps it
--
-- A day is judged by the weeks before it, never by itself. So a reading that comes late changes the usual values
-- in the weeks after it: the days for which it counts are judged again.

create or replace function consumo.evaluate_seasonal(p_cliente text[], p_fecha date[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan as $$
declare
    -- How far a day reaches: into the baselines of six weeks, each good for seven days.
    c_reach constant integer := 48;
    v_cliente text[];
    v_begin timestamptz[];
    v_end timestamptz[];
    -- The days that have to be looked at closely, and whether the medians are missing that it takes.
    v_cerca text[];
    v_cerca_fecha date[];
    v_cerca_desde date[];
    v_falta boolean[];
    -- Baselines that are missing.
    v_nueva text[];
    v_nueva_desde date[];
    v_halladas consumo.anomalias[];
begin
delete from consumo.bases b
using unnest(p_cliente, p_fecha) as c (cliente, fecha)
where b.propietario_id = c.cliente and b.desde > c.fecha and b.desde <= c.fecha + 42;

-- Once, and once more where baselines had to be made.
loop
    select array_agg(x.cliente), array_agg(x.inicio), array_agg(x.inicio + (x.horas - 1) * interval '1 hour'),
           array_agg(x.cliente) filter (where x.cerca), array_agg(x.fecha) filter (where x.cerca),
           array_agg(x.desde) filter (where x.cerca), array_agg(x.falta) filter (where x.cerca),
           array_agg(x.cliente) filter (where x.dias is null), array_agg(x.desde) filter (where x.dias is null)
    into v_cliente, v_begin, v_end, v_cerca, v_cerca_fecha, v_cerca_desde, v_falta, v_nueva, v_nueva_desde
    from (
        select d.propietario_id as cliente, d.fecha, d.inicio, d.horas, w.desde, b.dias,
               b.mediana = '{}' and (d.maximo > 2.5 * b.alto or (d.n >= 20 and d.suma / d.n < b.total / 2)) as falta,
               -- Conditions of each rule, computed from the sums of the day and of the days before: few days go on from here.
               b.dias >= 7 and (d.maximo > 2.5 * b.alto
                   or (d.noche_n >= 5 and d.noche_suma / d.noche_n > b.noche + greatest(4 * b.noche_escala, b.noche * 6 / 10, 150))
                   or (d.n >= 20 and d.suma / d.n < b.total / 2)
                   or (d.n >= 20 and d.cuadrados::float8 / d.n - (d.suma::float8 / d.n) ^ 2 < (0.06 * d.suma / d.n) ^ 2)) as cerca
        from (
            -- Each day once: what a day reaches ends where the next one begins.
            select g.cliente, g.fecha,
                   least(g.fecha + c_reach, lead(g.fecha) over (partition by g.cliente order by g.fecha) - 1) as hasta
            from unnest(p_cliente, p_fecha) as g (cliente, fecha)
        ) c
        join consumo.dias d on d.propietario_id = c.cliente and d.fecha between c.fecha and c.hasta
        -- The client's own week.
        cross join lateral (
            select d.fecha - (d.fecha - date '1990-01-01' + right(d.propietario_id, 3)::int) % 7 as desde
        ) w
        left join consumo.bases b on b.propietario_id = d.propietario_id and b.desde = w.desde
    ) x;
    exit when v_nueva is null;
    perform consumo.build_baselines(array_agg(m.cliente), array_agg(m.desde))
    from (select distinct n.cliente, n.desde from unnest(v_nueva, v_nueva_desde) as n (cliente, desde)) m;
end loop;

-- A peak and a drop are recognised by the hours of other days.
perform consumo.extend_baselines(array_agg(m.cliente), array_agg(m.desde))
from (
    select distinct c.cliente, c.desde from unnest(v_cerca, v_cerca_desde, v_falta) as c (cliente, desde, falta) where c.falta
) m;

with days as materialized (
    select d.*, b.dias as base_dias, b.mediana, b.escala, b.alto, b.noche, b.noche_escala, b.total, b.variacion,
           b.noche + greatest(4 * b.noche_escala, b.noche * 6 / 10, 150) as limite_noche
    from unnest(v_cerca, v_cerca_fecha, v_cerca_desde) as w (cliente, fecha, desde)
    join consumo.dias d on d.propietario_id = w.cliente and d.fecha = w.fecha
    join consumo.bases b on b.propietario_id = w.cliente and b.desde = w.desde
),
hours as materialized (
    select d.propietario_id, d.fecha, d.inicio + (u.k - 1) * interval '1 hour' as instante, c.h, u.v, u.m & 8 > 0 as sospechoso,
           d.alto, med.mediana, greatest(d.escala[c.h + 1], med.mediana / 10, 20) as escala
    from days d
    cross join lateral unnest(d.wh, d.marcas) with ordinality u (v, m, k)
    cross join lateral (
        select (case when d.horas = 24 then u.k - 1 else extract(hour from (d.inicio + (u.k - 1) * interval '1 hour') at time zone
            coalesce((select k.zona from consumo.clientes k where k.propietario_id = d.propietario_id), 'Europe/Madrid')) end)::int as h
    ) c
    cross join lateral (
        select d.mediana[case when d.base_dias >= 21 then (extract(isodow from d.fecha)::int - 1) * 24 else 0 end + c.h + 1] as mediana
    ) med
    -- Of the other days no hour is asked.
    where u.v is not null and d.mediana <> '{}'
),
peaks as (
    select h.*, (h.v - h.mediana)::float8 / h.escala as z, 2.5 * h.alto as limite
    from hours h
    where h.v > 2.5 * h.alto and h.v > h.mediana + 8 * h.escala and h.v > h.mediana + 500
),
shapes as (
    select h.propietario_id, h.fecha, round(corr(h.v, h.mediana)::numeric, 4) as forma
    from hours h
    group by h.propietario_id, h.fecha
),
-- A day and the two before it, in the same terms.
runs as (
    select d.propietario_id, d.fecha, d.inicio, d.suma, d.noche, d.noche_escala, d.total, s.forma, d.sospechosas > 0 as sospechoso,
           r.noches, r.constantes, r.caidas, r.noche_media, r.media, r.cv, d.limite_noche
    from days d
    left join shapes s on s.propietario_id = d.propietario_id and s.fecha = d.fecha
    cross join lateral (
        select count(*) filter (where p.noche_n >= 5 and p.noche_suma / p.noche_n > d.limite_noche) as noches,
               count(*) filter (where p.fecha >= d.fecha - 1 and p.n >= 20 and p.suma / p.n >= 30 and m.cv < 0.06
                   and d.variacion > 0.15) as constantes,
               count(*) filter (where p.n >= 20 and p.suma / p.n < d.total / 2) as caidas,
               max(p.noche_suma / p.noche_n) filter (where p.fecha = d.fecha and p.noche_n > 0) as noche_media,
               max(p.suma / p.n) filter (where p.fecha = d.fecha) as media,
               max(m.cv) filter (where p.fecha = d.fecha) as cv
        from consumo.dias p
        cross join lateral (
            select sqrt(greatest(p.cuadrados::float8 / p.n - (p.suma::float8 / p.n) ^ 2, 0)) / greatest(p.suma::float8 / p.n, 1) as cv
        ) m
        where p.propietario_id = d.propietario_id and p.fecha between d.fecha - 2 and d.fecha
    ) r
),
ruled as (
    select r.*, r.noches = 3 as plantacion, r.constantes = 2 as constante,
           r.caidas = 3 and r.constantes < 2 and r.forma > 0.5 as caida
    from runs r
),
found as (
    select p.propietario_id, p.instante, 'hora' as ambito, p.fecha, p.h as hora, p.v as wh, array['pico_anomalo'] as tipos,
           p.v / p.limite as veces, p.sospechoso,
           jsonb_build_object('pico_anomalo', jsonb_build_object('valor_kwh', p.v / 1000.0, 'mediana_kwh', p.mediana / 1000.0,
               'escala_kwh', p.escala / 1000.0, 'z', round(p.z::numeric, 1), 'limite_kwh', round(p.limite::numeric / 1000, 3))) as evidencia
    from peaks p
    union all
    select r.propietario_id, r.inicio, 'dia', r.fecha, null, r.suma,
           array_remove(array[case when r.plantacion then 'plantacion_cannabis' end,
               case when r.constante then 'consumo_constante_anomalo' end, case when r.caida then 'consumo_caida_anomalo' end], null),
           greatest(case when r.plantacion then r.noche_media::float8 / r.limite_noche end,
               case when r.constante then 0.06 / greatest(r.cv, 0.01) end,
               case when r.caida then (r.total / 2.0) / greatest(r.media, 1) end),
           r.sospechoso,
           jsonb_strip_nulls(jsonb_build_object(
               'plantacion_cannabis', case when r.plantacion then jsonb_build_object('noche_kwh', r.noche_media / 1000.0,
                   'mediana_kwh', r.noche / 1000.0, 'limite_kwh', r.limite_noche / 1000.0, 'noches', r.noches) end,
               'consumo_constante_anomalo', case when r.constante then jsonb_build_object('variacion', round(r.cv::numeric, 4),
                   'limite', 0.06, 'dias', r.constantes) end,
               'consumo_caida_anomalo', case when r.caida then jsonb_build_object('media_kwh', r.media / 1000.0,
                   'mediana_kwh', r.total / 1000.0, 'forma', r.forma, 'dias', r.caidas) end))
    from ruled r
    where r.plantacion or r.constante or r.caida
),
-- At its limit a rule scores 0.4, at twice the limit 0.7.
scored as (
    select f.*, least(1, greatest(0.4, round((1 - 0.6 / f.veces)::numeric, 2))) as score from found f
)
select array_agg(row(s.propietario_id, 'estacional', s.instante, s.ambito, s.fecha, s.hora, s.wh / 1000.0, s.tipos, s.score,
           case when s.score > 0.7 then 'crítica' when s.score > 0.5 then 'alta' else 'media' end, s.sospechoso, s.evidencia,
           null)::consumo.anomalias)
into v_halladas
from scored s;

perform consumo.record_anomalies('estacional', v_cliente, v_begin, v_end, coalesce(v_halladas, '{}'));
end
$$;
comment on function consumo.evaluate_seasonal(text[], date[]) is 'Judges the given days of clients, and the later days that they count for, against the usual values of the client';
