//! A day of a made-up client: its messages by the generator of the contract, and its figures.

use acequia_contracts::domain;
use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use clap::Command;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::READING;
use crate::domains::consumo::DOMAIN;
use crate::exact::Exact;

/// Id of the client that the generator makes with `--clients 1`.
const FIRST: &str = "CLI_00001";

/// An hour: the body of a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ConsumoGenerado)]
pub struct Hour {
    /// Client.
    propietario_id: String,
    /// Beginning of the hour, by the clock of Madrid.
    #[schema(format = DateTime)]
    timestamp: String,
    /// Hour on that clock.
    hora: i32,
    /// Consumption, kWh.
    consumo_kwh: Exact,
    /// Whether the client is one of whom there is something to be found.
    es_sospechoso: bool,
    /// Whether there is something in this hour.
    anomalia_esperada: bool,
    /// What.
    tipo_anomalia: Option<String>,
    /// When the reading was made.
    timestamp_procesado: DateTime<Utc>,
}

/// The figures of a day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsumoReporte)]
pub struct Report {
    /// Client.
    propietario_id: String,
    /// Day on the clock of Madrid.
    fecha: NaiveDate,
    /// Whether the client is one of whom there is something to be found.
    es_sospechoso: bool,
    /// Consumption, kWh.
    consumo_total_24h: Exact,
    /// Mean hour, kWh.
    consumo_promedio_horario: Exact,
    /// Consumption at night (0 to 5 and 23 h), kWh.
    consumo_noche: Exact,
    /// Consumption at the peak (18 to 22 h), kWh.
    consumo_punta: Exact,
    /// Share of the night, percent.
    pct_noche: Exact,
    /// Whether there is something to be found.
    anomalia_detectada: bool,
    /// The first kind of it.
    tipo_anomalia: Option<String>,
}

/// A day of a client.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsumoDia)]
pub struct Day {
    /// Its hours: 24, 23 or 25 when clocks are changed.
    consumos_horarios: Vec<Hour>,
    /// Its figures.
    reporte_diario: Report,
}

/// The message bodies of a client's day. The same arguments always give the same bodies.
///
/// # Errors
/// When the domain has no generator, or other options.
pub fn bodies(client: &str, suspicious: bool, date: NaiveDate) -> anyhow::Result<Vec<String>> {
    let generator = domain(DOMAIN).and_then(|domain| domain.generator);
    let generator = generator.context("the domain has no generator")?;
    let (share, start) = (if suspicious { "100" } else { "0" }, date.to_string());
    let options = [
        "--clients",
        "1",
        "--days",
        "1",
        "--profile",
        "reference",
        "--suspicious",
        share,
        "--start",
        &start,
    ];
    let command = generator.options(Command::new(DOMAIN).no_binary_name(true));
    let options = command.try_get_matches_from(options)?;
    let digest = Sha256::digest(format!("{client} {date}"));
    let seed = digest
        .iter()
        .take(8)
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    let name = |client: &str| format!("\"propietario_id\":\"{client}\"");
    generator
        .generate(&options, seed)?
        .filter(|message| message.entity == READING)
        .map(|message| Ok(String::from_utf8(message.body)?.replace(&name(FIRST), &name(client))))
        .collect()
}

