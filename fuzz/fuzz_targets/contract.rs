//! Any body for any entity: it is taken whole or refused with reasons, and never half.
#![no_main]

use acequia_contracts::{Context, Values, catalog, entity_of};
use libfuzzer_sys::fuzz_target;

fn rows(values: &Values) -> usize {
    match values {
        Values::Int(values) => values.len(),
        Values::BigInt(values) => values.len(),
        Values::Float(values) => values.len(),
        Values::Bool(values) => values.len(),
        Values::Text(values) => values.len(),
        Values::Decimal(values) => values.len(),
        Values::Date(values) => values.len(),
        Values::Timestamp(values) => values.len(),
    }
}

// The entity's place, then the body.
fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let Ok(body) = std::str::from_utf8(body) else {
        return;
    };
    let _ = entity_of(body);
    let entities: Vec<_> = catalog().iter().flat_map(|domain| &domain.entities).collect();
    let entity = entities[usize::from(*choice) % entities.len()];
    let mut columns = entity.new_columns();
    let taken = match entity.decode(body, &Context::now(), &mut columns) {
        Ok(_) => 1,
        Err(violations) => {
            assert!(!violations.is_empty());
            0
        }
    };
    assert!(columns.iter().all(|values| rows(values) == taken));
});
