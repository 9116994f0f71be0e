-- Marts of academico, with the names and columns of the reference system. Pass mark: 6.

create or replace view marts.kpi_grupo as
select g.id as id_grupo, g.periodo, m.nombre as materia, d.nombre as profesor,
       coalesce(i.alumnos, 0) as alumnos_inscritos, c.promedio, coalesce(c.n, 0) as n
from academico.grupos g
join academico.materias m on m.id = g.id_materia
join academico.maestros d on d.id = g.id_maestro
-- Each side is aggregated by itself: joined first, they would multiply.
left join (
    select id_grupo, count(*) as alumnos from academico.inscripciones group by id_grupo
) i on i.id_grupo = g.id
left join (
    select id_grupo, round(avg(calificacion), 2) as promedio, count(*) as n from academico.calificaciones group by id_grupo
) c on c.id_grupo = g.id;
comment on view marts.kpi_grupo is 'Each group: students enrolled and average mark';
comment on column marts.kpi_grupo.id_grupo is 'Group';
comment on column marts.kpi_grupo.periodo is 'Half year';
comment on column marts.kpi_grupo.materia is 'Subject';
comment on column marts.kpi_grupo.profesor is 'Teacher';
comment on column marts.kpi_grupo.alumnos_inscritos is 'Students enrolled';
comment on column marts.kpi_grupo.promedio is 'Average mark, two decimals; null without marks';
comment on column marts.kpi_grupo.n is 'Number of marks behind the average';

create or replace view marts.materia_periodo_stats as
select g.periodo, m.id as id_materia, m.nombre as materia, round(avg(c.calificacion), 2) as promedio,
       round(count(*) filter (where c.calificacion >= 6)::numeric / nullif(count(c.calificacion), 0), 4) as tasa_aprob,
       count(c.calificacion) as n
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
comment on column marts.materia_periodo_stats.n is 'Number of marks behind the average and the rate';

create or replace function marts.top_materias(periodo_in text, n integer default 10)
returns setof marts.materia_periodo_stats
language sql stable set search_path = pg_catalog, pg_temp as $$
    select s.* from marts.materia_periodo_stats s
    where s.periodo = periodo_in
    order by s.promedio desc nulls last, s.tasa_aprob desc nulls last, s.id_materia
    -- Not the column of that name.
    limit top_materias.n
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
select g.periodo, a.id as id_alumno, a.nombre, round(avg(c.calificacion), 2) as promedio, count(*) as n
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
comment on column marts.alumnos_en_riesgo.n is 'Number of marks behind the average';

create or replace view marts.kpi_alumno as
select a.id as id_alumno, a.nombre, a.edad, a.genero, coalesce(i.grupos, 0) as grupos_inscritos, c.promedio, c.tasa_aprob,
       coalesce(c.n, 0) as n, coalesce(c.reprobadas, 0) as reprobadas, c.minima, c.maxima, c.ultimo_periodo,
       coalesce(c.periodos, 0) as periodos, coalesce(c.periodos_en_riesgo, 0) as periodos_en_riesgo
from academico.alumnos a
-- Each side is aggregated by itself: joined first, they would multiply.
left join (
    select id_alumno, count(*) as grupos from academico.inscripciones group by id_alumno
) i on i.id_alumno = a.id
left join (
    select p.id_alumno, sum(p.n)::bigint as n, round(sum(p.suma) / sum(p.n), 2) as promedio,
           round((sum(p.n) - sum(p.reprobadas)) / sum(p.n), 4) as tasa_aprob, sum(p.reprobadas)::bigint as reprobadas,
           min(p.minima) as minima, max(p.maxima) as maxima, max(p.periodo) as ultimo_periodo, count(*) as periodos,
           count(*) filter (where p.suma < 6 * p.n) as periodos_en_riesgo
    from (
        select c.id_alumno, g.periodo, count(*) as n, sum(c.calificacion) as suma, min(c.calificacion) as minima,
               max(c.calificacion) as maxima, count(*) filter (where c.calificacion < 6) as reprobadas
        from academico.calificaciones c
        join academico.grupos g on g.id = c.id_grupo
        group by c.id_alumno, g.periodo
    ) p
    group by p.id_alumno
) c on c.id_alumno = a.id;
comment on view marts.kpi_alumno is 'Each student: enrolments, marks and periods at risk, over all periods';
comment on column marts.kpi_alumno.id_alumno is 'Student';
comment on column marts.kpi_alumno.nombre is 'Name';
comment on column marts.kpi_alumno.edad is 'Age in years, as the newest message says; null when it says none';
comment on column marts.kpi_alumno.genero is 'M or F';
comment on column marts.kpi_alumno.grupos_inscritos is 'Groups the student is enrolled in';
comment on column marts.kpi_alumno.promedio is 'Average mark, two decimals; null without marks';
comment on column marts.kpi_alumno.tasa_aprob is 'Share of marks of 6 or more, 0 to 1, four decimals; null without marks';
comment on column marts.kpi_alumno.n is 'Number of marks behind the average and the rate';
comment on column marts.kpi_alumno.reprobadas is 'Marks below 6';
comment on column marts.kpi_alumno.minima is 'Lowest mark; null without marks';
comment on column marts.kpi_alumno.maxima is 'Highest mark; null without marks';
comment on column marts.kpi_alumno.ultimo_periodo is 'Last half year with a mark; null without marks';
comment on column marts.kpi_alumno.periodos is 'Half years with a mark';
comment on column marts.kpi_alumno.periodos_en_riesgo is 'Half years with an average below 6: the rows of marts.alumnos_en_riesgo';

create or replace view marts.distribucion_calificaciones as
with tramos as (
    select g.periodo, g.id_materia, least(floor(c.calificacion), 9)::integer as desde, count(*) as n
    from academico.calificaciones c
    join academico.grupos g on g.id = c.id_grupo
    group by 1, 2, 3
)
select t.periodo, t.id_materia, m.nombre as materia, s.desde, s.desde + 1 as hasta, coalesce(x.n, 0) as n,
       round(coalesce(x.n, 0) / t.n, 4) as proporcion
from (select periodo, id_materia, sum(n) as n from tramos group by periodo, id_materia) t
join academico.materias m on m.id = t.id_materia
cross join generate_series(0, 9) as s (desde)
left join tramos x on x.periodo = t.periodo and x.id_materia = t.id_materia and x.desde = s.desde;
comment on view marts.distribucion_calificaciones is 'Each subject in each period: how its marks are spread over ten bands of one mark';
comment on column marts.distribucion_calificaciones.periodo is 'Half year';
comment on column marts.distribucion_calificaciones.id_materia is 'Subject';
comment on column marts.distribucion_calificaciones.materia is 'Name of the subject';
comment on column marts.distribucion_calificaciones.desde is 'Lower end of the band, included: 0 to 9';
comment on column marts.distribucion_calificaciones.hasta is 'Upper end of the band, excluded; 10 belongs to the last band';
comment on column marts.distribucion_calificaciones.n is 'Marks in the band; 0 where there are none';
comment on column marts.distribucion_calificaciones.proporcion is 'Share of the marks of the subject in the period, 0 to 1, four decimals';
