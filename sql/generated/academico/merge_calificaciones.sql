-- Merges staged messages academico.calificacion into academico.calificaciones: the newest version of each key wins.
-- Made from the catalog: change the declaration of the message, or how merges are made, not this text.

create or replace function academico.merge_calificaciones(p_batches bigint[]) returns setof core.merge_outcome
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_first date;
    v_last date;
    v_waited stg.calificaciones_event[];
    v_outcomes core.merge_outcome[];
    v_before academico.calificaciones[];
    v_after academico.calificaciones[];
begin
-- The days of the rows: the other partitions of staging are not even opened. Of `between` PostgreSQL expects
-- next to no rows where it has no statistics, and would look up the parents row by row.
select coalesce(min(coalesce(b.first_day, '-infinity')), '-infinity'), coalesce(max(coalesce(b.last_day, 'infinity')), 'infinity')
into v_first, v_last
from core.batches b where b.batch_id = any (p_batches);
-- Rows that waited and may go on now, a bounded number at a time. Mostly there are none, and then no partition
-- is opened to find them.
if exists (select from core.pending p where p.entity = 'academico.calificacion' and p.ready) then
    v_waited := array(
        select s from core.pending p
        join stg.calificaciones_event s on s.message_id = p.message_id and s.day = p.day
        where p.entity = 'academico.calificacion' and p.ready limit 50000);
end if;
-- The staged rows, and those that waited for a parent that has come.
with candidate as (
    select s.message_id, s.day, s.batch_id, s.event_at, s.id_alumno, s.id_grupo, s.calificacion,
           coalesce(s.fecha_registro, (s.event_at at time zone 'UTC')::date) as fecha_registro, false as waited
    from stg.calificaciones_event s
    where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)
    union all
    select s.message_id, s.day, s.batch_id, s.event_at, s.id_alumno, s.id_grupo, s.calificacion,
           coalesce(s.fecha_registro, (s.event_at at time zone 'UTC')::date) as fecha_registro, true
    from unnest(v_waited) s
),
-- Which parent is missing, if any; then the newest version of each key among the complete rows.
linked as (
    select n.*,
           case when p1.id is null then 'academico.alumno'
                when p2.id is null then 'academico.grupo' end as missing,
           case when p1.id is null then n.id_alumno::text
                when p2.id is null then n.id_grupo::text end as missing_key
    from candidate n
    left join academico.alumnos p1 on p1.id = n.id_alumno
    left join academico.grupos p2 on p2.id = n.id_grupo
),
ranked as (
    select l.*,
           row_number() over (partition by l.id_alumno, l.id_grupo, l.missing is null order by l.event_at desc, l.message_id desc) as age
    from linked l
),
-- What becomes of each row, seen against the domain table.
verdict as materialized (
    select n.*, c.before,
           case when n.missing is not null then 'pending'
                when n.age > 1 then 'stale'
                when c.id_alumno is null then 'inserted'
                when (n.event_at, n.message_id) <= (c.event_at, c.message_id) then 'stale'
                when (n.calificacion, n.fecha_registro)
                    is not distinct from (c.calificacion, c.fecha_registro) then 'unchanged'
                else 'updated' end as outcome
    from ranked n
    -- Looked up row by row: the planner takes one look into many partitions for many, and would rather
    -- read the whole table, which grows.
    left join lateral (
        select t.*, t as before from academico.calificaciones t where t.id_alumno = n.id_alumno and t.id_grupo = n.id_grupo offset 0
    ) c on true
),
written as (
    insert into academico.calificaciones (id_alumno, id_grupo, calificacion, fecha_registro, event_at, message_id,
        batch_id)
    select n.id_alumno, n.id_grupo, n.calificacion, n.fecha_registro, n.event_at, n.message_id, n.batch_id
    from verdict n
    where n.outcome = 'inserted'
),
-- An unchanged row still brings its version: an older one that comes later must stay out.
changed as (
    update academico.calificaciones c
    set calificacion = n.calificacion, fecha_registro = n.fecha_registro,
        event_at = n.event_at, message_id = n.message_id, batch_id = n.batch_id
    from verdict n
    where n.outcome in ('updated', 'unchanged') and c.id_alumno = n.id_alumno and c.id_grupo = n.id_grupo
    returning n.outcome, n.before, c as after
),
deferred as (
    insert into core.pending as p (entity, message_id, day, batch_id, parent, parent_key)
    select 'academico.calificacion', n.message_id, n.day, n.batch_id, n.missing, n.missing_key
    from verdict n
    where n.outcome = 'pending'
    on conflict (entity, message_id, day) do update
    set parent = excluded.parent, parent_key = excluded.parent_key, ready = false
),
settled as (
    delete from core.pending p
    using verdict n
    where v_waited is not null and n.waited and n.outcome <> 'pending'
      and p.entity = 'academico.calificacion' and p.message_id = n.message_id and p.day = n.day
),
counted as (
    select row(n.batch_id,
        (count(*) filter (where not n.waited))::int,
        (count(*) filter (where n.outcome = 'inserted'))::int,
        (count(*) filter (where n.outcome = 'updated'))::int,
        (count(*) filter (where n.outcome = 'unchanged'))::int,
        (count(*) filter (where n.outcome = 'stale'))::int,
        (count(*) filter (where n.outcome = 'pending' and not n.waited)
            - count(*) filter (where n.waited and n.outcome <> 'pending'))::int,
        0)::core.merge_outcome as outcome
    from verdict n
    group by n.batch_id
)
select (select array_agg(c.outcome) from counted c), array_agg(h.before), array_agg(h.after)
into v_outcomes, v_before, v_after
from (
    select c.before, c.after from changed c where c.outcome = 'updated'
) h;
if v_after is not null then
    perform academico.after_calificacion(v_before, v_after);
end if;
return query select o.* from unnest(v_outcomes) o;
end
$$;
comment on function academico.merge_calificaciones(bigint[]) is 'Merges staged academico.calificacion, newer wins; one row of counts per batch';
