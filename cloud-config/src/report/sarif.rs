//! SARIF 2.1.0, which editors and code hosts show beside the file.

use serde_json::{Value, json};

use crate::problem::{Level, Problem, Rule};

/// `uri` names the file, relative or absolute; what a URI cannot hold is escaped.
pub fn sarif(problems: &[Problem], uri: &str) -> String {
    let rules: Vec<Value> = Rule::ALL
        .iter()
        .map(|rule| json!({"id": rule.id(), "shortDescription": {"text": rule.description()}}))
        .collect();
    let uri = escape(uri);
    let results: Vec<Value> = problems
        .iter()
        .map(|problem| result(problem, &uri))
        .collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "strake",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn result(problem: &Problem, uri: &str) -> Value {
    let text = match &problem.hint {
        Some(hint) => format!("{} ({hint})", problem.message),
        None => problem.message.clone(),
    };
    let index = Rule::ALL
        .iter()
        .position(|rule| *rule == problem.rule)
        .unwrap_or_default();
    let level = match problem.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    };
    json!({
        "ruleId": problem.rule.id(),
        "ruleIndex": index,
        "level": level,
        "message": {"text": text},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri},
                "region": {
                    "startLine": problem.line,
                    "startColumn": problem.column,
                    "endColumn": problem.column.saturating_add(problem.length),
                },
            },
            "logicalLocations": [{"fullyQualifiedName": problem.key}],
        }],
    })
}

fn escape(uri: &str) -> String {
    let mut escaped = String::with_capacity(uri.len());
    for byte in uri.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
