//! `publisher contracts`.

use std::fs;
use std::path::Path;
use std::process::Output;

use acequia_contracts::{catalog, schema};
use serde_json::{Value, json};

use super::{publisher, run, stderr, temporary};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(output)))
}

#[tokio::test]
async fn an_export_has_a_file_for_each_entity_and_the_same_bytes_each_time() {
    let folder = temporary("contracts");
    let dir = folder.join("new");
    let path = dir.to_str().unwrap();
    let first = run(publisher(&["contracts", "export", path, "--json"])).await;
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let entities: Vec<_> = catalog()
        .iter()
        .flat_map(|domain| &domain.entities)
        .collect();
    let result = json(&first);
    assert_eq!(result["files"], entities.len() + 1);
    assert_eq!(
        result["written"].as_array().unwrap().len(),
        entities.len() + 1
    );
    for entity in &entities {
        let file = dir.join(format!("{}.{}.json", entity.domain, entity.name));
        assert_eq!(read(&file), schema(entity));
    }
    let document = read(&dir.join("asyncapi.json"));
    assert_eq!(document["asyncapi"], "3.1.0");
    let queue = acequia_net::topology::queue_of(entities[0].domain);
    assert_eq!(document["channels"][&queue]["address"], queue);

    // Nothing is written again, nor left behind by an entity that is gone.
    let modified = |name: &str| fs::metadata(dir.join(name)).unwrap().modified().unwrap();
    let before = modified("asyncapi.json");
    let mut gone = schema(entities[0]);
    gone["title"] = "old.thing".into();
    fs::write(dir.join("old.thing.json"), gone.to_string()).unwrap();
    fs::write(dir.join("package.json"), "{}").unwrap();
    fs::write(dir.join("my.notes.json"), "{\"title\":\"other\"}").unwrap();
    let again = run(publisher(&["contracts", "export", path, "--json"])).await;
    assert_eq!(
        json(&again),
        json!({"files": entities.len() + 1, "written": [], "removed": ["old.thing.json"]})
    );
    assert_eq!(modified("asyncapi.json"), before);
    assert!(dir.join("package.json").exists() && dir.join("my.notes.json").exists());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), entities.len() + 3);
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_check_names_what_breaks_and_ends_in_1() {
    let dir = temporary("earlier");
    let path = dir.to_str().unwrap();
    let check = async |arguments: &[&str]| {
        let mut command = publisher(&["contracts", "check", "--against", path]);
        command.args(arguments);
        run(command).await
    };
    let nowhere = check(&[]).await;
    assert_eq!(nowhere.status.code(), Some(2));
    run(publisher(&["contracts", "export", path])).await;
    let same = check(&["--json"]).await;
    assert_eq!(same.status.code(), Some(0), "{}", stderr(&same));
    assert_eq!(json(&same)["breaking"], json!([]));

    // An earlier contract that took more.
    let entity = &catalog()[0].entities[0];
    let name = format!("{}.{}", entity.domain, entity.name);
    let file = dir.join(format!("{name}.json"));
    let mut earlier = read(&file);
    earlier["properties"]["nickname"] = json!({"type": ["string", "null"]});
    fs::write(&file, earlier.to_string()).unwrap();
    earlier["title"] = "old.thing".into();
    fs::write(dir.join("old.thing.json"), earlier.to_string()).unwrap();
    let found = check(&["--json"]).await;
    assert_eq!(found.status.code(), Some(1));
    let found = json(&found);
    let told: Vec<_> = found["breaking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["entity"], one["field"], one["change"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!([name, "nickname", "field_removed"]),
            json!(["old.thing", "", "entity_removed"])
        ]
    );
    let text = check(&[]).await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains(&format!(
            "{name} nickname: field_removed: is not known any more"
        )),
        "{text}"
    );
    assert!(text.contains("old.thing: entity_removed: "), "{text}");

    fs::write(&file, "no json").unwrap();
    let broken = check(&[]).await;
    assert_eq!(broken.status.code(), Some(2));
    assert!(
        stderr(&broken).contains("is no JSON"),
        "{}",
        stderr(&broken)
    );
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    let empty = check(&[]).await;
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("has no exported contracts"));
    fs::remove_dir_all(dir).unwrap();
}
