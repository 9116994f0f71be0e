//! A message as a version of the row that it speaks of.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::tables::{Alumno, Calificacion, Grupo, Inscripcion, Maestro, Materia};

/// One message as a version of the row it speaks of.
#[derive(Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) message_id: Uuid,
    pub(super) event_at: DateTime<Utc>,
    pub(super) body: &'a Map<String, Value>,
}

impl Version<'_> {
    pub(super) fn int(&self, field: &str) -> i32 {
        // Catalogues are also sent with a plain `id`.
        let value = self.body.get(field).or_else(|| self.body.get("id"));
        i32::try_from(value.unwrap().as_i64().unwrap()).unwrap()
    }

    pub(super) fn id_of(&self, parent: &str) -> i32 {
        self.int(&format!("id_{parent}"))
    }

    fn text(&self, field: &str) -> Option<String> {
        self.body.get(field)?.as_str().map(ToOwned::to_owned)
    }

    fn trimmed(&self, field: &str) -> String {
        self.text(field).unwrap().trim().to_owned()
    }

    fn date(&self, field: &str) -> NaiveDate {
        self.text(field)
            .or_else(|| self.text("ts"))
            .map_or(self.event_at.date_naive(), |date| {
                date[..10].parse().unwrap()
            })
    }

    pub(super) fn maestro(self) -> Maestro {
        Maestro {
            id: self.int("id_maestro"),
            nombre: self.trimmed("nombre"),
            especialidad: self.text("especialidad"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    pub(super) fn materia(self) -> Materia {
        Materia {
            id: self.int("id_materia"),
            nombre: self.trimmed("nombre"),
            creditos: self.int("creditos"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    pub(super) fn grupo(self) -> Grupo {
        Grupo {
            id: self.int("id_grupo"),
            id_materia: self.int("id_materia"),
            id_maestro: self.int("id_maestro"),
            periodo: self.text("periodo").unwrap(),
            fecha_inicio: self.date("fecha_inicio"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    pub(super) fn alumno(self) -> Alumno {
        Alumno {
            id: self.int("id_alumno"),
            nombre: self.trimmed("nombre"),
            edad: self.int("edad"),
            genero: self.trimmed("genero").to_uppercase(),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    pub(super) fn inscripcion(self) -> Inscripcion {
        Inscripcion {
            id_alumno: self.int("id_alumno"),
            id_grupo: self.int("id_grupo"),
            fecha_inscripcion: self.date("fecha_inscripcion"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    pub(super) fn calificacion(self) -> Calificacion {
        let mark = &self.body["calificacion"];
        Calificacion {
            id_alumno: self.int("id_alumno"),
            id_grupo: self.int("id_grupo"),
            calificacion: mark.to_string().parse().unwrap(),
            fecha_registro: self.date("fecha_registro"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }
}
