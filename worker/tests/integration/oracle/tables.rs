//! The core tables and their rows.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx_macros::FromRow;
use uuid::Uuid;

/// The core tables, sorted by key.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Core {
    pub maestros: Vec<Maestro>,
    pub materias: Vec<Materia>,
    pub grupos: Vec<Grupo>,
    pub alumnos: Vec<Alumno>,
    pub inscripciones: Vec<Inscripcion>,
    pub calificaciones: Vec<Calificacion>,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Maestro {
    pub id: i32,
    pub nombre: String,
    pub especialidad: Option<String>,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Materia {
    pub id: i32,
    pub nombre: String,
    pub creditos: i32,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Grupo {
    pub id: i32,
    pub id_materia: i32,
    pub id_maestro: i32,
    pub periodo: String,
    pub fecha_inicio: NaiveDate,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Alumno {
    pub id: i32,
    pub nombre: String,
    pub edad: i32,
    pub genero: String,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Inscripcion {
    pub id_alumno: i32,
    pub id_grupo: i32,
    pub fecha_inscripcion: NaiveDate,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Calificacion {
    pub id_alumno: i32,
    pub id_grupo: i32,
    pub calificacion: Decimal,
    pub fecha_registro: NaiveDate,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}