impl Day {
    /// The day of these messages.
    ///
    /// # Errors
    /// If a body does not have the generator's form.
    pub fn of(
        client: &str,
        suspicious: bool,
        date: NaiveDate,
        bodies: &[String],
    ) -> anyhow::Result<Self> {
        let hours: Vec<Hour> = bodies
            .iter()
            .map(|body| serde_json::from_str(body))
            .collect::<serde_json::Result<_>>()?;
        let sum = |of: fn(i32) -> bool| -> anyhow::Result<i64> {
            let chosen = hours.iter().filter(|hour| of(hour.hora));
            chosen.map(|hour| watt_hours(&hour.consumo_kwh)).sum()
        };
        let (total, night) = (sum(|_| true)?, sum(|hour| hour < 6 || hour == 23)?);
        let count = i64::try_from(hours.len())?.max(1);
        let kind = hours.iter().find_map(|hour| hour.tipo_anomalia.clone());
        Ok(Self {
            reporte_diario: Report {
                propietario_id: client.to_owned(),
                fecha: date,
                es_sospechoso: suspicious,
                consumo_total_24h: Exact::thousandths(total)?,
                consumo_promedio_horario: Exact::thousandths(rounded(total, count))?,
                consumo_noche: Exact::thousandths(night)?,
                consumo_punta: Exact::thousandths(sum(|hour| (18..=22).contains(&hour))?)?,
                pct_noche: Exact::thousandths(rounded(night * 100_000, total.max(1)))?,
                anomalia_detectada: hours.iter().any(|hour| hour.anomalia_esperada),
                tipo_anomalia: kind,
            },
            consumos_horarios: hours,
        })
    }
}

/// A quotient of numbers that are not negative, to the nearest whole number.
const fn rounded(number: i64, by: i64) -> i64 {
    (number + by / 2) / by
}

/// A consumption that has three decimals.
fn watt_hours(kwh: &Exact) -> anyhow::Result<i64> {
    let (whole, rest) = kwh.as_str().split_once('.').context("no decimals")?;
    anyhow::ensure!(rest.len() == 3, "not three decimals");
    Ok(format!("{whole}{rest}").parse()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_day_follows_from_client_and_date() {
        let date = "2024-06-10".parse().unwrap();
        let one = bodies("CLI_00007", false, date).unwrap();
        assert_eq!(one, bodies("CLI_00007", false, date).unwrap());
        assert_eq!(one.len(), 24);
        let of = |client: &str, suspicious, date: &str| {
            let bodies = bodies(client, suspicious, date.parse().unwrap()).unwrap();
            let day = Day::of(client, suspicious, date.parse().unwrap(), &bodies).unwrap();
            let kwh = day
                .consumos_horarios
                .iter()
                .map(|hour| hour.consumo_kwh.as_str().to_owned());
            kwh.collect::<Vec<_>>()
        };
        let same = of("CLI_00007", false, "2024-06-10");
        assert_ne!(same, of("CLI_00008", false, "2024-06-10"));
        assert_ne!(same, of("CLI_00007", false, "2024-06-11"));
        assert_eq!(of("CLI_00007", true, "2024-10-27").len(), 25);
        assert_eq!(of("CLI_00007", true, "2024-03-31").len(), 23);
    }

    #[test]
    fn figures_are_of_the_hours() {
        let hour = |hora, kwh: &str, kind: &str| {
            format!(
                r#"{{"propietario_id":"CLI_00001","timestamp":"x","hora":{hora},"consumo_kwh":{kwh},"es_sospechoso":true,
                "anomalia_esperada":{},"tipo_anomalia":{kind},"timestamp_procesado":"2024-06-10T01:00:00Z","ts":"y"}}"#,
                kind != "null"
            )
        };
        let bodies = [
            hour(23, "0.100", "null"),
            hour(5, "0.201", "\"pico_anomalo\""),
            hour(6, "1.000", "null"),
            hour(18, "2.000", "\"otro\""),
        ];
        let day = Day::of("CLI_00001", true, NaiveDate::MIN, &bodies)
            .unwrap()
            .reporte_diario;
        assert_eq!(day.consumo_total_24h.as_str(), "3.301");
        assert_eq!(day.consumo_promedio_horario.as_str(), "0.825");
        assert_eq!(day.consumo_noche.as_str(), "0.301");
        assert_eq!(day.consumo_punta.as_str(), "2.000");
        assert_eq!(day.pct_noche.as_str(), "9.118");
        assert_eq!(day.tipo_anomalia.unwrap(), "pico_anomalo");
        assert!(day.anomalia_detectada);
    }
}
