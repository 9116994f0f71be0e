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
with wanted as (
    select w.cliente, w.desde
    from unnest(p_cliente, p_desde) as w (cliente, desde)
    where not exists (select from consumo.bases b where b.propietario_id = w.cliente and b.desde = w.desde)
),
-- The two days of the year on which clocks are changed tell nothing of the hours of a day.
days as materialized (
    select w.cliente, w.desde, d.fecha, d.wh, d.n, d.suma, d.cuadrados, d.noche_n, d.noche_suma,
           count(*) over (partition by w.cliente, w.desde) as dias
    from wanted w
    join consumo.dias d on d.propietario_id = w.cliente and d.fecha between w.desde - 42 and w.desde - 1
    where d.horas = 24
),
hours as materialized (
    select d.cliente, d.desde, u.k - 1 as h, u.v,
           case when d.dias >= 21 then (extract(isodow from d.fecha)::int - 1) * 24 + u.k - 1 else u.k - 1 end as hueco
    from days d
    cross join lateral unnest(d.wh) with ordinality u (v, k)
    where d.dias >= 7 and u.v is not null
),
medians as materialized (
    select cliente, desde, hueco, percentile_disc(0.5) within group (order by v) as mediana
    from hours
    group by cliente, desde, hueco
),
spreads as (
    select h.cliente, h.desde, h.h, percentile_disc(0.5) within group (order by abs(h.v - m.mediana)) as mad
    from hours h
    join medians m on m.cliente = h.cliente and m.desde = h.desde and m.hueco = h.hueco
    group by h.cliente, h.desde, h.h
),
high as (
    select cliente, desde, percentile_disc(0.98) within group (order by v) as alto
    from hours
    group by cliente, desde
),
nights as (
    select d.cliente, d.desde, percentile_disc(0.5) within group (order by d.noche_suma / d.noche_n) as noche
    from days d
    where d.noche_n >= 5
    group by d.cliente, d.desde
),
night_spreads as (
    select d.cliente, d.desde,
           percentile_disc(0.5) within group (order by abs(d.noche_suma / d.noche_n - n.noche)) as mad
    from days d
    join nights n on n.cliente = d.cliente and n.desde = d.desde
    where d.noche_n >= 5
    group by d.cliente, d.desde
),
totals as (
    select d.cliente, d.desde, percentile_disc(0.5) within group (order by d.suma / d.n) as total,
           percentile_disc(0.5) within group (order by
               sqrt(greatest(d.cuadrados::float8 / d.n - (d.suma::float8 / d.n) ^ 2, 0)) / greatest(d.suma::float8 / d.n, 1)) as variacion
    from days d
    where d.n >= 20
    group by d.cliente, d.desde
)
insert into consumo.bases (propietario_id, desde, dias, mediana, escala, alto, noche, noche_escala, total, variacion)
select w.cliente, w.desde, coalesce((select max(d.dias) from days d where d.cliente = w.cliente and d.desde = w.desde), 0),
       coalesce(m.mediana, '{}'), coalesce(e.escala, '{}'), coalesce(a.alto, 0),
       n.noche, round(1.4826 * ns.mad), t.total, t.variacion
from wanted w
-- The place of an hour without a reading stays empty.
left join (
    select g.cliente, g.desde, array_agg(x.mediana order by s.hueco) as mediana
    from (select cliente, desde, max(hueco) as last from medians group by cliente, desde) g
    cross join lateral generate_series(0, case when g.last >= 24 then 167 else 23 end) as s (hueco)
    left join medians x on x.cliente = g.cliente and x.desde = g.desde and x.hueco = s.hueco
    group by g.cliente, g.desde
) m on m.cliente = w.cliente and m.desde = w.desde
left join (
    select g.cliente, g.desde, array_agg(round(1.4826 * x.mad)::int order by s.h) as escala
    from (select distinct cliente, desde from spreads) g
    cross join generate_series(0, 23) as s (h)
    left join spreads x on x.cliente = g.cliente and x.desde = g.desde and x.h = s.h
    group by g.cliente, g.desde
) e on e.cliente = w.cliente and e.desde = w.desde
left join high a on a.cliente = w.cliente and a.desde = w.desde
left join nights n on n.cliente = w.cliente and n.desde = w.desde
left join night_spreads ns on ns.cliente = w.cliente and ns.desde = w.desde
left join totals t on t.cliente = w.cliente and t.desde = w.desde;
end
$$;
comment on function consumo.formar_bases(text[], date[]) is 'Makes the baselines of clients for the weeks that begin on these days, where they are missing';
