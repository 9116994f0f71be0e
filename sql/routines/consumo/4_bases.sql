-- What is usual for a client: consumo.bases, from the six weeks before.

-- A client's baselines change once a week, on a day that its code decides: all of them at once would
-- make one night in seven slow.
create or replace function consumo.base_de(p_cliente text, p_fecha date) returns date
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_fecha - (p_fecha - date '1990-01-01' + right(p_cliente, 3)::int) % 7
$$;
comment on function consumo.base_de(text, date) is 'First day of the week for which the baseline of a client holds that a day is judged by';

create or replace function consumo.formar_bases(p_cliente text[], p_desde date[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
insert into consumo.bases (propietario_id, desde, dias, mediana, escala, alto, noche, noche_escala, total, variacion)
select w.cliente, w.desde, b.*
from unnest(p_cliente, p_desde) as w (cliente, desde)
-- Each client by itself: what it costs is known, whatever the planner believes of the others.
cross join lateral (
    -- The two days of the year on which clocks are changed tell nothing of the hours of a day.
    with days as materialized (
        select d.fecha, d.wh, d.n, d.noche_n, d.suma / d.n as media, d.noche_suma / nullif(d.noche_n, 0) as noche,
               sqrt(greatest(d.cuadrados::float8 / d.n - (d.suma::float8 / d.n) ^ 2, 0)) / greatest(d.suma::float8 / d.n, 1) as cv,
               count(*) over () as dias
        from consumo.dias d
        where d.propietario_id = w.cliente and d.fecha between w.desde - 42 and w.desde - 1 and d.horas = 24
    ),
    hours as materialized (
        select u.k::int - 1 as h, u.v,
               case when d.dias >= 21 then (extract(isodow from d.fecha)::int - 1) * 24 else 0 end + u.k::int - 1 as hueco
        from days d
        cross join lateral unnest(d.wh) with ordinality u (v, k)
        where d.dias >= 7 and u.v is not null
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
    select coalesce((select max(d.dias) from days d), 0) as dias,
           -- The place of an hour without a reading stays empty.
           coalesce((
               select array_agg(m.mediana order by s.hueco)
               from (select max(hueco) as last from medians) x
               cross join lateral generate_series(0, case when x.last >= 24 then 167 else 23 end) as s (hueco)
               left join medians m on m.hueco = s.hueco
               where x.last is not null
           ), '{}') as mediana,
           coalesce((
               select array_agg(round(1.4826 * x.mad)::int order by s.h)
               from generate_series(0, 23) as s (h)
               left join spreads x on x.h = s.h
               where exists (select from spreads)
           ), '{}') as escala,
           coalesce((select percentile_disc(0.98) within group (order by h.v) from hours h), 0) as alto,
           (select percentile_disc(0.5) within group (order by d.noche) from days d where d.noche_n >= 5) as noche,
           (
               select round(1.4826 * percentile_disc(0.5) within group (order by abs(d.noche - x.noche)))
               from days d
               cross join (
                   select percentile_disc(0.5) within group (order by y.noche) as noche from days y where y.noche_n >= 5
               ) x
               where d.noche_n >= 5
           ) as noche_escala,
           (select percentile_disc(0.5) within group (order by d.media) from days d where d.n >= 20) as total,
           (select percentile_disc(0.5) within group (order by d.cv) from days d where d.n >= 20) as variacion
) b
where not exists (select from consumo.bases b where b.propietario_id = w.cliente and b.desde = w.desde);

-- What lies behind all that a baseline is made from is not asked for again soon.
delete from consumo.bases b
using unnest(p_cliente, p_desde) as w (cliente, desde)
where b.propietario_id = w.cliente and b.desde < w.desde - 63;
end
$$;
comment on function consumo.formar_bases(text[], date[]) is 'Makes the baselines of clients for the weeks that begin on these days, where they are missing';
