//! Statistics of the last hours, for one client and for all.

use axum::extract::{Path, State};
use serde::Serialize;
use sqlx_macros::FromRow;
use utoipa::ToSchema;

use super::clients::Client;
use super::{DOMAIN, mode};
use crate::app::App;
use crate::auth::guard::{As, Rows};
use crate::docs::Refusals;
use crate::exact::Exact;
use crate::paging::Json;
use crate::params::Params;
use crate::problem::Result;

/// A client in the last 24 hours.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = ConsumoEstadisticas)]
pub struct OfClient {
    /// Client.
    propietario_id: String,
    /// Hours with a reading: the count behind the figures of consumption, which are null without any.
    lecturas: i64,
    /// Mean hour, kWh.
    consumo_promedio_24h: Option<Exact>,
    /// Least hour, kWh.
    consumo_minimo: Option<Exact>,
    /// Greatest hour, kWh.
    consumo_maximo: Option<Exact>,
    /// Mean hour of the night (0 to 5 and 23 h on the client's clock), kWh.
    consumo_noche_promedio: Option<Exact>,
    /// Anomalies.
    anomalias_detectadas: i64,
    /// Anomalies of severity `crítica`.
    anomalias_criticas: i64,
    /// Whether the publisher suspected the client in one of these hours.
    es_cliente_sospechoso: bool,
}

const OF_CLIENT: &str = "
select $1::text as propietario_id, h.*, a.*
from (
    select count(*) as lecturas, round(avg(x.v) / 1000, 3)::text as consumo_promedio_24h,
           round(min(x.v) / 1000.0, 3)::text as consumo_minimo, round(max(x.v) / 1000.0, 3)::text as consumo_maximo,
           round(avg(x.v) filter (where x.hora < 6 or x.hora = 23) / 1000, 3)::text as consumo_noche_promedio,
           coalesce(bool_or(x.m & 8 > 0), false) as es_cliente_sospechoso
    from (
        select u.v, u.m, extract(hour from i.instante at time zone $2)::int as hora
        from consumo.dias d
        cross join lateral unnest(d.wh, d.marcas) with ordinality u (v, m, k)
        cross join lateral (select d.inicio + (u.k - 1) * interval '1 hour' as instante) i
        where d.propietario_id = $1 and u.v is not null
          and d.fecha between ((now() - interval '24 hours') at time zone $2)::date and (now() at time zone $2)::date
          and i.instante > now() - interval '24 hours' and i.instante <= now()
    ) x
) h
cross join (
    select count(*) as anomalias_detectadas, count(*) filter (where a.severidad = 'crítica') as anomalias_criticas
    from consumo.anomalias a
    where a.propietario_id = $1 and a.modo = coalesce($3, (select m.modo from consumo.modos m where m.principal))
      and a.instante > now() - interval '24 hours' and a.instante <= now()
) a";

/// A client in the last 24 hours
#[utoipa::path(get, path = "/api/estadisticas/cliente/{propietario_id}", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("propietario_id" = String, Path, description = "Client"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The figures", body = OfClient), Refusals))]
pub async fn of_client(
    State(app): State<App>,
    caller: As<Rows>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<OfClient>> {
    caller.insist_on(DOMAIN)?;
    let mode = mode(&mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let client = Client::find(&mut database, id).await?;
    let figures = sqlx::query_as(OF_CLIENT)
        .bind(&client.id)
        .bind(&client.zone)
        .bind(mode)
        .fetch_one(&mut *database)
        .await?;
    database.done();
    Ok(Json(figures))
}

/// Anomalies of all clients in the last hours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsumoResumen)]
pub struct Summary {
    /// Anomalies.
    #[serde(flatten)]
    counts: Counts,
    /// The five rules that found most anomalies, the most frequent first.
    tipos_mas_frecuentes: Vec<String>,
    /// The same with their counts.
    conteo_por_tipo: Vec<Kind>,
}

/// Counts of anomalies.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = ConsumoConteos)]
pub struct Counts {
    /// Anomalies.
    total_anomalias: i64,
    /// Anomalies of severity `crítica`.
    anomalias_criticas: i64,
    /// Anomalies of severity `alta`.
    anomalias_altas: i64,
    /// Anomalies of severity `media`.
    anomalias_medias: i64,
    /// Clients with an anomaly.
    clientes_afectados: i64,
}

/// A rule, and how many anomalies it found.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
#[schema(as = ConsumoTipo)]
pub struct Kind {
    /// Rule.
    tipo: String,
    /// Anomalies.
    anomalias: i64,
}

const COUNTS: &str = "
select count(*) as total_anomalias, count(*) filter (where a.severidad = 'crítica') as anomalias_criticas,
       count(*) filter (where a.severidad = 'alta') as anomalias_altas, count(*) filter (where a.severidad = 'media') as anomalias_medias,
       count(distinct a.propietario_id) as clientes_afectados
from consumo.anomalias a
where a.modo = coalesce($1, (select m.modo from consumo.modos m where m.principal))
  and a.instante > now() - make_interval(hours => $2) and a.instante <= now()";

const KINDS: &str = "
select t.tipo, count(*) as anomalias
from consumo.anomalias a
cross join lateral unnest(a.tipos) as t (tipo)
where a.modo = coalesce($1, (select m.modo from consumo.modos m where m.principal))
  and a.instante > now() - make_interval(hours => $2) and a.instante <= now()
group by t.tipo
order by anomalias desc, t.tipo
limit 5";

/// Anomalies of all clients in the last hours
#[utoipa::path(get, path = "/api/estadisticas/resumen", tag = "consumo",
    extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("horas" = Option<i64>, Query, description = "Hours before now, 1 to 720; 24 when not given"),
        ("modo" = Option<String>, Query, description = "Way of judging: `original` or `estacional`; that of the marts when not given"),
    ), responses((status = 200, description = "The counts", body = Summary), Refusals))]
pub async fn summary(
    State(app): State<App>,
    caller: As<Rows>,
    mut params: Params,
) -> Result<Json<Summary>> {
    caller.insist_on(DOMAIN)?;
    let hours = params.number("horas", 1, 720)?.unwrap_or(24);
    let hours = i32::try_from(hours).unwrap_or(i32::MAX);
    let mode = mode(&mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let counts = sqlx::query_as(COUNTS)
        .bind(mode)
        .bind(hours)
        .fetch_one(&mut *database)
        .await?;
    let kinds: Vec<Kind> = sqlx::query_as(KINDS)
        .bind(mode)
        .bind(hours)
        .fetch_all(&mut *database)
        .await?;
    database.done();
    Ok(Json(Summary {
        counts,
        tipos_mas_frecuentes: kinds.iter().map(|kind| kind.tipo.clone()).collect(),
        conteo_por_tipo: kinds,
    }))
}
