-- Effect of a changed mark: a line of the audit.

create or replace function academico.after_calificacion(p_before academico.calificaciones[], p_after academico.calificaciones[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
insert into academico.calificaciones_audit (id_alumno, id_grupo, calificacion_anterior, calificacion_nueva,
    message_id_anterior, message_id, event_at)
select n.id_alumno, n.id_grupo, b.calificacion, n.calificacion, b.message_id, n.message_id, n.event_at
from unnest(p_after) n
join unnest(p_before) b on b.id_alumno = n.id_alumno and b.id_grupo = n.id_grupo
where n.calificacion <> b.calificacion;
end
$$;
comment on function academico.after_calificacion(academico.calificaciones[], academico.calificaciones[]) is 'Hook of academico.merge_calificaciones: notes in the audit which marks have changed';
