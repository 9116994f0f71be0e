//! Which rows of the quarantine a call is about: the same words as on the command line.

use acequia_contracts::Stage;
use acequia_ops::quarantine::{Filters, Id, Status};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::params::{Params, choice};
use crate::problem::{Problem, Result};
use crate::scope;

/// Conditions on rows of the quarantine. A row must meet every condition; of a list, one value.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[schema(as = QuarantineFilter)]
#[into_params(parameter_in = Query)]
pub struct Chosen {
    /// Domains; all of the scope when not given.
    pub domain: Vec<String>,
    /// Entities, without their domain; `(unknown)` for messages without one.
    pub entity: Vec<String>,
    /// Stages: `decode`, `contract`, `load`, `merge` or `broker`.
    pub stage: Vec<String>,
    /// Codes, as `orphan`.
    pub code: Vec<String>,
    /// First offending fields.
    pub field: Vec<String>,
    /// States: `open`, `replayed`, `discarded` or `resolved`; any when not given.
    #[schema(value_type = Vec<String>)]
    #[param(value_type = Vec<String>)]
    pub status: Vec<Status>,
    /// First arrived at this time or later: an instant, or a span before now as 2h.
    pub since: Option<String>,
    /// First arrived before this time.
    pub until: Option<String>,
    /// Fingerprints of groups.
    pub fingerprint: Vec<String>,
    /// Numbers of rows, or ids that messages were published with.
    pub id: Vec<String>,
    /// Programs that published them.
    pub app_id: Vec<String>,
    /// Text in the body. Only for callers who may see payloads.
    pub contains: Option<String>,
}

const STATUS: [(&str, Status); 4] = [
    ("open", Status::Open),
    ("replayed", Status::Replayed),
    ("discarded", Status::Discarded),
    ("resolved", Status::Resolved),
];

/// The conditions in the parameters of a call.
///
/// # Errors
/// When one is wrong, or a domain is outside the caller's scope.
pub fn of_params(caller: &Caller, params: &mut Params, now: DateTime<Utc>) -> Result<Filters> {
    let status: Result<Vec<_>> = params
        .list("status")
        .iter()
        .map(|text| choice("status", text, &STATUS))
        .collect();
    let chosen = Chosen {
        domain: params.list("domain"),
        entity: params.list("entity"),
        stage: params.list("stage"),
        code: params.list("code"),
        field: params.list("field"),
        status: status?,
        since: params.one("since")?,
        until: params.one("until")?,
        fingerprint: params.list("fingerprint"),
        id: params.list("id"),
        app_id: params.list("app_id"),
        contains: params.one("contains")?,
    };
    chosen.within(caller, now)
}

impl Chosen {
    /// The conditions within the caller's scope.
    ///
    /// # Errors
    /// When one is wrong, or a domain is outside the scope.
    pub fn within(self, caller: &Caller, now: DateTime<Utc>) -> Result<Filters> {
        let stages = [
            Stage::Decode,
            Stage::Contract,
            Stage::Load,
            Stage::Merge,
            Stage::Broker,
        ]
        .map(|stage| (stage.as_str(), stage));
        for stage in &self.stage {
            choice("stage", stage, &stages)?;
        }
        if self.contains.is_some() {
            // Callers without the right to read bodies must not learn their content.
            caller.insist(crate::auth::Right::Payloads)?;
        }
        let instant = |name: &str, text: &Option<String>| -> Result<Option<DateTime<Utc>>> {
            let Some(text) = text else { return Ok(None) };
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair(name, text)
                .finish();
            Params::parse(&query).instant(name, now)
        };
        let domain = scope::check(caller, self.domain)?.unwrap_or_default();
        let nul = |texts: &[String]| texts.iter().any(|text| text.contains('\0'));
        for (name, texts) in [
            ("entity", &self.entity),
            ("code", &self.code),
            ("field", &self.field),
            ("fingerprint", &self.fingerprint),
            ("app_id", &self.app_id),
            ("contains", &self.contains.iter().cloned().collect()),
        ] {
            if nul(texts) {
                return Err(Problem::parameter(name, "must not contain U+0000"));
            }
        }
        Ok(Filters {
            since: instant("since", &self.since)?,
            until: instant("until", &self.until)?,
            id: self
                .id
                .iter()
                .map(|text| {
                    text.parse()
                        .map_or_else(|_| Id::of_message(text), Id::Number)
                })
                .collect(),
            domain,
            entity: self.entity,
            stage: self.stage,
            code: self.code,
            field: self.field,
            status: self.status,
            fingerprint: self.fingerprint,
            app_id: self.app_id,
            contains: self.contains,
            ..Filters::default()
        })
    }
}
