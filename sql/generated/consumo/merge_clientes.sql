-- Merges staged messages consumo.cliente into consumo.clientes: the newest version of each key wins.
-- Made from the catalog: change the declaration of the message, or how merges are made, not this text.

create or replace function consumo.merge_clientes(p_batches bigint[]) returns setof core.merge_outcome
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_first date;
    v_last date;
    v_outcomes core.merge_outcome[];
    v_before consumo.clientes[];
    v_after consumo.clientes[];
begin
-- The days of the rows: the other partitions of staging are not even opened. Of `between` PostgreSQL expects
-- next to no rows where it has no statistics, and would look up the parents row by row.
select coalesce(min(coalesce(b.first_day, '-infinity')), '-infinity'), coalesce(max(coalesce(b.last_day, 'infinity')), 'infinity')
into v_first, v_last
from core.batches b where b.batch_id = any (p_batches);
-- The staged versions, the newest of each key first.
with candidate as (
    select s.message_id, s.batch_id, s.event_at, s.propietario_id, s.nombre, s.tarifa, s.distrito,
           coalesce(s.zona, 'Europe/Madrid') as zona,
           row_number() over (partition by s.propietario_id order by s.event_at desc, s.message_id desc) as age
    from stg.consumo_cliente s
    where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)
),
-- What becomes of each row, seen against the domain table.
verdict as materialized (
    select n.*, c as before,
           case when n.age > 1 then 'stale'
                when c.propietario_id is null then 'inserted'
                when (n.event_at, n.message_id) <= (c.event_at, c.message_id) then 'stale'
                when (n.nombre, n.tarifa, n.distrito, n.zona)
                    is not distinct from (c.nombre, c.tarifa, c.distrito, c.zona) then 'unchanged'
                else 'updated' end as outcome
    from candidate n
    left join consumo.clientes c on c.propietario_id = n.propietario_id
),
written as (
    insert into consumo.clientes as t (propietario_id, nombre, tarifa, distrito, zona, event_at, message_id, batch_id)
    select n.propietario_id, n.nombre, n.tarifa, n.distrito, n.zona, n.event_at, n.message_id, n.batch_id
    from verdict n
    where n.outcome = 'inserted'
    returning t as after
),
-- An unchanged row still brings its version: an older one that comes later must stay out.
changed as (
    update consumo.clientes c
    set nombre = n.nombre, tarifa = n.tarifa, distrito = n.distrito, zona = n.zona,
        event_at = n.event_at, message_id = n.message_id, batch_id = n.batch_id
    from verdict n
    where n.outcome in ('updated', 'unchanged') and c.propietario_id = n.propietario_id
    returning n.outcome, n.before, c as after
),
counted as (
    select row(n.batch_id,
        count(*)::int,
        (count(*) filter (where n.outcome = 'inserted'))::int,
        (count(*) filter (where n.outcome = 'updated'))::int,
        (count(*) filter (where n.outcome = 'unchanged'))::int,
        (count(*) filter (where n.outcome = 'stale'))::int,
        0,
        0)::core.merge_outcome as outcome
    from verdict n
    group by n.batch_id
)
select (select array_agg(c.outcome) from counted c), array_agg(h.before), array_agg(h.after)
into v_outcomes, v_before, v_after
from (
    select null::consumo.clientes as before, w.after from written w
    union all
    select c.before, c.after from changed c where c.outcome = 'updated'
) h;
if v_after is not null then
    perform consumo.after_cliente(v_before, v_after);
end if;
return query select o.* from unnest(v_outcomes) o;
end
$$;
comment on function consumo.merge_clientes(bigint[]) is 'Merges staged consumo.cliente, newer wins; one row of counts per batch';
