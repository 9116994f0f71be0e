//! The publisher knows domains from the catalog only: none of their names stands in its code.

use std::path::Path;

use acequia_contracts::catalog;

#[test]
fn no_name_of_a_domain_stands_in_the_code() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = 0;
    for file in std::fs::read_dir(source).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        files += 1;
        for domain in catalog() {
            let entities = domain.entities.iter().map(|entity| entity.name);
            for name in entities.chain([domain.name]) {
                let words = text.split(|c: char| !c.is_alphanumeric());
                for word in words {
                    assert!(
                        word != name && word != format!("{name}s"),
                        "{}: {name}",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(files > 5);
}
