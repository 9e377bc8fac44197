//! `/discovery`: the messages and methods of this API in Google's description format, version 1, from
//! which clients of fleet's time were generated.

use serde_json::{Value, json};

fn text() -> Value {
    json!({"type": "string"})
}

fn state() -> Value {
    json!({"type": "string", "enum": ["inactive", "loaded", "launched"]})
}

fn list_of(message: &str) -> Value {
    json!({"type": "array", "items": {"$ref": message}})
}

fn message(id: &str, properties: Value) -> Value {
    json!({"id": id, "type": "object", "properties": properties})
}

fn page(id: &str, list: &str, of: &str) -> Value {
    message(id, json!({list: list_of(of), "nextPageToken": text()}))
}

fn schemas() -> Value {
    let pairs = json!({
        "type": "object", "properties": {}, "additionalProperties": text(),
    });
    json!({
        "Machine": message("Machine", json!({
            "id": text(), "primaryIP": text(), "metadata": pairs,
        })),
        "MachinePage": page("MachinePage", "machines", "Machine"),
        "UnitOption": message("UnitOption", json!({
            "section": text(), "name": text(), "value": text(),
        })),
        "Unit": message("Unit", json!({
            "name": text(),
            "options": list_of("UnitOption"),
            "desiredState": state(),
            "currentState": state(),
            "machineID": text(),
        })),
        "UnitPage": page("UnitPage", "units", "Unit"),
        "UnitState": message("UnitState", json!({
            "name": text(),
            "hash": text(),
            "machineID": text(),
            "systemdLoadState": text(),
            "systemdActiveState": text(),
            "systemdSubState": text(),
        })),
        "UnitStatePage": page("UnitStatePage", "states", "UnitState"),
    })
}

/// A method whose path has no variable; these parameters stand in the query.
fn method(id: &str, http: &str, path: &str, query: &[&str]) -> Value {
    let parameter = |name: &&str| {
        (
            name.to_string(),
            json!({"type": "string", "location": "query"}),
        )
    };
    let parameters: serde_json::Map<String, Value> = query.iter().map(parameter).collect();
    json!({"id": id, "httpMethod": http, "path": path, "parameters": parameters})
}

/// A method about the unit that its path names.
fn of_unit(id: &str, http: &str, path: &str) -> Value {
    let name = json!({"type": "string", "location": "path", "required": true});
    json!({
        "id": id, "httpMethod": http, "path": path,
        "parameters": {"unitName": name}, "parameterOrder": ["unitName"],
    })
}

fn answering(mut method: Value, message: &str) -> Value {
    method["response"] = json!({"$ref": message});
    method
}

fn resources() -> Value {
    const PAGE: &str = "nextPageToken";
    let set = || {
        let mut set = of_unit("fleet.Unit.Set", "PUT", "units/{unitName}");
        set["request"] = json!({"$ref": "Unit"});
        set
    };
    let list = |id: &str, path: &str, query: &[&str], message: &str| {
        answering(method(id, "GET", path, query), message)
    };
    let get = |id: &str, path: &str, message: &str| answering(of_unit(id, "GET", path), message);
    json!({
        "Machines": {"methods": {
            "List": list("fleet.Machine.List", "machines", &[PAGE], "MachinePage"),
            "Patch": method("fleet.Machine.Patch", "PATCH", "machines", &[]),
        }},
        "Units": {"methods": {
            "List": list("fleet.Unit.List", "units", &[PAGE], "UnitPage"),
            "Get": get("fleet.Unit.Get", "units/{unitName}", "Unit"),
            "Set": set(),
            "Delete": of_unit("fleet.Unit.Delete", "DELETE", "units/{unitName}"),
        }},
        "UnitState": {"methods": {
            "List": list(
                "fleet.UnitState.List", "state", &[PAGE, "unitName", "machineID"], "UnitStatePage",
            ),
            "Get": get("fleet.UnitState.Get", "state/{unitName}", "UnitState"),
        }},
    })
}

pub(super) fn discovery() -> Value {
    json!({
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "fleet:v1",
        "name": "schema",
        "version": "v1",
        "title": "fleet API",
        "description": "",
        "protocol": "rest",
        "icons": {"x16": "", "x32": ""},
        "labels": [],
        "baseUrl": "$ENDPOINT/fleet/v1/",
        "basePath": "/fleet/v1/",
        "rootUrl": "$ENDPOINT/",
        "servicePath": "fleet/v1/",
        "batchPath": "batch",
        "parameters": {},
        "auth": {},
        "schemas": schemas(),
        "resources": resources(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_that_is_named_is_described() {
        fn named<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(pairs) => {
                    found.extend(pairs.get("$ref").and_then(Value::as_str));
                    pairs.values().for_each(|value| named(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| named(value, found)),
                _ => {}
            }
        }
        let all = discovery();
        let mut found = Vec::new();
        named(&all, &mut found);
        assert!(found.len() >= 10, "{found:?}");
        for message in found {
            assert_eq!(all["schemas"][message]["id"], message, "{message}");
        }
    }
}
