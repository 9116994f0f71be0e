//! The marts, calculated from the core by plain loops.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use sqlx_macros::FromRow;

use super::marks::{ENOUGH_MARKS, Marks, PASS_MARK, SHARE_DIGITS, rounded};
use super::tables::{Alumno, Core, Grupo, Materia};

/// `marts.kpi_grupo`: one row per group.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct KpiGrupo {
    pub id_grupo: i32,
    pub periodo: String,
    pub materia: String,
    pub profesor: String,
    pub alumnos_inscritos: i64,
    pub promedio: Option<Decimal>,
    pub n: i64,
}

/// `marts.kpi_materia`: one row per subject.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct KpiMateria {
    pub id_materia: i32,
    pub nombre: String,
    pub promedio: Option<Decimal>,
    pub tasa_aprob: Option<Decimal>,
    pub n: i64,
}

/// `marts.materia_periodo_stats` and `marts.top_materias`: one row per period and subject.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct MateriaPeriodo {
    pub periodo: String,
    pub id_materia: i32,
    pub materia: String,
    pub promedio: Option<Decimal>,
    pub tasa_aprob: Option<Decimal>,
    pub n: i64,
}

/// `marts.ranking_maestros`: one row per teacher with enough marks.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct RankingMaestro {
    pub id_maestro: i32,
    pub maestro: String,
    pub promedio: Decimal,
    pub evaluaciones: i64,
}

/// `marts.alumnos_en_riesgo`: one row per period and student with a mean below the pass mark.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct AlumnoEnRiesgo {
    pub periodo: String,
    pub id_alumno: i32,
    pub nombre: String,
    pub promedio: Decimal,
    pub n: i64,
}

/// `marts.kpi_alumno`: one row per student.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct KpiAlumno {
    pub id_alumno: i32,
    pub nombre: String,
    pub edad: Option<i32>,
    pub genero: String,
    pub grupos_inscritos: i64,
    pub promedio: Option<Decimal>,
    pub tasa_aprob: Option<Decimal>,
    pub n: i64,
    pub reprobadas: i64,
    pub minima: Option<Decimal>,
    pub maxima: Option<Decimal>,
    pub ultimo_periodo: Option<String>,
    pub periodos: i64,
    pub periodos_en_riesgo: i64,
}

/// `marts.distribucion_calificaciones`: ten rows per period and subject with a mark.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Tramo {
    pub periodo: String,
    pub id_materia: i32,
    pub materia: String,
    pub desde: i32,
    pub hasta: i32,
    pub n: i64,
    pub proporcion: Decimal,
}

impl Core {
    pub(super) fn materia(&self, id: i32) -> &str {
        let found = self.materias.iter().find(|materia| materia.id == id);
        &found.unwrap().nombre
    }

    pub(super) fn maestro(&self, id: i32) -> &str {
        let found = self.maestros.iter().find(|maestro| maestro.id == id);
        &found.unwrap().nombre
    }

    /// The marks, sorted into heaps by what a mark's student and group say.
    fn heaps<K: Ord>(&self, heap: impl Fn(i32, &Grupo) -> K) -> BTreeMap<K, Marks> {
        let groups: BTreeMap<i32, &Grupo> =
            self.grupos.iter().map(|grupo| (grupo.id, grupo)).collect();
        let mut heaps: BTreeMap<K, Marks> = BTreeMap::new();
        for mark in &self.calificaciones {
            let heap = heap(mark.id_alumno, groups[&mark.id_grupo]);
            heaps.entry(heap).or_default().0.push(mark.calificacion);
        }
        heaps
    }

    /// By group.
    pub fn kpi_grupo(&self) -> Vec<KpiGrupo> {
        let mut heaps = self.heaps(|_, grupo| grupo.id);
        let of_grupo = |grupo: &Grupo| {
            let enrolled = self.inscripciones.iter();
            let enrolled = enrolled.filter(|inscripcion| inscripcion.id_grupo == grupo.id);
            let students: BTreeSet<i32> = enrolled.map(|row| row.id_alumno).collect();
            let marks = heaps.remove(&grupo.id).unwrap_or_default();
            KpiGrupo {
                id_grupo: grupo.id,
                periodo: grupo.periodo.clone(),
                materia: self.materia(grupo.id_materia).to_owned(),
                profesor: self.maestro(grupo.id_maestro).to_owned(),
                alumnos_inscritos: i64::try_from(students.len()).unwrap(),
                promedio: marks.rounded_mean(),
                n: marks.count(),
            }
        };
        self.grupos.iter().map(of_grupo).collect()
    }

    /// By subject.
    pub fn kpi_materia(&self) -> Vec<KpiMateria> {
        let mut heaps = self.heaps(|_, grupo| grupo.id_materia);
        let of_materia = |materia: &Materia| {
            let marks = heaps.remove(&materia.id).unwrap_or_default();
            KpiMateria {
                id_materia: materia.id,
                nombre: materia.nombre.clone(),
                promedio: marks.rounded_mean(),
                tasa_aprob: marks.pass_rate(),
                n: marks.count(),
            }
        };
        self.materias.iter().map(of_materia).collect()
    }

