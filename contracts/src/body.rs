//! Bodies as bytes: the checks before decoding, and the check of a whole body.

use crate::MAX_BODY_BYTES;
use crate::catalog::{Entity, without_domain};
use crate::decode::{Envelope, entity_of};
use crate::rules::Context;
use crate::violation::{Code, Violation};

/// The text of a body, which comes before everything else.
///
/// # Errors
/// [`Code::TooLarge`] beyond [`MAX_BODY_BYTES`], [`Code::NotUtf8`].
pub fn body_text(body: &[u8]) -> Result<&str, Violation> {
    let size = body.len();
    if size > MAX_BODY_BYTES {
        let message = format!("has {size} bytes, at most {MAX_BODY_BYTES} are taken");
        return Err(Violation::body(Code::TooLarge, message));
    }
    std::str::from_utf8(body).map_err(|error| {
        let message = format!("is not UTF-8 from byte {} on", error.valid_up_to());
        Violation::body(Code::NotUtf8, message)
    })
}

impl Entity {
    /// Checks the bytes of a body that is sent as a message of this entity, and keeps nothing of it.
    ///
    /// # Errors
    /// As [`body_text`] and [`Entity::decode`]; also [`Code::UnknownEntity`] when the body names another entity.
    pub fn check_body(&self, body: &[u8], context: &Context) -> Result<Envelope, Vec<Violation>> {
        let text = body_text(body).map_err(|violation| vec![violation])?;
        let envelope = self.decode(text, context, &mut self.new_columns())?;
        match entity_of(text) {
            Some(named) if !self.is_named(&named) => Err(vec![Violation::field(
                Code::UnknownEntity,
                "entity",
                format!("names another entity than {}.{}", self.domain, self.name),
            )]),
            _ => Ok(envelope),
        }
    }

    /// Whether a name is this entity's, with or without the domain in front, in any case.
    fn is_named(&self, name: &str) -> bool {
        let name = without_domain(self.domain, name);
        name == self.name || name.trim().to_lowercase() == self.name
    }
}
