-- demo: academico --alumnos 1000 --inscripciones 3000 --calificaciones 5000 --seed 1 --invalid 2 --duplicates 1
\echo
\echo 'Top subjects of 2024A (marts.top_materias)'
select materia, promedio, tasa_aprob from marts.top_materias('2024A', 5);
\echo 'Best teachers (marts.ranking_maestros)'
select maestro, promedio, evaluaciones from marts.ranking_maestros limit 5;
\echo 'Students at risk in 2024B (marts.alumnos_en_riesgo)'
select id_alumno, nombre, promedio from marts.alumnos_en_riesgo where periodo = '2024B' limit 5;
