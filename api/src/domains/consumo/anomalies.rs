//! Anomalies of all clients and of one.

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx_macros::FromRow;
use utoipa::ToSchema;

use super::clients::Client;
use super::{DOMAIN, local, mode};
use crate::app::App;
use crate::auth::guard::{As, Rows};
use crate::docs::Refusals;
use crate::exact::Exact;
use crate::paging::Json;
use crate::params::Params;
use crate::problem::Result;

/// An anomaly of an hour, or of a day.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = ConsumoAnomalia)]
pub struct Anomaly {
    /// Client.
    propietario_id: String,
    /// Beginning of the hour or day, as the client's clock shows it, with its offset.
    #[schema(format = DateTime)]
    timestamp_consumo: String,
    /// When it was found first.
    timestamp_deteccion: DateTime<Utc>,
    /// Consumption of the hour or day, kWh.
    consumo_kwh: Exact,
    /// Hour on the client's clock; null for a day.
    hora: Option<i16>,
    /// `hora` or `dia`.
    ambito: String,
    /// Rules that found an anomaly.
    tipos_anomalia: Vec<String>,
    /// From 0 to 1.
    score_anomalia: Exact,
    /// `media`, `alta` or `crítica`.
    severidad: String,
    /// Whether the publisher suspected the client.
    es_sospechoso_cliente: bool,
    /// Way of judging that found it.
    modo: String,
}

/// Anomalies of a way of judging, `$1`.
macro_rules! anomalies {
    ($conditions:literal, $order:literal) => {
        concat!(
            "
select a.propietario_id, ",
            local!("a.instante", "coalesce(c.zona, 'Europe/Madrid')"),
            " as timestamp_consumo, a.detectada_at as timestamp_deteccion, a.consumo_kwh::text as consumo_kwh, a.hora, a.ambito,
       a.tipos as tipos_anomalia, a.score::text as score_anomalia, a.severidad, a.es_sospechoso as es_sospechoso_cliente, a.modo
from consumo.anomalias a
left join consumo.clientes c on c.propietario_id = a.propietario_id
where a.modo = coalesce($1, (select m.modo from consumo.modos m where m.principal)) and ",
            $conditions,
            " order by ",
            $order
        )
    };
}

const LATEST: &str = anomalies!(
    "($2::text is null or a.severidad = $2)",
    "a.instante desc, a.propietario_id, a.ambito limit $3"
);
const CRITICAL: &str = anomalies!(
    "a.severidad = 'crítica' and a.instante > now() - interval '24 hours' and a.instante <= now()",
    "a.score desc, a.instante desc, a.propietario_id, a.ambito limit 100"
);
const OF_CLIENT: &str = anomalies!(
    "a.propietario_id = $2 and a.instante > now() - make_interval(days => $3) and a.instante <= now()",
    "a.instante desc, a.ambito"
);

/// The latest anomalies of all clients
#[utoipa::path(get, path = "/api/anomalias/ultimas", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("limit" = Option<i64>, Query, description = "Most of them, 1 to 1000; 50 when not given"),
        ("severidad" = Option<String>, Query, description = "`media`, `alta` or `crítica`, also as `critica`; all when not given"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The anomalies", body = Vec<Anomaly>), Refusals))]
pub async fn latest(
    State(app): State<App>,
    caller: As<Rows>,
    mut params: Params,
) -> Result<Json<Vec<Anomaly>>> {
    caller.insist_on(DOMAIN)?;
    let limit = params.number("limit", 1, 1_000)?.unwrap_or(50);
    let severities = [
        ("crítica", "crítica"),
        ("critica", "crítica"),
        ("alta", "alta"),
        ("media", "media"),
    ];
    let severity = params.choice("severidad", &severities)?;
    let mode = mode(&mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = sqlx::query_as(LATEST)
        .bind(mode)
        .bind(severity)
        .bind(limit)
        .fetch_all(&mut *database)
        .await?;
    database.done();
    Ok(Json(rows))
}

/// The same as `/api/anomalias/ultimas`, by the path of the reference system
#[utoipa::path(get, path = "/api/anomalias/%C3%BAltimas", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("limit" = Option<i64>, Query, description = "Most of them, 1 to 1000; 50 when not given"),
        ("severidad" = Option<String>, Query, description = "`media`, `alta` or `crítica`, also as `critica`; all when not given"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The anomalies", body = Vec<Anomaly>), Refusals))]
pub async fn latest_accented(
    app: State<App>,
    caller: As<Rows>,
    params: Params,
) -> Result<Json<Vec<Anomaly>>> {
    latest(app, caller, params).await
}

/// Critical anomalies of the last 24 hours, the highest score first, at most 100
#[utoipa::path(get, path = "/api/anomalias/criticas", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given")),
    responses((status = 200, description = "The anomalies", body = Vec<Anomaly>), Refusals))]
pub async fn critical(
    State(app): State<App>,
    caller: As<Rows>,
    mut params: Params,
) -> Result<Json<Vec<Anomaly>>> {
    caller.insist_on(DOMAIN)?;
    let mode = mode(&mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = sqlx::query_as(CRITICAL)
        .bind(mode)
        .fetch_all(&mut *database)
        .await?;
    database.done();
    Ok(Json(rows))
}

/// The same as `/api/anomalias/criticas`, by the path of the reference system
#[utoipa::path(get, path = "/api/anomalias/cr%C3%ADticas", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given")),
    responses((status = 200, description = "The anomalies", body = Vec<Anomaly>), Refusals))]
