//! The committed YAML is what the types say, and is what an API server takes.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use serde_json::Value;

#[test]
fn committed_yaml_is_what_the_types_say() {
    for (name, definition) in flotilla_crds::definitions() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let committed: Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(committed, definition, "{name} is stale: run `just crds-generate`");
    }
}

#[test]
fn documents_say_what_the_types_say() {
    for (name, text) in flotilla_crds::reference::documents() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "docs/{name} is stale: run `just crds-generate`"
        );
    }
}

/// A chart cannot reach outside itself, so that it carries copies.
#[test]
fn chart_carries_the_same_definitions() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chart = own.join("../charts/flotilla/files/crds");
    let mut names: Vec<String> = std::fs::read_dir(&chart)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["cluster.yaml", "topic.yaml", "user.yaml"]);
    for name in names {
        let read = |directory: &Path| std::fs::read_to_string(directory.join(&name)).unwrap();
        assert_eq!(
            read(&chart),
            read(own),
            "{name} in the chart is stale: run `just crds-generate`"
        );
    }
}

/// Every schema inside a definition, with the way to it.
fn schemas<'a>(way: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    found.push((way.to_owned(), schema));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        schemas(&format!("{way}.{name}"), property, found);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            schemas(&format!("{way}{mark}"), &schema[key], found);
        }
    }
}

#[test]
fn schemas_are_structural_and_described() {
    for (name, definition) in flotilla_crds::definitions() {
        let mut found = Vec::new();
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schemas("spec", &root["properties"]["spec"], &mut found);
        assert!(found.len() > 5, "{name}");
        for (way, schema) in found {
            for word in ["$ref", "oneOf", "definitions", "patternProperties"] {
                assert!(schema.get(word).is_none(), "{name}: {way} says {word}");
            }
            let typed = schema["type"].is_string()
                || schema["x-kubernetes-preserve-unknown-fields"] == true
                || schema["x-kubernetes-int-or-string"] == true;
            assert!(typed, "{name}: {way} has no type: {schema}");
        }
    }
}

#[test]
fn resources_have_category_short_name_and_the_columns_that_users_look_for() {
    for (name, definition) in flotilla_crds::definitions() {
        let names = &definition["spec"]["names"];
        assert_eq!(names["categories"], serde_json::json!(["flotilla"]), "{name}");
        assert_eq!(names["shortNames"].as_array().map(Vec::len), Some(1), "{name}");
        let columns: Vec<&str> = definition["spec"]["versions"][0]["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|column| column["priority"].is_null())
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert!(
            columns.ends_with(&["Ready", "Reason", "Age"]),
            "{name}: {columns:?}"
        );
        assert!(
            definition["spec"]["versions"][0]["subresources"]["status"].is_object(),
            "{name}"
        );
    }
}

/// What the API server fills in or writes otherwise shows as drift from what users wrote.
#[test]
fn api_server_adds_nothing_to_what_users_write() {
    for (name, definition) in flotilla_crds::definitions() {
        let text = definition.to_string();
        for word in ["\"default\":", "\"nullable\":", "uint", ".0,"] {
            assert!(!text.contains(word), "{name} says {word}");
        }
    }
}

/// But for what Kubernetes itself defines or bounds.
#[test]
fn every_text_and_list_in_a_specification_has_a_bound() {
    for (name, definition) in flotilla_crds::definitions() {
        let mut found = Vec::new();
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schemas("spec", &root["properties"]["spec"], &mut found);
        let unbounded: Vec<String> = found
            .into_iter()
            .filter(|(way, _)| {
                ![".resources", ".selector", ".annotations{}"]
                    .iter()
                    .any(|kubernetes| way.contains(kubernetes))
            })
            .filter(|(_, schema)| match schema["type"].as_str() {
                Some("string") => schema["maxLength"].is_null() && schema["enum"].is_null(),
                Some("array") => schema["maxItems"].is_null(),
                Some("object") if schema["additionalProperties"].is_object() => {
                    schema["maxProperties"].is_null()
                }
                Some("integer") => {
                    schema["minimum"].is_null() && schema["x-kubernetes-validations"].is_null()
                }
                _ => false,
            })
            .map(|(way, _)| way)
            .collect();
        assert_eq!(unbounded, [""; 0], "{name}");
    }
}

/// Client-side apply keeps a copy in an annotation of at most 256 KiB.
#[test]
fn definitions_fit_into_the_annotation_of_client_side_apply() {
    for (name, definition) in flotilla_crds::definitions() {
        let size = definition.to_string().len();
        assert!(size < 200 * 1024, "{name} has {size} bytes");
    }
}
