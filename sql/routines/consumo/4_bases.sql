-- The usual values of a client: consumo.bases, from the six weeks before. A client's baselines change once a week, on a
-- day that its code decides: all of them at once would make one night in seven slow.
--
-- They are made in two steps. The sums of the days are enough to see that most days are as always. The medians of the
-- hours cost ten times as much, and are made when a day has to be looked at closely.

drop function if exists consumo.base_de(text, date);

comment on column consumo.bases.mediana is 'Median of each hour of the week, Monday 0 h first, watt-hours; of each hour of the day while there are less than 21 days. Empty until a day has to be looked at closely';
comment on column consumo.bases.escala is 'Spread of each hour of the day around its median: 1.4826 times the median absolute deviation, watt-hours. Empty until a day has to be looked at closely';
comment on column consumo.bases.alto is 'What the client exceeds in one hour of fifty, watt-hours; while mediana is empty, a lower bound of it';

create or replace function consumo.build_baselines(p_cliente text[], p_desde date[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
insert into consumo.bases (propietario_id, desde, dias, mediana, escala, alto, noche, noche_escala, total, variacion)
select w.cliente, w.desde, b.dias, '{}', '{}', b.alto, b.noche, b.noche_escala, b.total, b.variacion
from unnest(p_cliente, p_desde) as w (cliente, desde)
-- Each client by itself: what it costs is known, whatever the planner believes of the others.
cross join lateral (
    -- The two days of the year on which clocks are changed tell nothing of the hours of a day.
    with days as materialized (
        select d.n, d.noche_n, d.maximo, d.suma / d.n as media, d.noche_suma / nullif(d.noche_n, 0) as noche,
               sqrt(greatest(d.cuadrados::float8 / d.n - (d.suma::float8 / d.n) ^ 2, 0)) / greatest(d.suma::float8 / d.n, 1) as cv
        from consumo.dias d
        where d.propietario_id = w.cliente and d.fecha between w.desde - 42 and w.desde - 1 and d.horas = 24
    ),
    night as materialized (
        select percentile_disc(0.5) within group (order by d.noche) as noche from days d where d.noche_n >= 5
    )
    select (select count(*) from days) as dias,
           -- One hour in fifty is at least as high, because one day in that share has such an hour.
           coalesce((
               select d.maximo from days d order by d.maximo desc
               offset (select sum(x.n) - ceil(sum(x.n) * 0.98::float8)::bigint from days x) limit 1
           ), 0) as alto,
           y.noche,
           (
               select round(1.4826 * percentile_disc(0.5) within group (order by abs(d.noche - y.noche)))
               from days d where d.noche_n >= 5
           ) as noche_escala,
           (select percentile_disc(0.5) within group (order by d.media) from days d where d.n >= 20) as total,
           (select percentile_disc(0.5) within group (order by d.cv) from days d where d.n >= 20) as variacion
    from night y
) b
where not exists (select from consumo.bases b where b.propietario_id = w.cliente and b.desde = w.desde);

-- What lies behind all that a baseline is made from is not asked for again soon.
delete from consumo.bases b
using unnest(p_cliente, p_desde) as w (cliente, desde)
where b.propietario_id = w.cliente and b.desde < w.desde - 63;
end
$$;
comment on function consumo.build_baselines(text[], date[]) is 'Makes the baselines of clients for the weeks that begin on these days, where they are missing: the part that follows from the sums of the days';

create or replace function consumo.extend_baselines(p_cliente text[], p_desde date[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
update consumo.bases b
set mediana = m.mediana, escala = m.escala, alto = m.alto
from (
    select w.cliente, w.desde, m.*
    from unnest(p_cliente, p_desde) as w (cliente, desde)
    join consumo.bases x on x.propietario_id = w.cliente and x.desde = w.desde and x.dias >= 7 and x.mediana = '{}'
    cross join lateral (
        with hours as materialized (
            select u.k::int - 1 as h, u.v,
                   case when x.dias >= 21 then (extract(isodow from d.fecha)::int - 1) * 24 else 0 end + u.k::int - 1 as hueco
            from consumo.dias d
            cross join lateral unnest(d.wh) with ordinality u (v, k)
            where d.propietario_id = w.cliente and d.fecha between w.desde - 42 and w.desde - 1 and d.horas = 24 and u.v is not null
        ),
        medians as materialized (
            select hueco, percentile_disc(0.5) within group (order by v) as mediana from hours group by hueco
        ),
        spreads as materialized (
            select h.h, percentile_disc(0.5) within group (order by abs(h.v - m.mediana)) as mad
            from hours h
            join medians m on m.hueco = h.hueco
            group by h.h
        )
        -- The place of an hour without a reading stays empty.
        select (
                   select array_agg(m.mediana order by s.hueco)
                   from generate_series(0, case when x.dias >= 21 then 167 else 23 end) as s (hueco)
                   left join medians m on m.hueco = s.hueco
               ) as mediana,
               (
                   select array_agg(round(1.4826 * p.mad)::int order by s.h)
                   from generate_series(0, 23) as s (h)
                   left join spreads p on p.h = s.h
               ) as escala,
               (select percentile_disc(0.98) within group (order by h.v) from hours h) as alto
    ) m
) m
where b.propietario_id = m.cliente and b.desde = m.desde;
end
$$;
comment on function consumo.extend_baselines(text[], date[]) is 'Adds to baselines the part that follows only from the hours of the days, where it is missing';
