//! What every route's documentation has in common.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use crate::problem::{Code, PROBLEM_JSON};

/// The refusals that any route may answer with.
#[derive(Debug)]
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut codes: BTreeMap<StatusCode, Vec<&str>> = BTreeMap::new();
        for code in Code::ALL {
            codes.entry(code.status()).or_default().push(code.as_str());
        }
        let response = |(status, codes): (StatusCode, Vec<&str>)| {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build();
            let response = ResponseBuilder::new()
                .description(codes.join(", "))
                .content(PROBLEM_JSON, content)
                .build();
            (status.as_u16().to_string(), RefOr::T(response))
        };
        codes.into_iter().map(response).collect()
    }
}
