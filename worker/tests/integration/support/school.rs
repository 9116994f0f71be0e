//! Bodies of domain academico, for the tests that need to know what they send.

use serde_json::{Value, json};

use super::{Message, Platform};

pub const DOMAIN: &str = "academico";

/// A message of the domain under a new id.
pub fn message(entity: &str, body: &Value) -> Message {
    Message::new(DOMAIN, entity, body.to_string())
}

pub fn maestro(id: i32) -> Message {
    message(
        "maestro",
        &json!({"id_maestro": id, "nombre": format!("Maestro {id}")}),
    )
}

pub fn materia(id: i32) -> Message {
    message(
        "materia",
        &json!({"id_materia": id, "nombre": format!("Materia {id}"), "creditos": 8}),
    )
}

pub fn grupo(id: i32, materia: i32, maestro: i32) -> Message {
    message(
        "grupo",
        &json!({"id_grupo": id, "id_materia": materia, "id_maestro": maestro, "periodo": "2024A"}),
    )
}

pub fn alumno_body(id: i32) -> Value {
    json!({"id_alumno": id, "nombre": format!("Alumno {id}"), "edad": 20, "genero": "F"})
}

pub fn alumno(id: i32) -> Message {
    message("alumno", &alumno_body(id))
}

/// Students with the numbers of a range.
pub fn alumnos(ids: std::ops::Range<i32>) -> Vec<Message> {
    ids.map(alumno).collect()
}

pub fn inscripcion(alumno: i32, grupo: i32) -> Message {
    message(
        "inscripcion",
        &json!({"id_alumno": alumno, "id_grupo": grupo}),
    )
}

pub fn calificacion(alumno: i32, grupo: i32, mark: f64) -> Message {
    message(
        "calificacion",
        &json!({"id_alumno": alumno, "id_grupo": grupo, "calificacion": mark}),
    )
}

/// Makes the merge of students raise; returns the statement that mends it.
pub async fn break_merge(platform: &Platform) -> String {
    let original = platform
        .texts("select pg_get_functiondef('academico.merge_alumnos'::regproc)")
        .await;
    platform
        .execute(
            "create or replace function academico.merge_alumnos(p_batches bigint[]) returns setof core.merge_outcome
             language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
             begin raise exception 'no merge today'; end $$",
        )
        .await;
    original.into_iter().next().expect("a merge function")
}
