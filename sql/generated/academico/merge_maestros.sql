-- Merges staged messages academico.maestro into academico.maestros: the newest version of each key wins.
-- Made from the catalog: change the declaration of the message, or how merges are made, not this text.

create or replace function academico.merge_maestros(p_batches bigint[]) returns setof core.merge_outcome
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_first date;
    v_last date;
begin
-- The days of the rows: the other partitions of staging are not even opened. Of `between` PostgreSQL expects
-- next to no rows where it has no statistics, and would look up the parents row by row.
select coalesce(min(coalesce(b.first_day, '-infinity')), '-infinity'), coalesce(max(coalesce(b.last_day, 'infinity')), 'infinity')
into v_first, v_last
from core.batches b where b.batch_id = any (p_batches);
-- plpgsql keeps the plan for the session; planning anew would cost more than a small merge.
return query
-- The staged versions, the newest of each key first.
with candidate as (
    select s.message_id, s.batch_id, s.event_at, s.id_maestro, s.nombre, s.especialidad,
           row_number() over (partition by s.id_maestro order by s.event_at desc, s.message_id desc) as age
    from stg.maestros_upsert s
    where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)
),
-- What becomes of each row, seen against the domain table.
verdict as materialized (
    select n.*,
           case when n.age > 1 then 'stale'
                when c.id is null then 'inserted'
                when (n.event_at, n.message_id) <= (c.event_at, c.message_id) then 'stale'
                when (n.nombre, n.especialidad)
                    is not distinct from (c.nombre, c.especialidad) then 'unchanged'
                else 'updated' end as outcome
    from candidate n
    left join academico.maestros c on c.id = n.id_maestro
),
written as (
    insert into academico.maestros (id, nombre, especialidad, event_at, message_id, batch_id)
    select n.id_maestro, n.nombre, n.especialidad, n.event_at, n.message_id, n.batch_id
    from verdict n
    where n.outcome = 'inserted'
),
-- An unchanged row still brings its version: an older one that comes later must stay out.
changed as (
    update academico.maestros c
    set nombre = n.nombre, especialidad = n.especialidad,
        event_at = n.event_at, message_id = n.message_id, batch_id = n.batch_id
    from verdict n
    where n.outcome in ('updated', 'unchanged') and c.id = n.id_maestro
),
-- Rows that waited for one of these may go on.
released as (
    update core.pending p set ready = true
    from verdict n
    where n.outcome = 'inserted' and p.parent = 'academico.maestro' and p.parent_key = n.id_maestro::text and not p.ready
)
select n.batch_id,
       count(*)::int,
       (count(*) filter (where n.outcome = 'inserted'))::int,
       (count(*) filter (where n.outcome = 'updated'))::int,
       (count(*) filter (where n.outcome = 'unchanged'))::int,
       (count(*) filter (where n.outcome = 'stale'))::int,
       0,
       0
from verdict n
group by n.batch_id;
end
$$;
comment on function academico.merge_maestros(bigint[]) is 'Merges staged academico.maestro, newer wins; one row of counts per batch';
