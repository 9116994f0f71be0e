//! Authentication of callers, and their rights.

pub mod cookie;
pub mod guard;
pub mod password;
pub mod secret;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sqlx::Postgres;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use utoipa::ToSchema;

use crate::problem::{Code, Problem, Result};

/// Role of a person or program.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees state and traces, no rows and no payloads
    Viewer,
    /// Also reads marts
    Analyst,
    /// Sends messages and sees what became of them; reads no marts
    Publisher,
    /// Reads everything, sends messages, decides about quarantine and gates
    Operator,
    /// Also keeps people and tokens
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Analyst,
        Self::Publisher,
        Self::Operator,
        Self::Admin,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Whether it has a right.
    #[must_use]
    pub const fn may(self, right: Right) -> bool {
        match right {
            Right::Look => true,
            Right::Rows => matches!(self, Self::Analyst | Self::Operator | Self::Admin),
            Right::Publish => matches!(self, Self::Publisher | Self::Operator | Self::Admin),
            Right::Payloads | Right::Operate => matches!(self, Self::Operator | Self::Admin),
            Right::Administer => matches!(self, Self::Admin),
        }
    }
}

impl sqlx::Type<Postgres> for Role {
    fn type_info() -> PgTypeInfo {
        <&str as sqlx::Type<Postgres>>::type_info()
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for Role {
    fn decode(value: PgValueRef<'r>) -> std::result::Result<Self, BoxDynError> {
        let text = <&str as sqlx::Decode<'r, Postgres>>::decode(value)?;
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("there is no role {text}").into())
    }
}

/// The right that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// See state and traces.
    Look,
    /// Read rows of marts.
    Rows,
    /// See bodies, properties and values of messages.
    Payloads,
    /// Send messages.
    Publish,
    /// Decide about quarantine and gates.
    Operate,
    /// Keep people and tokens.
    Administer,
}

impl Right {
    /// As the OpenAPI document names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Rows => "rows",
            Self::Payloads => "payloads",
            Self::Publish => "publish",
            Self::Operate => "operate",
            Self::Administer => "administer",
        }
    }
}

/// The authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name of the token or person.
    pub name: String,
    /// Whether it is a person with a session, not a program with a token.
    pub is_person: bool,
    /// Role.
    pub role: Role,
    /// Domains that the role is for; `None`: all domains, and data that belong to no domain.
    pub domains: Option<Vec<String>>,
    /// Calls per second, when the token has a rate of its own.
    pub rate: Option<u32>,
    /// End of the token or session.
    pub expires_at: DateTime<Utc>,
}

impl Caller {
    /// As the audit logs name it.
    #[must_use]
    pub fn who(&self) -> String {
        let kind = if self.is_person { "user" } else { "token" };
        format!("{kind}:{}", self.name)
    }

    /// Insists on a right.
    ///
    /// # Errors
    /// `role_insufficient`.
    pub fn insist(&self, right: Right) -> Result<()> {
        if self.role.may(right) {
            return Ok(());
        }
        let roles: Vec<_> = Role::ALL
            .into_iter()
            .filter(|role| role.may(right))
            .map(Role::as_str)
            .collect();
        Err(Problem::new(
            Code::RoleInsufficient,
            format!(
                "this needs one of the roles {}; the caller is {}",
                roles.join(", "),
                self.role.as_str()
            ),
        ))
    }

    /// Whether a domain is in scope.
    #[must_use]
    pub fn sees(&self, domain: &str) -> bool {
        match &self.domains {
            Some(domains) => domains.iter().any(|one| one == domain),
            None => true,
        }
    }

    /// Insists that a domain is in scope.
    ///
    /// # Errors
    /// `foreign_domain`.
    pub fn insist_on(&self, domain: &str) -> Result<()> {
        if self.sees(domain) {
            return Ok(());
        }
        Err(Problem::new(
            Code::ForeignDomain,
            format!(
                "the scope is {}: ask for a token of the other domain",
                self.domains.as_deref().unwrap_or_default().join(", ")
            ),
        ))
    }

    /// Insists on a scope of all domains; for actions that concern no single domain.
    ///
    /// # Errors
    /// `foreign_domain`.
    pub fn insist_on_all(&self) -> Result<()> {
        if self.domains.is_none() {
            return Ok(());
        }
        Err(Problem::new(
            Code::ForeignDomain,
            "this is about all domains: it needs a caller whose scope is all of them",
        ))
    }

    /// The domains that a list is about: those asked for, else the scope; `None` for all.
    ///
    /// # Errors
    /// `foreign_domain` when one of those asked for is outside the scope.
    pub fn scope(&self, asked: Vec<String>) -> Result<Option<Vec<String>>> {
        for domain in &asked {
            self.insist_on(domain)?;
        }
        Ok(if asked.is_empty() {
            self.domains.clone()
        } else {
            Some(asked)
        })
    }
}

/// How long a caller is believed without asking the database: a revoked token works for as long, at most.
const BELIEVED: Duration = Duration::from_secs(5);
/// Callers that are remembered.
const MANY: usize = 10_000;

/// Callers that were recognised a moment ago, by the hash of their secret.
#[derive(Debug, Default)]
pub struct Callers(Mutex<HashMap<[u8; 32], (Caller, Instant)>>);

impl Callers {
    /// The caller of a secret, if it was recognised a moment ago.
    #[must_use]
    pub fn get(&self, hash: &[u8; 32]) -> Option<Caller> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, since) = known.get(hash)?;
        (since.elapsed() < BELIEVED).then(|| caller.clone())
    }

    /// Remembers a caller.
    pub fn put(&self, hash: [u8; 32], caller: Caller) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MANY {
            known.retain(|_, (_, since)| since.elapsed() < BELIEVED);
        }
        known.insert(hash, (caller, Instant::now()));
    }

    /// Forgets everybody: a token or a person has changed.
    pub fn forget(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
