-- A materialized mart has a file of its own: it is built anew when that file changes, and only then.

create materialized view marts.kpi_materia as
select m.id as id_materia, m.nombre, round(avg(c.calificacion), 2) as promedio,
       round(count(*) filter (where c.calificacion >= 6)::numeric / nullif(count(c.calificacion), 0), 4) as tasa_aprob,
       count(c.calificacion) as n
from academico.materias m
left join academico.grupos g on g.id_materia = m.id
left join academico.calificaciones c on c.id_grupo = g.id
group by m.id, m.nombre;
create unique index kpi_materia_id on marts.kpi_materia (id_materia);
comment on materialized view marts.kpi_materia is 'Each subject: average mark and pass rate over all periods';
comment on column marts.kpi_materia.id_materia is 'Subject';
comment on column marts.kpi_materia.nombre is 'Name';
comment on column marts.kpi_materia.promedio is 'Average mark, two decimals; null without marks';
comment on column marts.kpi_materia.tasa_aprob is 'Share of marks of 6 or more, 0 to 1, four decimals; null without marks';
comment on column marts.kpi_materia.n is 'Number of marks behind the average and the rate';
