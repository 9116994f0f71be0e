//! Months of clients, from the mart.

use axum::extract::{Path, State};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx_macros::FromRow;
use utoipa::ToSchema;

use super::clients::Client;
use super::{DOMAIN, dates};
use crate::app::App;
use crate::auth::guard::{As, Rows};
use crate::docs::Refusals;
use crate::exact::Exact;
use crate::paging::Json;
use crate::params::Params;
use crate::problem::{Problem, Result};

/// A month of a client. Anomalies are those of the way of judging (`modo`) that the marts show.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = ConsumoMes)]
pub struct Month {
    /// Client and month.
    #[serde(rename = "_id")]
    #[sqlx(rename = "_id")]
    id: String,
    /// Client.
    propietario_id: String,
    /// First day of the month.
    mes: NaiveDate,
    /// Month as YYYY-MM.
    mes_str: String,
    /// Readings.
    num_registros: i64,
    /// Consumption, kWh.
    consumo_total: Exact,
    /// Mean hour, kWh.
    consumo_promedio: Exact,
    /// Least hour, kWh.
    consumo_minimo: Exact,
    /// Greatest hour, kWh.
    consumo_maximo: Exact,
    /// Sample standard deviation of the hours, kWh; null with one reading.
    consumo_desviacion: Option<Exact>,
    /// Anomalies.
    anomalias_detectadas: i64,
    /// Anomalies of severity `crítica`.
    anomalias_criticas: i64,
    /// Anomalies of severity `alta`.
    anomalias_altas: i64,
    /// Anomalies of severity `media`.
    anomalias_medias: i64,
    /// Highest score, 0 without anomalies.
    max_score_anomalia: Exact,
    /// Sum of the scores by the number of readings.
    avg_score_anomalia: Exact,
    /// Mean hour of the night (0 to 5 and 23 h), kWh; null without readings in it.
    consumo_noche_promedio: Option<Exact>,
    /// Mean hour of the peak (18 to 22 h), kWh; null without readings in it.
    consumo_punta_promedio: Option<Exact>,
    /// Mean of the other hours, kWh; null without readings in them.
    consumo_valle_promedio: Option<Exact>,
    /// Whether the publisher suspected the client in any hour.
    tiene_comportamiento_sospechoso: bool,
    /// Days with a reading.
    dias: i64,
    /// Days without any reading, as far as they are over.
    dias_sin_lectura: i32,
    /// When it was computed: now.
    timestamp: DateTime<Utc>,
}

/// Months from the mart, with more columns and conditions.
macro_rules! months {
    ($more:literal, $conditions:literal) => {
        concat!(
            "
select m.propietario_id || '_' || m.mes_str as _id, m.propietario_id, m.mes, m.mes_str, m.num_registros::bigint as num_registros,
       m.consumo_total::text as consumo_total, m.consumo_promedio::text as consumo_promedio, m.consumo_minimo::text as consumo_minimo,
       m.consumo_maximo::text as consumo_maximo, m.consumo_desviacion::text as consumo_desviacion, m.anomalias_detectadas,
       m.anomalias_criticas, m.anomalias_altas, m.anomalias_medias, m.max_score_anomalia::text as max_score_anomalia,
       m.avg_score_anomalia::text as avg_score_anomalia, m.consumo_noche_promedio::text as consumo_noche_promedio,
       m.consumo_punta_promedio::text as consumo_punta_promedio, m.consumo_valle_promedio::text as consumo_valle_promedio,
       m.tiene_comportamiento_sospechoso, m.dias, m.dias_sin_lectura, m.timestamp",
            $more,
            "
from marts.consumo_mensual m
where ",
            $conditions
        )
    };
}

const YEAR: &str = months!(
    "",
    "m.propietario_id = $1 and m.mes between make_date($2, 1, 1) and make_date($2, 12, 31) order by m.mes"
);
const MONTH: &str = months!("", "m.propietario_id = $1 and m.mes = $2");
const COMPARED: &str = months!(
    ", count(*) over () as total_clientes, (sum(m.consumo_total) over ())::text as consumo_total_mes,
       round(avg(m.consumo_total) over (), 3)::text as consumo_por_cliente",
    "m.mes = $1 order by m.consumo_total desc, m.propietario_id limit $2"
);