    /// By period and subject: every pair that has a group.
    pub fn materia_periodo_stats(&self) -> Vec<MateriaPeriodo> {
        let mut heaps = self.heaps(|_, grupo| (grupo.periodo.clone(), grupo.id_materia));
        let pairs: BTreeSet<(String, i32)> = self
            .grupos
            .iter()
            .map(|grupo| (grupo.periodo.clone(), grupo.id_materia))
            .collect();
        let of_pair = |pair: (String, i32)| {
            let marks = heaps.remove(&pair).unwrap_or_default();
            let (periodo, id_materia) = pair;
            MateriaPeriodo {
                periodo,
                id_materia,
                materia: self.materia(id_materia).to_owned(),
                promedio: marks.rounded_mean(),
                tasa_aprob: marks.pass_rate(),
                n: marks.count(),
            }
        };
        pairs.into_iter().map(of_pair).collect()
    }

    /// The best subjects of a period, best first; equal ones in any order.
    pub fn top_materias(&self, periodo: &str, n: usize) -> Vec<MateriaPeriodo> {
        let mut rows = self.materia_periodo_stats();
        rows.retain(|row| row.periodo == periodo);
        // None is less than Some, so that it comes last in descending order.
        rows.sort_by_key(|row| Reverse((row.promedio, row.tasa_aprob)));
        rows.truncate(n);
        rows
    }

    /// Teachers with at least 30 marks, best first, more marks first among equals.
    pub fn ranking_maestros(&self) -> Vec<RankingMaestro> {
        let heaps = self.heaps(|_, grupo| grupo.id_maestro).into_iter();
        let mut rows: Vec<RankingMaestro> = heaps
            .filter(|(_, marks)| marks.count() >= ENOUGH_MARKS)
            .map(|(id_maestro, marks)| RankingMaestro {
                id_maestro,
                maestro: self.maestro(id_maestro).to_owned(),
                promedio: marks.rounded_mean().unwrap(),
                evaluaciones: marks.count(),
            })
            .collect();
        rows.sort_by_key(|row| Reverse((row.promedio, row.evaluaciones)));
        rows
    }

    /// Students whose mean in a period is below the pass mark, by period, worst first.
    pub fn alumnos_en_riesgo(&self) -> Vec<AlumnoEnRiesgo> {
        let names: BTreeMap<i32, &str> = self
            .alumnos
            .iter()
            .map(|alumno| (alumno.id, alumno.nombre.as_str()))
            .collect();
        let heaps = self.heaps(|alumno, grupo| (grupo.periodo.clone(), alumno));
        let mut rows: Vec<AlumnoEnRiesgo> = heaps
            .into_iter()
            .filter(|(_, marks)| marks.fails())
            .map(|((periodo, id_alumno), marks)| AlumnoEnRiesgo {
                periodo,
                id_alumno,
                nombre: names[&id_alumno].to_owned(),
                promedio: marks.rounded_mean().unwrap(),
                n: marks.count(),
            })
            .collect();
        rows.sort_by(|a, b| (&a.periodo, a.promedio).cmp(&(&b.periodo, b.promedio)));
        rows
    }

    /// By student.
    pub fn kpi_alumno(&self) -> Vec<KpiAlumno> {
        let mut heaps = self.heaps(|alumno, _| alumno);
        let periods = self.heaps(|alumno, grupo| (alumno, grupo.periodo.clone()));
        let of_alumno = |alumno: &Alumno| {
            let marks = heaps.remove(&alumno.id).unwrap_or_default();
            let enrolled = self.inscripciones.iter();
            let enrolled = enrolled.filter(|row| row.id_alumno == alumno.id);
            let groups: BTreeSet<i32> = enrolled.map(|row| row.id_grupo).collect();
            let count = |count: usize| i64::try_from(count).unwrap();
            let periods: Vec<_> = periods
                .iter()
                .filter(|((id, _), _)| *id == alumno.id)
                .collect();
            KpiAlumno {
                id_alumno: alumno.id,
                nombre: alumno.nombre.clone(),
                edad: Some(alumno.edad),
                genero: alumno.genero.clone(),
                grupos_inscritos: count(groups.len()),
                promedio: marks.rounded_mean(),
                tasa_aprob: marks.pass_rate(),
                n: marks.count(),
                reprobadas: count(marks.0.iter().filter(|&&mark| mark < PASS_MARK).count()),
                minima: marks.0.iter().min().copied(),
                maxima: marks.0.iter().max().copied(),
                ultimo_periodo: periods.last().map(|((_, periodo), _)| periodo.clone()),
                periodos: count(periods.len()),
                periodos_en_riesgo: count(periods.iter().filter(|(_, m)| m.fails()).count()),
            }
        };
        self.alumnos.iter().map(of_alumno).collect()
    }

    /// By period, subject and band of one mark.
    pub fn distribucion(&self) -> Vec<Tramo> {
        let heaps = self.heaps(|_, grupo| (grupo.periodo.clone(), grupo.id_materia));
        let mut rows = Vec::new();
        for ((periodo, id_materia), marks) in heaps {
            for desde in 0..10 {
                let inside = |mark: &Decimal| match desde {
                    9 => *mark >= Decimal::from(9),
                    _ => *mark >= Decimal::from(desde) && *mark < Decimal::from(desde + 1),
                };
                let n = marks.0.iter().filter(|mark| inside(mark)).count();
                rows.push(Tramo {
                    periodo: periodo.clone(),
                    id_materia,
                    materia: self.materia(id_materia).to_owned(),
                    desde,
                    hasta: desde + 1,
                    n: i64::try_from(n).unwrap(),
                    proporcion: rounded(
                        Decimal::from(n) / Decimal::from(marks.count()),
                        SHARE_DIGITS,
                    ),
                });
            }
        }
        rows
    }
}
