-- Merges staged messages academico.alumno into academico.alumnos: the newest version of each key wins.
-- Made from the catalog: change the declaration of the message, or how merges are made, not this text.

create or replace function academico.merge_alumnos(p_batches bigint[]) returns setof core.merge_outcome
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
    select s.message_id, s.batch_id, s.event_at, s.id_alumno, s.nombre, s.edad, s.genero,
           row_number() over (partition by s.id_alumno order by s.event_at desc, s.message_id desc) as age
    from stg.alumnos_upsert s
    where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)
),
-- What becomes of each row, seen against the domain table.
verdict as materialized (
    select n.*,
           case when n.age > 1 then 'stale'
                when c.id is null then 'inserted'
                when (n.event_at, n.message_id) <= (c.event_at, c.message_id) then 'stale'
                when (n.nombre, n.edad, n.genero)
                    is not distinct from (c.nombre, c.edad, c.genero) then 'unchanged'
                else 'updated' end as outcome
    from candidate n
    left join academico.alumnos c on c.id = n.id_alumno
),
written as (
    insert into academico.alumnos (id, nombre, edad, genero, event_at, message_id, batch_id)
    select n.id_alumno, n.nombre, n.edad, n.genero, n.event_at, n.message_id, n.batch_id
    from verdict n
    where n.outcome = 'inserted'
),
-- An unchanged row still brings its version: an older one that comes later must stay out.
changed as (
    update academico.alumnos c
    set nombre = n.nombre, edad = n.edad, genero = n.genero,
        event_at = n.event_at, message_id = n.message_id, batch_id = n.batch_id
    from verdict n
    where n.outcome in ('updated', 'unchanged') and c.id = n.id_alumno
),
-- Rows that waited for one of these may go on.
released as (
    update core.pending p set ready = true
    from verdict n
    where n.outcome = 'inserted' and p.parent = 'academico.alumno' and p.parent_key = n.id_alumno::text and not p.ready
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
comment on function academico.merge_alumnos(bigint[]) is 'Merges staged academico.alumno, newer wins; one row of counts per batch';
