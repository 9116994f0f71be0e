//! The generator: days of made-up clients, by the generator of the contract.
//!
//! A day follows from client and date alone, so every route and every repetition makes the same one. A GET makes and answers;
//! only the POST sends.

mod day;

use axum::extract::{Path, State};
use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use self::day::{Day, bodies};
use super::DOMAIN;
use super::clients::is_code;
use super::dates::past_day;
use crate::app::App;
use crate::auth::guard::{As, Publish};
use crate::data::calls::Note;
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::paging::Json;
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::routes::contracts::entity;
use crate::routes::messages;

/// The message that is generated.
const READING: &str = "lectura";
/// Clients of `GET /generar/todos`, and those of them that are suspicious: as `publisher generate` makes by default.
const ALL: (i64, i64) = (50, 5);
/// Maximum number of clients in a batch: their days are fewer than 10,000 messages.
const MOST: i64 = 399;

/// A day of several clients.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsumoDias)]
pub struct Generated {
    /// Day on the clock of Madrid.
    fecha: NaiveDate,
    /// Clients.
    total_clientes: usize,
    /// Those of whom there is something to be found: the last ones.
    clientes_sospechosos: usize,
    /// Messages that were sent to the exchange, and that a queue has on disk.
    publicados: usize,
    /// Each client's day.
    resultados: Vec<Day>,
}

/// A day of a made-up client
///
/// Nothing is sent. The day is yesterday (UTC) on the clock of Madrid, and the same at each call.
#[utoipa::path(get, path = "/generar/cliente/{propietario_id}", tag = "consumo",
    extensions(("x-acequia-right" = json!("publish"))),
    params(
        ("propietario_id" = String, Path, description = "Client, as CLI_00001; it need not be known"),
        ("es_sospechoso" = Option<bool>, Query, description = "Whether there is to be something to be found"),
    ), responses((status = 200, description = "The day", body = Day), Refusals))]
pub async fn client(
    State(app): State<App>,
    caller: As<Publish>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Day>> {
    caller.insist_on(DOMAIN)?;
    let suspicious = params.flag("es_sospechoso")?;
    let date = past_day(&mut Params::default(), app.clock.now())?;
    params.end()?;
    if !is_code(&id) {
        return Err(Problem::parameter(
            "propietario_id",
            "must be CLI_ and at least five digits",
        ));
    }
    let bodies = bodies(&id, suspicious, date)?;
    Ok(Json(Day::of(&id, suspicious, date, &bodies)?))
}

/// The day of several clients, the last of them suspicious, and the bodies of its messages. Other calls go on meanwhile.
async fn several(
    date: NaiveDate,
    clients: i64,
    suspicious: i64,
) -> anyhow::Result<(Generated, Vec<String>)> {
    tokio::task::spawn_blocking(move || make(date, clients, suspicious)).await?
}

fn make(
    date: NaiveDate,
    clients: i64,
    suspicious: i64,
) -> anyhow::Result<(Generated, Vec<String>)> {
    let mut messages = Vec::new();
    let mut days = Vec::new();
    for number in 1..=clients {
        let (client, suspicious) = (format!("CLI_{number:05}"), number > clients - suspicious);
        let bodies = bodies(&client, suspicious, date)?;
        days.push(Day::of(&client, suspicious, date, &bodies)?);
        messages.extend(bodies);
    }
    let generated = Generated {
        fecha: date,
        total_clientes: days.len(),
        clientes_sospechosos: usize::try_from(suspicious)?,
        publicados: 0,
        resultados: days,
    };
    Ok((generated, messages))
}

/// A day of 50 made-up clients, the last five of them suspicious
///
/// Nothing is sent; the same at each call.
#[utoipa::path(get, path = "/generar/todos", tag = "consumo",
    extensions(("x-acequia-right" = json!("publish"))),
    params(("fecha" = Option<String>, Query, description = "Day that is over, as 2024-06-10; yesterday (UTC) when not given")),
    responses((status = 200, description = "The day", body = Generated), Refusals))]
pub async fn all(
    State(app): State<App>,
    caller: As<Publish>,
    mut params: Params,
) -> Result<Json<Generated>> {
    caller.insist_on(DOMAIN)?;
    let date = past_day(&mut params, app.clock.now())?;
    params.end()?;
    let (generated, _) = several(date, ALL.0, ALL.1).await?;
    Ok(Json(generated))
}

/// Make a day of some clients and send its readings
///
/// They are checked by their contract and sent to the exchange; the answer comes once a queue has them on disk. A day that was
/// sent before changes nothing.
#[utoipa::path(post, path = "/generar/batch", tag = "consumo",
    extensions(("x-acequia-right" = json!("publish"))),
    params(
        ("num_clientes" = Option<i64>, Query, description = "Clients, 1 to 399; 10 when not given"),
        ("num_sospechosos" = Option<i64>, Query, description = "Those of them of whom there is something to be found; 2 when not given"),
        ("fecha" = Option<String>, Query, description = "Day that is over, as 2024-06-10; yesterday (UTC) when not given"),
    ), responses((status = 200, description = "What was sent", body = Generated), Refusals))]
pub async fn batch(
    State(app): State<App>,
    caller: As<Publish>,
    mut params: Params,
) -> Result<Noted<Json<Generated>>> {
    let entity = entity(&caller, DOMAIN, READING)?;
    let clients = params.number("num_clientes", 1, MOST)?.unwrap_or(10);
    let suspicious = params.number("num_sospechosos", 0, MOST)?.unwrap_or(2);
    let date = past_day(&mut params, app.clock.now())?;
    params.end()?;
    if suspicious > clients {
        return Err(Problem::parameter(
            "num_sospechosos",
            "must not be more than num_clientes",
        ));
    }
    let (mut generated, bodies) = several(date, clients, suspicious).await?;
    generated.publicados = messages::send_all(&app, &caller, entity, &bodies).await?;
    let note = Note {
        domain: Some(DOMAIN.to_owned()),
        reason: None,
        detail: serde_json::json!({"sent": generated.publicados}),
    };
    Ok(Noted(Json(generated), note))
}
