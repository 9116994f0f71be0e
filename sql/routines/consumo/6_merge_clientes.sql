-- Merges staged clients into consumo.clientes: the newest version of each key wins.

create or replace function consumo.merge_clientes(p_batches bigint[]) returns setof core.merge_outcome
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_outcomes core.merge_outcome[];
    v_moved text[];
    v_first date;
    v_last date;
begin
-- The days of the rows: the other partitions of staging are not even opened.
select coalesce(min(coalesce(b.first_day, '-infinity')), '-infinity'), coalesce(max(coalesce(b.last_day, 'infinity')), 'infinity')
into v_first, v_last
from core.batches b where b.batch_id = any (p_batches);
with ranked as (
    select s.message_id, s.batch_id, s.event_at, s.propietario_id, s.nombre, s.tarifa, s.distrito,
           coalesce(s.zona, 'Europe/Madrid') as zona,
           row_number() over (partition by s.propietario_id order by s.event_at desc, s.message_id desc) as age
    from stg.consumo_cliente s
    where s.batch_id = any (p_batches) and s.day between v_first and v_last
),
verdict as materialized (
    select n.*, coalesce(c.zona, 'Europe/Madrid') as zona_anterior,
           case when n.age > 1 then 'stale'
                when c.propietario_id is null then 'inserted'
                when (n.event_at, n.message_id) <= (c.event_at, c.message_id) then 'stale'
                when (n.nombre, n.tarifa, n.distrito, n.zona) is not distinct from (c.nombre, c.tarifa, c.distrito, c.zona) then 'unchanged'
                else 'updated' end as outcome
    from ranked n
    left join consumo.clientes c on c.propietario_id = n.propietario_id
),
written as (
    insert into consumo.clientes (propietario_id, nombre, tarifa, distrito, zona, event_at, message_id, batch_id)
    select n.propietario_id, n.nombre, n.tarifa, n.distrito, n.zona, n.event_at, n.message_id, n.batch_id
    from verdict n
    where n.outcome = 'inserted'
),
-- An unchanged row still brings its version: an older one that comes later must stay out.
rewritten as (
    update consumo.clientes c
    set nombre = n.nombre, tarifa = n.tarifa, distrito = n.distrito, zona = n.zona,
        event_at = n.event_at, message_id = n.message_id, batch_id = n.batch_id
    from verdict n
    where n.outcome in ('updated', 'unchanged') and c.propietario_id = n.propietario_id
),
counted as (
    select row(n.batch_id, count(*)::int, (count(*) filter (where n.outcome = 'inserted'))::int,
        (count(*) filter (where n.outcome = 'updated'))::int, (count(*) filter (where n.outcome = 'unchanged'))::int,
        (count(*) filter (where n.outcome = 'stale'))::int, 0)::core.merge_outcome as outcome
    from verdict n
    group by n.batch_id
)
select (select array_agg(c.outcome) from counted c),
       (select array_agg(n.propietario_id) from verdict n
        where n.outcome in ('inserted', 'updated') and n.zona <> n.zona_anterior)
into v_outcomes, v_moved;
if v_moved is not null then
    perform consumo.rezone_client(v_moved);
end if;
return query select o.* from unnest(v_outcomes) o;
end
$$;
comment on function consumo.merge_clientes(bigint[]) is 'Merges staged clients of the given batches, newer wins; days and verdicts follow a change of the clock';

create or replace function consumo.rezone_client(p_cliente text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_cliente text[];
    v_instante timestamptz[];
    v_wh integer[];
    v_marca smallint[];
begin
-- The days hold every hour that there is, the archived ones too.
select array_agg(d.propietario_id), array_agg(d.inicio + (u.k - 1) * interval '1 hour'), array_agg(u.v), array_agg(u.m)
into v_cliente, v_instante, v_wh, v_marca
from consumo.dias d
cross join lateral unnest(d.wh, d.marcas) with ordinality u (v, m, k)
where d.propietario_id = any (p_cliente) and u.v is not null;
if v_cliente is null then
    return;
end if;
delete from consumo.dias d where d.propietario_id = any (p_cliente);
delete from consumo.bases b where b.propietario_id = any (p_cliente);
-- Anomalies of days that do not begin any more when they did.
delete from consumo.anomalias a where a.propietario_id = any (p_cliente) and a.ambito = 'dia';
perform consumo.evaluate(v_cliente, v_instante, v_wh, v_marca);
end
$$;
comment on function consumo.rezone_client(text[]) is 'Cuts the days of clients anew after a change of their clock, and judges them again';