pub async fn critical_accented(
    app: State<App>,
    caller: As<Rows>,
    params: Params,
) -> Result<Json<Vec<Anomaly>>> {
    critical(app, caller, params).await
}

/// Anomalies of a client in the last days, the newest first
#[utoipa::path(get, path = "/api/anomalias/cliente/{propietario_id}", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("propietario_id" = String, Path, description = "Client"),
        ("dias" = Option<i64>, Query, description = "Days before now, 1 to 90; 7 when not given"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The anomalies", body = Vec<Anomaly>), Refusals))]
pub async fn of_client(
    State(app): State<App>,
    caller: As<Rows>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Vec<Anomaly>>> {
    caller.insist_on(DOMAIN)?;
    let days = params.number("dias", 1, 90)?.unwrap_or(7);
    let mode = mode(&mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let client = Client::find(&mut database, id).await?;
    let rows = sqlx::query_as(OF_CLIENT)
        .bind(mode)
        .bind(&client.id)
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .fetch_all(&mut *database)
        .await?;
    database.done();
    Ok(Json(rows))
}

/// A client with anomalies.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = ConsumoTopCliente)]
pub struct TopClient {
    /// Client.
    #[serde(rename = "_id")]
    #[sqlx(rename = "propietario_id")]
    id: String,
    /// Anomalies over all time.
    total_anomalias: i64,
    /// Anomalies of severity `crítica`.
    anomalias_criticas: i64,
    /// Beginning of the last one.
    ultima_anomalia: DateTime<Utc>,
}

/// Clients with the most anomalies.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsumoTop)]
pub struct Top {
    /// The clients, the most critical first.
    clientes: Vec<TopClient>,
}

const TOP: &str = "
select a.propietario_id, count(*) as total_anomalias, count(*) filter (where a.severidad = 'crítica') as anomalias_criticas,
       max(a.instante) as ultima_anomalia
from consumo.anomalias a
where a.modo = coalesce($1, (select m.modo from consumo.modos m where m.principal))
group by a.propietario_id
order by anomalias_criticas desc, total_anomalias desc, a.propietario_id
limit $2";

/// Clients with the most anomalies over all time, the most critical first
#[utoipa::path(get, path = "/api/dashboard/top-anomalias", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("limit" = Option<i64>, Query, description = "Most of them, 1 to 100; 10 when not given"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The clients", body = Top), Refusals))]
pub async fn top(
    State(app): State<App>,
    caller: As<Rows>,
    mut params: Params,
) -> Result<Json<Top>> {
    caller.insist_on(DOMAIN)?;
    let limit = params.number("limit", 1, 100)?.unwrap_or(10);
    let mode = mode(&mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let clientes = sqlx::query_as(TOP)
        .bind(mode)
        .bind(limit)
        .fetch_all(&mut *database)
        .await?;
    database.done();
    Ok(Json(Top { clientes }))
}
