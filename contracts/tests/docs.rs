//! The publishers' page names every entity, field and code.
#![allow(clippy::unwrap_used, missing_docs)]

use acequia_contracts::{Code, catalog};

#[test]
fn contracts_page_is_complete() {
    let page = include_str!("../../docs/contracts.md");
    let named = |what: &str| page.contains(&format!("`{what}`"));
    for domain in catalog() {
        assert!(
            page.contains(&format!("## {}", domain.name)),
            "no section {}",
            domain.name
        );
        for entity in &domain.entities {
            assert!(named(entity.name), "{} is not on the page", entity.name);
            for column in entity.columns {
                assert!(
                    named(column.name),
                    "{}.{} is not on the page",
                    entity.name,
                    column.name
                );
            }
        }
    }
    for code in Code::ALL {
        let row = format!("| `{code}` | {} |", code.stage().as_str());
        assert!(
            page.contains(&row),
            "code {code} is missing, or its stage is wrong"
        );
    }
}
