//! Errors as callers see them: problem details by RFC 9457, each with a code of a closed list.

use std::borrow::Cow;
use std::sync::Arc;

use acequia_contracts::Violation;
use acequia_ops::quarantine::{BrokerLost, Stale};
use acequia_store::failure::{Failure, describe};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::precondition;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What is wrong with one field, parameter or line. It never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Field of the body with dots between levels, or name of the parameter; empty for the body as a whole.
    pub field: String,
    /// Code, from the list of docs/contracts.md for messages.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
}

impl From<Violation> for FieldError {
    fn from(violation: Violation) -> Self {
        Self {
            field: violation.path.into_owned(),
            code: violation.code.as_str().into(),
            message: violation.message,
        }
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// Code of a refusal. Codes are added to, never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it is sent.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Its HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "A parameter is wrong";
    InvalidBody = "invalid_body", BAD_REQUEST, "The body cannot be read";
    InvalidCursor = "invalid_cursor", BAD_REQUEST, "The cursor belongs to another list";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "No valid token or session";
    Expired = "expired", UNAUTHORIZED, "Token or session has expired";
    WrongPassword = "wrong_password", UNAUTHORIZED, "Name or password is wrong";
    RoleInsufficient = "role_insufficient", FORBIDDEN, "The role does not allow this";
    ForeignDomain = "foreign_domain", FORBIDDEN, "The domain is outside the scope of the caller";
    CrossSite = "cross_site", FORBIDDEN, "A call with a cookie must come from the console itself";
    NotFound = "not_found", NOT_FOUND, "There is nothing here";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The route has no such method";
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, "None of the accepted media types is offered";
    Conflict = "conflict", CONFLICT, "The state does not allow this";
    KeyInFlight = "idempotency_in_flight", CONFLICT, "A call with this Idempotency-Key is under way";
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "It has changed since it was read";
    PreconditionRequired = "precondition_required", PRECONDITION_REQUIRED, "An edit says which state it was made from";
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    UnsupportedType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The media type of the body is not taken";
    InvalidMessage = "invalid_message", UNPROCESSABLE_ENTITY, "The message breaks its contract";
    KeyReused = "idempotency_mismatch", UNPROCESSABLE_ENTITY, "The Idempotency-Key came before with another body";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many calls";
    Internal = "internal", INTERNAL_SERVER_ERROR, "A defect of the API";
    DatabaseUnavailable = "database_unavailable", SERVICE_UNAVAILABLE, "The database does not answer";
    BrokerUnavailable = "broker_unavailable", SERVICE_UNAVAILABLE, "The broker does not answer";
    NotConfigured = "not_configured", SERVICE_UNAVAILABLE, "This API was started without what the call needs";
    Busy = "busy", SERVICE_UNAVAILABLE, "Too many calls are under way";
    Timeout = "timeout", GATEWAY_TIMEOUT, "The answer took too long";
}

/// A refusal, as the caller sees it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Why.
    pub code: Code,
    /// A sentence that says what to do.
    pub detail: String,
    /// Single fields, parameters or lines.
    pub errors: Vec<FieldError>,
    /// Seconds after which another attempt makes sense.
    pub retry_after: Option<u64>,
}

/// Either an answer or a refusal.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Shown<'a> {
    /// A name of the kind of problem: `urn:acequia:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// Stable code.
    code: &'static str,
    /// What happened and what to do.
    detail: &'a str,
    /// Id of the request, also in the header X-Request-Id and in the log.
    instance: &'a str,
    /// What is wrong with single fields, parameters or lines.
    errors: &'a [FieldError],
}

impl Problem {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// A wrong parameter.
    #[must_use]
    pub fn parameter(name: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let mut problem = Self::new(Code::InvalidParameter, format!("{name}: {message}"));
        problem.errors.push(FieldError {
            field: name.to_owned(),
            code: Code::InvalidParameter.as_str().into(),
            message,
        });
        problem
    }

    /// Nothing of that name, or nothing that the caller may know of.
    #[must_use]
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what}"))
    }

    /// With what is wrong with single fields.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// With the time after which another attempt makes sense.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// As it is sent.
    #[must_use]
    pub fn body(&self, instance: &str) -> String {
        let shown = Shown {
            kind: format!("urn:acequia:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            instance,
            errors: &self.errors,
        };
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    /// The outermost layer writes the body: it knows the id of the request.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"acequia\""),
            );
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let sqlstate = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        if sqlstate.as_deref() == Some("57014") {
            return Self::new(
                Code::Timeout,
                "the database took too long: narrow the filters, or ask for fewer rows",
            );
        }
        if sqlstate.as_deref() == Some("53300") {
            warn!(
                event = "database.full",
                error = describe(&error),
                "a call got no connection"
            );
            return Self::new(
                Code::Busy,
                "the server has no connection left for this login: try again; if it goes on, raise the connection limit of the role (alter role), or max_connections",
            )
            .retry_after(1);
        }
        match Failure::of(&error) {
            Failure::Down | Failure::Transient => {
                warn!(
                    event = "database.failed",
                    error = describe(&error),
                    "a call failed"
                );
                Self::new(
                    Code::DatabaseUnavailable,
                    "try again in a moment; if it goes on, look at /readyz and at the database",
                )
                .retry_after(2)
            }
            Failure::BadData | Failure::Broken => Self::internal(&anyhow::Error::new(error)),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        if error.is::<Stale>() {
            return precondition::stale();
        }
        if error.is::<BrokerLost>() {
            warn!(
                event = "broker.lost",
                error = format!("{error:#}"),
                "messages were not confirmed"
            );
            return Self::new(
                Code::BrokerUnavailable,
                "the broker was lost on the way: what it confirmed is done, the rest is as it was. Try again when /readyz says that it is back",
            )
            .retry_after(5);
        }
        match error.downcast::<sqlx::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::internal(&error),
        }
    }
}

impl Problem {
    /// A defect. The cause goes to the log only.
    #[must_use]
    pub fn internal(error: &anyhow::Error) -> Self {
        // The text of PostgreSQL may repeat values; its code and the place do not.
        let sqlx = error.downcast_ref::<sqlx::Error>();
        let text = sqlx.map_or_else(|| format!("{error:#}"), describe);
        error!(event = "call.failed", error = text, "a call failed");
        Self::new(
            Code::Internal,
            "report it with the id of the request; the log has the cause",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_refusals() {
        let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn a_problem_names_code_field_and_request() {
        let body = Problem::parameter("limit", "must be a number").body("r-1");
        let shown: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!(shown["code"], "invalid_parameter");
        assert_eq!(shown["status"], 400);
        assert_eq!(shown["instance"], "r-1");
        assert_eq!(shown["errors"][0]["field"], "limit");
    }
}
