-- What follows when a mark that was there gets another value: a line of the audit.

create or replace function academico.after_calificacion(p_id_alumno integer[], p_id_grupo integer[], p_before academico.calificaciones[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
insert into academico.calificaciones_audit (id_alumno, id_grupo, calificacion_anterior, calificacion_nueva,
    message_id_anterior, message_id, event_at)
select b.id_alumno, b.id_grupo, b.calificacion, n.calificacion, b.message_id, n.message_id, n.event_at
from unnest(p_before) b
cross join lateral (
    select c.* from academico.calificaciones c where c.id_alumno = b.id_alumno and c.id_grupo = b.id_grupo offset 0
) n
where n.calificacion <> b.calificacion;
end
$$;
comment on function academico.after_calificacion(integer[], integer[], academico.calificaciones[]) is 'Hook of academico.merge_calificaciones: notes in the audit which marks have changed. The earlier rows hold the keys too';