/// The months of a client in a year, in their order
#[utoipa::path(get, path = "/api/consumos/mensuales/{propietario_id}", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("propietario_id" = String, Path, description = "Client"),
        ("año" = Option<i32>, Query, description = "Year, 2000 to 2099; the present one (UTC) when not given"),
        ("anio" = Option<i32>, Query, description = "The same in ASCII"),
    ), responses((status = 200, description = "The months", body = Vec<Month>), Refusals))]
pub async fn year(
    State(app): State<App>,
    caller: As<Rows>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Vec<Month>>> {
    caller.insist_on(DOMAIN)?;
    let year = dates::year(&mut params, app.clock.now())?;
    params.end()?;
    let mut database = app.database().await?;
    let client = Client::find(&mut database, id).await?;
    let months = sqlx::query_as(YEAR)
        .bind(&client.id)
        .bind(year)
        .fetch_all(&mut *database)
        .await?;
    database.done();
    Ok(Json(months))
}

/// A month of a client
#[utoipa::path(get, path = "/api/estadisticas/mensual/{propietario_id}", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("propietario_id" = String, Path, description = "Client"),
        ("mes" = Option<String>, Query, description = "Month as 2024-06; the present one (UTC) when not given"),
    ), responses((status = 200, description = "The month", body = Month), Refusals))]
pub async fn month(
    State(app): State<App>,
    caller: As<Rows>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Month>> {
    caller.insist_on(DOMAIN)?;
    let first = dates::month(&mut params, app.clock.now())?;
    params.end()?;
    let mut database = app.database().await?;
    let client = Client::find(&mut database, id).await?;
    let month: Option<Month> = sqlx::query_as(MONTH)
        .bind(&client.id)
        .bind(first)
        .fetch_optional(&mut *database)
        .await?;
    database.done();
    month.map(Json).ok_or_else(|| {
        Problem::not_found(
            "reading of the client in that month; GET /api/consumos/mensuales/{propietario_id} lists its months",
        )
    })
}

/// The clients beside each other in a month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsumoComparativa)]
pub struct Compared {
    /// Month as YYYY-MM.
    mes: String,
    /// Clients with a reading in it.
    total_clientes: i64,
    /// Their consumption, kWh.
    consumo_total_mes: Exact,
    /// Consumption by client, kWh; null without clients.
    consumo_promedio: Option<Exact>,
    /// The clients, the greatest consumption first; as many as `limit`.
    clientes: Vec<Month>,
}

/// A client's month, and the figures of all clients.
#[derive(Debug, FromRow)]
struct Beside {
    #[sqlx(flatten)]
    month: Month,
    total_clientes: i64,
    consumo_total_mes: Exact,
    consumo_por_cliente: Exact,
}

/// The clients beside each other in a month, the greatest consumption first
#[utoipa::path(get, path = "/api/dashboard/comparativa-mensual", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("mes" = Option<String>, Query, description = "Month as 2024-06; the present one (UTC) when not given"),
        ("limit" = Option<i64>, Query, description = "Most clients, 1 to 10000; 1000 when not given. The totals are of all"),
    ), responses((status = 200, description = "The clients", body = Compared), Refusals))]
pub async fn compared(
    State(app): State<App>,
    caller: As<Rows>,
    mut params: Params,
) -> Result<Json<Compared>> {
    caller.insist_on(DOMAIN)?;
    let first = dates::month(&mut params, app.clock.now())?;
    let limit = params.number("limit", 1, 10_000)?.unwrap_or(1_000);
    params.end()?;
    let mut database = app.database().await?;
    let rows: Vec<Beside> = sqlx::query_as(COMPARED)
        .bind(first)
        .bind(limit)
        .fetch_all(&mut *database)
        .await?;
    database.done();
    let mut compared = Compared {
        mes: first.format("%Y-%m").to_string(),
        total_clientes: 0,
        consumo_total_mes: Exact::thousandths(0).map_err(anyhow::Error::from)?,
        consumo_promedio: None,
        clientes: Vec::with_capacity(rows.len()),
    };
    for row in rows {
        compared.total_clientes = row.total_clientes;
        compared.consumo_total_mes = row.consumo_total_mes;
        compared.consumo_promedio = Some(row.consumo_por_cliente);
        compared.clientes.push(row.month);
    }
    Ok(Json(compared))
}
