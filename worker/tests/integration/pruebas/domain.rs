//! A domain of tests alone, with every kind of entity that a generated merge serves. The product does
//! not contain it.

use acequia_contracts::{Date, Domain, ExactDecimal, message};

message! {
    entity "familia", staging "stg.pruebas_familia", merge "pruebas.merge_familias",
    core "pruebas.familias", key ["id_familia" as "id"], aliases [("id", "id_familia")];

    /// Parent that articles infer and movements wait for.
    pub struct Familia {
        /// Number.
        #[validate(range(min = 1))]
        pub id_familia: i32,
        /// Name; null as long as the row is inferred.
        pub nombre: Option<String>,
    }
}

message! {
    entity "articulo", staging "stg.pruebas_articulo", merge "pruebas.merge_articulos",
    core "pruebas.articulos", key ["id_articulo"], dated revisado_en,
    parents [(["id_familia"], "familia", infer), (["id_suplente"], "familia", infer)], defaults ["precio" = 9.5, "estado" = "it's new"],
    hook [inserted, updated, deleted], deletes allowed;

    /// An article: goes and comes back.
    pub struct Articulo {
        /// Number.
        #[validate(range(min = 1))]
        pub id_articulo: i32,
        /// Family, if it has one.
        pub id_familia: Option<i32>,
        /// Family that stands in for it: a second reference to the same table.
        pub id_suplente: Option<i32>,
        /// Name.
        pub nombre: String,
        /// Price.
        pub precio: Option<ExactDecimal>,
        /// State.
        pub estado: Option<String>,
        /// Day of the last look at it.
        pub revisado_en: Option<Date>,
    }
}

message! {
    entity "tarifa", staging "stg.pruebas_tarifa", merge "pruebas.merge_tarifas",
    core partitioned "pruebas.tarifas", key ["id_articulo", "codigo"],
    parents [(["id_articulo"], "articulo")], deletes allowed;

    /// A tariff of an article: a key of two columns, one of them a reference.
    pub struct Tarifa {
        /// Article.
        pub id_articulo: i32,
        /// Code.
        pub codigo: String,
        /// Amount.
        pub importe: i32,
    }
}

message! {
    entity "rebaja", staging "stg.pruebas_rebaja", merge "pruebas.merge_rebajas",
    core "pruebas.rebajas", key ["id_rebaja"],
    parents [(["id_articulo", "codigo"], "tarifa"), (["id_familia"], "familia", unknown)];

    /// A discount: of a tariff, if both of its columns are there, and of a family that may be unknown.
    pub struct Rebaja {
        /// Number.
        pub id_rebaja: i32,
        /// Article.
        pub id_articulo: Option<i32>,
        /// Code of the tariff.
        pub codigo: Option<String>,
        /// Family.
        pub id_familia: Option<i32>,
        /// Per cent.
        pub tanto: i32,
    }
}

message! {
    entity "movimiento", staging "stg.pruebas_movimiento", merge append "pruebas.merge_movimientos",
    core partitioned "pruebas.movimientos", key ["id_articulo"],
    parents [(["id_articulo"], "articulo"), (["id_familia"], "familia")];

    /// A movement: each message is a row.
    pub struct Movimiento {
        /// Article.
        pub id_articulo: i32,
        /// Family.
        pub id_familia: Option<i32>,
        /// Units.
        pub unidades: i32,
    }
}

/// The domain, which lives as long as the program.
pub fn domain() -> &'static Domain {
    static DOMAIN: std::sync::LazyLock<Domain> = std::sync::LazyLock::new(|| {
        let domain = Domain::new("pruebas")
            .entity::<Familia>()
            .entity::<Articulo>()
            .entity::<Tarifa>()
            .entity::<Rebaja>()
            .entity::<Movimiento>();
        domain.check().unwrap();
        domain
    });
    &DOMAIN
}
