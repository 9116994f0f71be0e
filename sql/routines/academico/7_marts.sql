-- Marts of academico, with the names and columns of the reference system. Pass mark: 6.

create or replace view marts.kpi_grupo as
select g.id as id_grupo, g.periodo, m.nombre as materia, d.nombre as profesor,
       coalesce(i.alumnos, 0) as alumnos_inscritos, c.promedio
from academico.grupos g
join academico.materias m on m.id = g.id_materia
join academico.maestros d on d.id = g.id_maestro
-- Each side is aggregated by itself: joined first, they would multiply.
left join (
    select id_grupo, count(*) as alumnos from academico.inscripciones group by id_grupo
) i on i.id_grupo = g.id
left join (
    select id_grupo, round(avg(calificacion), 2) as promedio from academico.calificaciones group by id_grupo
) c on c.id_grupo = g.id;
comment on view marts.kpi_grupo is 'Each group: students enrolled and average mark';
comment on column marts.kpi_grupo.id_grupo is 'Group';
comment on column marts.kpi_grupo.periodo is 'Half year';
comment on column marts.kpi_grupo.materia is 'Subject';
comment on column marts.kpi_grupo.profesor is 'Teacher';
comment on column marts.kpi_grupo.alumnos_inscritos is 'Students enrolled';
comment on column marts.kpi_grupo.promedio is 'Average mark, two decimals; null without marks';

create or replace view marts.materia_periodo_stats as
select g.periodo, m.id as id_materia, m.nombre as materia, round(avg(c.calificacion), 2) as promedio,
       round(count(*) filter (where c.calificacion >= 6)::numeric / nullif(count(c.calificacion), 0), 4) as tasa_aprob
from academico.grupos g
join academico.materias m on m.id = g.id_materia
left join academico.calificaciones c on c.id_grupo = g.id
group by g.periodo, m.id, m.nombre;
comment on view marts.materia_periodo_stats is 'Each subject in each period: average mark and pass rate';
comment on column marts.materia_periodo_stats.periodo is 'Half year';
comment on column marts.materia_periodo_stats.id_materia is 'Subject';
comment on column marts.materia_periodo_stats.materia is 'Name';
comment on column marts.materia_periodo_stats.promedio is 'Average mark, two decimals; null without marks';
comment on column marts.materia_periodo_stats.tasa_aprob is 'Share of marks of 6 or more, 0 to 1, four decimals; null without marks';

create or replace function marts.top_materias(periodo_in text, n integer default 10)
returns setof marts.materia_periodo_stats
language sql stable set search_path = pg_catalog, pg_temp as $$
    select s.* from marts.materia_periodo_stats s
    where s.periodo = periodo_in
    order by s.promedio desc nulls last, s.tasa_aprob desc nulls last, s.id_materia
    limit n
$$;
comment on function marts.top_materias(text, integer) is 'The best subjects of a period by average mark, then by pass rate';

create or replace view marts.ranking_maestros as
select d.id as id_maestro, d.nombre as maestro, round(avg(c.calificacion), 2) as promedio, count(*) as evaluaciones
from academico.maestros d
join academico.grupos g on g.id_maestro = d.id
join academico.calificaciones c on c.id_grupo = g.id
group by d.id, d.nombre
having count(*) >= 30
order by promedio desc, evaluaciones desc, d.id;
comment on view marts.ranking_maestros is 'Teachers with at least 30 marks given, best average first';
comment on column marts.ranking_maestros.id_maestro is 'Teacher';
comment on column marts.ranking_maestros.maestro is 'Name';
comment on column marts.ranking_maestros.promedio is 'Average of the marks in the teacher''s groups, two decimals';
comment on column marts.ranking_maestros.evaluaciones is 'Number of marks';

create or replace view marts.alumnos_en_riesgo as
select g.periodo, a.id as id_alumno, a.nombre, round(avg(c.calificacion), 2) as promedio
from academico.calificaciones c
join academico.grupos g on g.id = c.id_grupo
join academico.alumnos a on a.id = c.id_alumno
group by g.periodo, a.id, a.nombre
having avg(c.calificacion) < 6
order by g.periodo, promedio, a.id;
comment on view marts.alumnos_en_riesgo is 'Students whose average in a period is below the pass mark';
comment on column marts.alumnos_en_riesgo.periodo is 'Half year';
comment on column marts.alumnos_en_riesgo.id_alumno is 'Student';
comment on column marts.alumnos_en_riesgo.nombre is 'Name';
comment on column marts.alumnos_en_riesgo.promedio is 'Average mark, two decimals; below 6 before rounding';
