//! Common parts of every route's documentation.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use crate::problem::{Code, PROBLEM_JSON};

/// The refusals that any route may answer with, by class: their codes are the same everywhere.
#[derive(Debug)]
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut codes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for code in Code::ALL {
            let class = if code.status().is_client_error() {
                "4XX"
            } else {
                "5XX"
            };
            codes.entry(class).or_default().push(code.as_str());
        }
        let response = |(class, codes): (&str, Vec<&str>)| {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build();
            let response = ResponseBuilder::new()
                .description(codes.join(", "))
                .content(PROBLEM_JSON, content)
                .build();
            (class.to_owned(), RefOr::T(response))
        };
        codes.into_iter().map(response).collect()
    }
}
