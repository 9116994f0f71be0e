//! Hours of a client, with the anomaly of each.

use axum::extract::{Path, State};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use utoipa::ToSchema;

use super::clients::Client;
use super::dates::{Edge, moment};
use super::{DOMAIN, local, mode, required};
use crate::app::App;
use crate::auth::guard::{As, Rows};
use crate::docs::Refusals;
use crate::exact::Exact;
use crate::paging::Json;
use crate::params::Params;
use crate::problem::{Problem, Result};

/// Longest range of a call, in days.
const DAYS: i64 = 366;

/// An hour of a client.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = ConsumoLectura)]
pub struct Reading {
    /// Client.
    propietario_id: String,
    /// Beginning of the hour, as the client's clock shows it, with its offset.
    #[schema(format = DateTime)]
    timestamp: String,
    /// Hour on the client's clock: that of `timestamp`.
    hora: i32,
    /// Consumption in the hour, kWh.
    consumo_kwh: Exact,
    /// Whether the way of judging found something.
    anomalia_detectada: bool,
    /// Rules that found an anomaly.
    tipos_anomalia: Vec<String>,
    /// From 0 to 1; 0 without an anomaly.
    score_anomalia: Exact,
    /// `normal`, `media`, `alta` or `crítica`.
    severidad: String,
}

const READINGS: &str = concat!(
    "
select d.propietario_id, ",
    local!("i.instante", "$2"),
    " as timestamp, extract(hour from i.instante at time zone $2)::int as hora, round(u.v / 1000.0, 3)::text as consumo_kwh,
       a.tipos is not null as anomalia_detectada, coalesce(a.tipos, '{}') as tipos_anomalia,
       coalesce(a.score, 0.00)::text as score_anomalia, coalesce(a.severidad, 'normal') as severidad
from consumo.dias d
cross join lateral unnest(d.wh) with ordinality u (v, k)
cross join lateral (select d.inicio + (u.k - 1) * interval '1 hour' as instante) i
left join consumo.anomalias a on a.propietario_id = d.propietario_id and a.ambito = 'hora' and a.instante = i.instante
    and a.modo = coalesce($5, (select m.modo from consumo.modos m where m.principal))
where d.propietario_id = $1 and d.fecha between ($3 at time zone $2)::date and ($4 at time zone $2)::date
  and u.v is not null and i.instante between $3 and $4
order by i.instante"
);

/// The hours of a client that begin between two instants, both included, in their order.
async fn between(
    database: &mut PgConnection,
    client: &Client,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    mode: Option<&str>,
) -> sqlx::Result<Vec<Reading>> {
    sqlx::query_as(READINGS)
        .bind(&client.id)
        .bind(&client.zone)
        .bind(from)
        .bind(to)
        .bind(mode)
        .fetch_all(database)
        .await
}

/// A client's hours of the last 24 hours, the newest first
///
/// The 24 hours before now, by the database's clock. `not_found` when there is none.
#[utoipa::path(get, path = "/api/consumos/ultimas24h/{propietario_id}", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("propietario_id" = String, Path, description = "Client"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The hours", body = Vec<Reading>), Refusals))]
pub async fn last_day(
    State(app): State<App>,
    caller: As<Rows>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Vec<Reading>>> {
    caller.insist_on(DOMAIN)?;
    let mode = mode(&mut params)?;
    params.end()?;
    let now = app.clock.now();
    let after = now - TimeDelta::hours(24) + TimeDelta::microseconds(1);
    let mut database = app.database().await?;
    let client = Client::find(&mut database, id).await?;
    let mut rows = between(&mut database, &client, after, now, mode).await?;
    database.done();
    if rows.is_empty() {
        return Err(Problem::not_found(
            "reading of the client in the last 24 hours; GET /api/consumos/rango has earlier ones",
        ));
    }
    rows.reverse();
    Ok(Json(rows))
}

/// The same as `/api/consumos/ultimas24h/{propietario_id}`, by the path of the reference system
#[utoipa::path(get, path = "/api/consumos/%C3%BAltimas24h/{propietario_id}", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("propietario_id" = String, Path, description = "Client"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The hours", body = Vec<Reading>), Refusals))]
pub async fn last_day_accented(
    app: State<App>,
    caller: As<Rows>,
    id: Path<String>,
    params: Params,
) -> Result<Json<Vec<Reading>>> {
    last_day(app, caller, id, params).await
}

/// A client's hours in a range, the oldest first
///
/// Both ends are included; a date is the whole day. Times without an offset are by the client's clock. At most 366 days.
#[utoipa::path(get, path = "/api/consumos/rango", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("propietario_id" = String, Query, description = "Client"),
        ("fecha_inicio" = String, Query, description = "First hour: a date, or a time with or without an offset"),
        ("fecha_fin" = String, Query, description = "Last hour: as fecha_inicio"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The hours", body = Vec<Reading>), Refusals))]
pub async fn range(
    State(app): State<App>,
    caller: As<Rows>,
    mut params: Params,
) -> Result<Json<Vec<Reading>>> {
    caller.insist_on(DOMAIN)?;
    let id = required(&mut params, "propietario_id")?;
    let from = moment(&mut params, "fecha_inicio", Edge::Begin)?;
    let to = moment(&mut params, "fecha_fin", Edge::End)?;
    let mode = mode(&mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let client = Client::find(&mut database, id).await?;
    let from = client.instant(&mut database, from).await?;
    let to = client.instant(&mut database, to).await?;
    let wrong = match to - from {
        span if span < TimeDelta::zero() => Some("must not be before fecha_inicio"),
        // The clock may be changed in between.
        span if span > TimeDelta::days(DAYS) + TimeDelta::hours(1) => {
            Some("must be at most 366 days after fecha_inicio: ask for a part at a time")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        database.done();
        return Err(Problem::parameter("fecha_fin", wrong));
    }
    let rows = between(&mut database, &client, from, to, mode).await?;
    database.done();
    Ok(Json(rows))
}
