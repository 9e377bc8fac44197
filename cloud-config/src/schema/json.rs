//! The schema as JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::{Key, Kind, ROOT, Table};
use crate::check::FLAG_WORDS;

/// Hyphens are left out: an editor that completes should offer one spelling.
pub fn json_schema() -> Value {
    let mut schema = table(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Strake cloud-config");
    schema
}

fn table(table: &Table) -> Value {
    let properties: Map<String, Value> = table
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    schema["description"] = json!(key.doc);
    if key.deprecated.is_some() {
        schema["deprecated"] = json!(true);
    }
    schema
}

fn kind(kind_of: &Kind) -> Value {
    match kind_of {
        Kind::Text(format) if format.pattern.is_empty() => {
            json!({"type": ["string", "number", "boolean"]})
        }
        Kind::Text(format) => {
            json!({"type": ["string", "number", "boolean"], "pattern": format.pattern})
        }
        Kind::Flag => json!({"anyOf": [{"type": "boolean"}, {"enum": FLAG_WORDS}]}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number => json!({"type": "number", "minimum": 0}),
        // YAML 1.1 readers make a truth value of `off`.
        Kind::Choice(names) if names.contains(&"off") => {
            let names = names.iter().map(|name| json!(name)).chain([json!(false)]);
            json!({"enum": names.collect::<Vec<_>>()})
        }
        Kind::Choice(names) => json!({"enum": names}),
        Kind::List(item) => json!({"type": "array", "items": kind(item)}),
        Kind::Map(keys) => table(keys),
        Kind::Pairs(_, value) => json!({"type": "object", "additionalProperties": kind(value)}),
    }
}
