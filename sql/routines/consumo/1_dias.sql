-- Readings into the days of clients, consumo.dias.

create or replace function consumo.upsert_days(
    p_cliente text[], p_instante timestamptz[], p_wh integer[], p_marca smallint[],
    out o_cliente text[], out o_desde timestamptz[], out o_hasta timestamptz[], out o_primera date[],
    out o_de text[], out o_fechas date[]
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
-- The client's clock decides about the day; the place in the day is counted in hours that pass, so that
-- the two hours 2 of the day on which clocks go back have a place each.
with given as materialized (
    select g.cliente, g.instante, g.wh, g.marca, coalesce(c.zona, 'Europe/Madrid') as zona
    from unnest(p_cliente, p_instante, p_wh, p_marca) as g (cliente, instante, wh, marca)
    left join consumo.clientes c on c.propietario_id = g.cliente
),
-- A batch has few different hours: the clock is asked once for each of them.
clocks as materialized (
    select c.zona, c.instante, l.fecha, b.inicio,
           (date_part('epoch', c.instante - b.inicio) / 3600)::int + 1 as k,
           (date_part('epoch', ((l.fecha + 1)::timestamp at time zone c.zona) - b.inicio) / 3600)::smallint as horas
    from (select distinct zona, instante from given) c
    cross join lateral (select (c.instante at time zone c.zona)::date as fecha offset 0) l
    cross join lateral (select l.fecha::timestamp at time zone c.zona as inicio offset 0) b
),
placed as (
    select g.cliente, g.instante, g.wh, g.marca, g.zona, c.fecha, c.inicio, c.horas, c.k
    from given g
    join clocks c on c.zona = g.zona and c.instante = g.instante
),
grouped as (
    select cliente, fecha, inicio, horas, zona, min(instante) as desde, max(instante) as hasta,
           array[max(wh) filter (where k = 1), max(wh) filter (where k = 2), max(wh) filter (where k = 3), max(wh) filter (where k = 4), max(wh) filter (where k
           = 5), max(wh) filter (where k = 6), max(wh) filter (where k = 7), max(wh) filter (where k = 8), max(wh) filter (where k = 9), max(wh) filter (where k
           = 10), max(wh) filter (where k = 11), max(wh) filter (where k = 12), max(wh) filter (where k = 13), max(wh) filter (where k = 14), max(wh) filter
           (where k = 15), max(wh) filter (where k = 16), max(wh) filter (where k = 17), max(wh) filter (where k = 18), max(wh) filter (where k = 19), max(wh)
           filter (where k = 20), max(wh) filter (where k = 21), max(wh) filter (where k = 22), max(wh) filter (where k = 23), max(wh) filter (where k = 24),
           max(wh) filter (where k = 25)] as wh,
           array[max(marca) filter (where k = 1), max(marca) filter (where k = 2), max(marca) filter (where k = 3), max(marca) filter (where k = 4), max(marca)
           filter (where k = 5), max(marca) filter (where k = 6), max(marca) filter (where k = 7), max(marca) filter (where k = 8), max(marca) filter (where k =
           9), max(marca) filter (where k = 10), max(marca) filter (where k = 11), max(marca) filter (where k = 12), max(marca) filter (where k = 13), max(marca)
           filter (where k = 14), max(marca) filter (where k = 15), max(marca) filter (where k = 16), max(marca) filter (where k = 17), max(marca) filter (where
           k = 18), max(marca) filter (where k = 19), max(marca) filter (where k = 20), max(marca) filter (where k = 21), max(marca) filter (where k = 22),
           max(marca) filter (where k = 23), max(marca) filter (where k = 24), max(marca) filter (where k = 25)] as marcas
    from placed
    group by cliente, fecha, inicio, horas, zona
),
-- One promotion at a time: nobody else writes the days after this look.
merged as (
    select g.cliente, g.fecha, g.inicio, g.zona, g.desde, g.hasta, d.ctid as lugar,
           g.horas,
           array[coalesce(g.wh[1], d.wh[1]), coalesce(g.wh[2], d.wh[2]), coalesce(g.wh[3], d.wh[3]), coalesce(g.wh[4], d.wh[4]), coalesce(g.wh[5], d.wh[5]),
           coalesce(g.wh[6], d.wh[6]), coalesce(g.wh[7], d.wh[7]), coalesce(g.wh[8], d.wh[8]), coalesce(g.wh[9], d.wh[9]), coalesce(g.wh[10], d.wh[10]),
           coalesce(g.wh[11], d.wh[11]), coalesce(g.wh[12], d.wh[12]), coalesce(g.wh[13], d.wh[13]), coalesce(g.wh[14], d.wh[14]), coalesce(g.wh[15], d.wh[15]),
           coalesce(g.wh[16], d.wh[16]), coalesce(g.wh[17], d.wh[17]), coalesce(g.wh[18], d.wh[18]), coalesce(g.wh[19], d.wh[19]), coalesce(g.wh[20], d.wh[20]),
           coalesce(g.wh[21], d.wh[21]), coalesce(g.wh[22], d.wh[22]), coalesce(g.wh[23], d.wh[23]), coalesce(g.wh[24], d.wh[24]), coalesce(g.wh[25], d.wh[25])] as wh,
           array[coalesce(g.marcas[1], d.marcas[1]), coalesce(g.marcas[2], d.marcas[2]), coalesce(g.marcas[3], d.marcas[3]), coalesce(g.marcas[4], d.marcas[4]),
           coalesce(g.marcas[5], d.marcas[5]), coalesce(g.marcas[6], d.marcas[6]), coalesce(g.marcas[7], d.marcas[7]), coalesce(g.marcas[8], d.marcas[8]),
           coalesce(g.marcas[9], d.marcas[9]), coalesce(g.marcas[10], d.marcas[10]), coalesce(g.marcas[11], d.marcas[11]), coalesce(g.marcas[12], d.marcas[12]),
           coalesce(g.marcas[13], d.marcas[13]), coalesce(g.marcas[14], d.marcas[14]), coalesce(g.marcas[15], d.marcas[15]), coalesce(g.marcas[16],
           d.marcas[16]), coalesce(g.marcas[17], d.marcas[17]), coalesce(g.marcas[18], d.marcas[18]), coalesce(g.marcas[19], d.marcas[19]),
           coalesce(g.marcas[20], d.marcas[20]), coalesce(g.marcas[21], d.marcas[21]), coalesce(g.marcas[22], d.marcas[22]), coalesce(g.marcas[23],
           d.marcas[23]), coalesce(g.marcas[24], d.marcas[24]), coalesce(g.marcas[25], d.marcas[25])] as marcas
    from grouped g
    left join consumo.dias d on d.propietario_id = g.cliente and d.fecha = g.fecha
),
measured as materialized (
    select m.*, s.*
    from merged m
    cross join lateral (
        select count(v) as n, sum(v) as suma, sum(v::float8 * v) as cuadrados, min(v) as minimo, max(v) as maximo,
               count(v) filter (where h < 6 or h = 23) as noche_n,
               coalesce(sum(v) filter (where h < 6 or h = 23), 0) as noche_suma,
               count(v) filter (where h between 18 and 22) as punta_n,
               coalesce(sum(v) filter (where h between 18 and 22), 0) as punta_suma,
               count(*) filter (where m & 7 > 0) as esperadas, count(*) filter (where m & 8 > 0) as sospechosas,
               count(*) filter (where m >> 4 <> h) as desacuerdos
        from (
            select u.v, u.m, case when m.horas = 24 then u.k::int - 1
                else extract(hour from (m.inicio + (u.k - 1) * interval '1 hour') at time zone m.zona)::int end as h
            from unnest(m.wh, m.marcas) with ordinality u (v, m, k)
        ) hours
    ) s
),
written as (
    insert into consumo.dias (propietario_id, fecha, inicio, horas, wh, marcas, n, suma, cuadrados, minimo, maximo,
        noche_n, noche_suma, punta_n, punta_suma, esperadas, sospechosas, desacuerdos)
    select m.cliente, m.fecha, m.inicio, m.horas, m.wh, m.marcas, m.n, m.suma, m.cuadrados, m.minimo, m.maximo,
           m.noche_n, m.noche_suma, m.punta_n, m.punta_suma, m.esperadas, m.sospechosas, m.desacuerdos
    from measured m
    where m.lugar is null
),
rewritten as (
    update consumo.dias d
    set wh = m.wh, marcas = m.marcas, n = m.n, suma = m.suma, cuadrados = m.cuadrados, minimo = m.minimo, maximo = m.maximo,
        noche_n = m.noche_n, noche_suma = m.noche_suma, punta_n = m.punta_n, punta_suma = m.punta_suma,
        esperadas = m.esperadas, sospechosas = m.sospechosas, desacuerdos = m.desacuerdos
    from measured m
    where d.ctid = m.lugar
),
spans as (
    select cliente, min(desde) as desde, max(hasta) as hasta, min(fecha) as primera
    from measured
    group by cliente
)
select array_agg(s.cliente), array_agg(s.desde), array_agg(s.hasta), array_agg(s.primera),
       (select array_agg(m.cliente) from measured m), (select array_agg(m.fecha) from measured m)
into o_cliente, o_desde, o_hasta, o_primera, o_de, o_fechas
from spans s;
end
$$;
comment on function consumo.upsert_days(text[], timestamptz[], integer[], smallint[]) is 'Puts readings in their days; returns each client with its first and last changed hour and the day of the first, and all changed days (o_de, o_fechas)';
