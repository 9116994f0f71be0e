//! Electricity consumption: the hours of clients' meters, and the clients.

#[cfg(feature = "generate")]
mod generate;

use rust_decimal::Decimal;
use validator::ValidationError;

use crate::rules::{decimal, event_time, optional_event_time, trimmed};
use crate::{Code, Context, Domain, ExactDecimal, Instant, closed_enum, message, violation};

/// The domain. A reading does not wait for its client: the client's data stand beside
/// it as soon as it comes.
#[must_use]
pub fn domain() -> Domain {
    let domain = Domain::new("consumo")
        .entity::<Cliente>()
        .entity::<Lectura>();
    #[cfg(feature = "generate")]
    let domain = domain.generator(&generate::Consumo);
    domain
}

closed_enum! {
    /// Ground truth about a reading, from a publisher that knows it.
    pub enum TipoAnomalia {
        /// Sustained load at night.
        Plantacion = "plantacion_cannabis",
        /// A peak far above the usual values.
        Pico = "pico_anomalo",
        /// A meter that shows the same in every hour.
        Constante = "consumo_constante_anomalo",
        /// A meter that shows a fraction from a day on.
        Caida = "consumo_caida_anomalo",
    }
}

closed_enum! {
    /// The clock on a client's wall. Their offsets are whole hours, so that an hour of the meter is an
    /// hour of the clock.
    pub enum Zona {
        /// Peninsula and Balearic Islands.
        Madrid = "Europe/Madrid",
        /// Canary Islands.
        Canarias = "Atlantic/Canary",
        /// Ceuta and Melilla.
        Ceuta = "Africa/Ceuta",
        /// Portugal.
        Lisboa = "Europe/Lisbon",
        /// Colombia.
        Bogota = "America/Bogota",
        /// Mexico.
        Mexico = "America/Mexico_City",
        /// No zone at all.
        Utc = "UTC",
    }
}

closed_enum! {
    /// Tariff of the contract.
    pub enum Tarifa {
        /// Homes and small shops.
        DosCero = "2.0TD",
        /// Low voltage above 15 kW.
        TresCero = "3.0TD",
        /// High voltage.
        SeisUno = "6.1TD",
    }
}

message! {
    entity "cliente", staging "stg.consumo_cliente", merge "consumo.merge_clientes",
    core "consumo.clientes", key ["propietario_id"],
    defaults ["zona" = "Europe/Madrid"], hook [inserted, updated];

    /// A client, with what readings are grouped by.
    pub struct Cliente {
        /// Code of the client, as `CLI_00001`.
        #[validate(custom(function = "propietario"))]
        pub propietario_id: String,
        /// Name.
        #[serde(deserialize_with = "trimmed")]
        #[validate(length(min = 1, max = 200))]
        pub nombre: String,
        /// Tariff.
        pub tarifa: Option<Tarifa>,
        /// District.
        #[validate(length(min = 1, max = 100))]
        pub distrito: Option<String>,
        /// Clock of the client; that of Madrid when absent.
        pub zona: Option<Zona>,
    }
}

message! {
    entity "lectura", staging "stg.consumo_lectura", merge custom "consumo.merge_lecturas",
    core partitioned "consumo.lecturas", key ["propietario_id", "timestamp" as "instante"], version timestamp_procesado;

    /// The consumption of a client in an hour.
    pub struct Lectura {
        /// Code of the client, as `CLI_00001`.
        #[validate(custom(function = "propietario"))]
        pub propietario_id: String,
        /// The hour, by its beginning.
        #[validate(custom(function = "measured_at", use_context))]
        pub timestamp: Instant,
        /// The hour on the client's clock, as the publisher has it.
        #[validate(range(min = 0, max = 23))]
        pub hora: i32,
        /// Consumption in the hour, kWh, three decimals.
        #[validate(custom(function = "kwh"))]
        pub consumo_kwh: ExactDecimal,
        /// Whether the publisher suspects the client.
        pub es_sospechoso: Option<bool>,
        /// Ground truth: whether an anomaly is to be found.
        pub anomalia_esperada: Option<bool>,
        /// Ground truth: which one.
        pub tipo_anomalia: Option<TipoAnomalia>,
        /// When the publisher made the reading: the event time when there is no `ts`.
        #[validate(custom(function = "optional_event_time", use_context))]
        pub timestamp_procesado: Option<Instant>,
    }
}

/// `CLI_` and at least five digits; no more than the reference's column holds.
fn propietario(code: &str) -> Result<(), ValidationError> {
    match code.strip_prefix("CLI_") {
        Some(number)
            if (5..=46).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok(())
        }
        _ => Err(violation(
            Code::InvalidFormat,
            "must be CLI_ and at least five digits",
        )),
    }
}

/// Smart meters are of this century; a reading from before it is an error of a clock, and would be
/// kept without end in a month of its own.
///
/// Offsets of the clocks in [`Zona`] are whole hours, so an hour of the meter begins where an hour of UTC
/// does. A reading of half an hour would take the place of the whole hour, and half of the energy were lost.
fn measured_at(instant: &Instant, context: &Context) -> Result<(), ValidationError> {
    if instant.utc().timestamp() < 946_684_800 {
        return Err(violation(
            Code::InvalidDate,
            "must not be before 2000-01-01",
        ));
    }
    if !instant.begins_hour() {
        return Err(violation(
            Code::InvalidDate,
            "must be the beginning of an hour: the sum of the hour is taken, shorter intervals are not",
        ));
    }
    event_time(instant, context)
}

fn kwh(kwh: &ExactDecimal) -> Result<(), ValidationError> {
    decimal(
        *kwh,
        Decimal::ZERO,
        Decimal::ONE_THOUSAND,
        3,
        "must be between 0 and 1000",
        "must have at most three decimals",
    )
}
