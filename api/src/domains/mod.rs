//! Routes that belong to one domain: those of the reference systems, as thin adapters over marts and tables.
//!
//! A domain has a module here and a line in [`guarded`]. Nothing else in the API knows which domains have routes of their own:
//! the document marks them by the domain's tag.

pub mod consumo;
pub mod index;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The routes of every domain that has some. All of them need a caller.
pub fn guarded() -> OpenApiRouter<App> {
    [consumo::routes()]
        .into_iter()
        .fold(OpenApiRouter::new(), OpenApiRouter::merge)
}
