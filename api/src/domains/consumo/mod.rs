//! The reference system of electricity consumption: its routes of readings, anomalies, statistics and months, and those of
//! its generator. docs/api.md says where they differ from the original, and why.

mod anomalies;
mod clients;
mod dates;
mod generate;
mod monthly;
mod readings;
mod statistics;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::params::Params;
use crate::problem::{Problem, Result};

/// The domain of every route here.
const DOMAIN: &str = "consumo";

/// `ú` and `í` as some clients send them, beside `%C3%BA` and `%C3%AD`, which the document has.
const OTHER_SPELLINGS: [[&str; 2]; 2] = [["%c3%ba", "%c3%ad"], ["ú", "í"]];

/// The routes. Each accented path has an ASCII one beside it.
pub fn routes() -> OpenApiRouter<App> {
    let mut routes = OpenApiRouter::new()
        .routes(routes!(readings::last_day))
        .routes(routes!(readings::last_day_accented))
        .routes(routes!(readings::range))
        .routes(routes!(anomalies::latest))
        .routes(routes!(anomalies::latest_accented))
        .routes(routes!(anomalies::of_client))
        .routes(routes!(anomalies::critical))
        .routes(routes!(anomalies::critical_accented))
        .routes(routes!(anomalies::top))
        .routes(routes!(statistics::of_client))
        .routes(routes!(statistics::summary))
        .routes(routes!(monthly::year))
        .routes(routes!(monthly::month))
        .routes(routes!(monthly::compared))
        .routes(routes!(generate::client))
        .routes(routes!(generate::all))
        .routes(routes!(generate::batch));
    for [u, i] in OTHER_SPELLINGS {
        routes = routes
            .route(
                &format!("/api/consumos/{u}ltimas24h/{{propietario_id}}"),
                get(readings::last_day_accented),
            )
            .route(
                &format!("/api/anomalias/{u}ltimas"),
                get(anomalies::latest_accented),
            )
            .route(
                &format!("/api/anomalias/cr{i}ticas"),
                get(anomalies::critical_accented),
            );
    }
    routes
}

/// Parameter `modo`: a way of judging; `None` for the one that the marts show.
fn mode(params: &mut Params) -> Result<Option<&'static str>> {
    let modes = ["original", "estacional"].map(|mode| (mode, mode));
    params.choice("modo", &modes)
}

/// A parameter that must be given.
fn required(params: &mut Params, name: &str) -> Result<String> {
    params
        .one(name)?
        .ok_or_else(|| Problem::parameter(name, "must be given"))
}

/// An instant as the client's clock shows it, with its offset, which is of whole hours.
macro_rules! local {
    ($at:literal, $zone:literal) => {
        concat!(
            "to_char(",
            $at,
            " at time zone ",
            $zone,
            ", 'YYYY-MM-DD\"T\"HH24:MI:SS') || to_char(extract(epoch from (",
            $at,
            " at time zone ",
            $zone,
            ") - (",
            $at,
            " at time zone 'UTC')) / 3600, 'SG00') || ':00'"
        )
    };
}
use local;
