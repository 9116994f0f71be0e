//! Rows of a mart as a Parquet file. The file is whole before its first byte is sent, so a refusal is a problem as
//! everywhere; a file without its end is none to any reader.

use acequia_ops::marts::{Column, Mart, Values};
use anyhow::Context as _;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::rows::Reliance;
use crate::problem::{Code, FieldError, Problem, Result};

/// One file is made at a time: that takes a processor and some megabytes.
static MAKING: Semaphore = Semaphore::const_new(1);

/// A Parquet file.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct ParquetFile(Vec<u8>);

impl IntoResponse for ParquetFile {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// Makes the file of a page. Its metadata say what the headers say, which mart it is of, and what its columns mean.
///
/// # Errors
/// `not_acceptable` when a column has a value that no type of the format holds.
pub async fn file(values: Values, mart: Mart, reliance: Reliance) -> Result<ParquetFile> {
    let turn = MAKING.acquire().await.context("a turn")?;
    // The turn ends with the file, also when the call was given up meanwhile.
    let making = tokio::task::spawn_blocking(move || {
        let made = make(values, &mart, &reliance);
        drop(turn);
        made
    });
    making.await.context("a Parquet file")?.map(ParquetFile)
}

fn make(values: Values, mart: &Mart, reliance: &Reliance) -> Result<Vec<u8>> {
    let columns =
        serde_json::to_string::<[Column]>(&values.columns).map_err(anyhow::Error::from)?;
    let table = values.table().map_err(|refused| {
        let detail = format!(
            "{}: {}; leave the column out by `columns`, or ask for another media type",
            refused.column, refused.why
        );
        let error = FieldError {
            field: refused.column,
            code: Code::NotAcceptable.as_str().into(),
            message: refused.why,
        };
        Problem::new(Code::NotAcceptable, detail).with_errors(vec![error])
    })?;
    let mut about = vec![("mart", mart.mart.as_str()), ("columns", &columns)];
    if let Some(text) = &mart.about {
        about.push(("about", text));
    }
    about.extend(reliance.iter().map(|(key, value)| (*key, value.as_str())));
    Ok(table.file(&about)?)
}
