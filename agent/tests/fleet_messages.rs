//! fleet's API against its own description: each message field by field, each method, and what two
//! users at once and impossible wishes get. Over a real etcd.

mod fleet_client;
mod obedient;
mod real_etcd;

use fleet_client::{Client, with_api};
use serde_json::{Value, json};
use strake_agent::scheduler::engine::{Engine, Pace};
use strake_agent::scheduler::keys;
use strake_agent::scheduler::machine::Machine;
use strake_agent::store::Store as _;
use strake_agent::store::etcd::Etcd;

const ID: &str = "0123456789abcdef0123456789abcdef";

/// A machine with metadata that does what it is told, and the engine that tells it.
async fn with_cluster(test: impl AsyncFnOnce(&Client<'_>, &Etcd)) {
    with_api(async |client, store| {
        let mut machine = Machine::new(ID.parse().expect("id"));
        machine.address = "10.0.0.1".to_string();
        machine.metadata.insert("zone".into(), "a".into());
        let id = machine.id.clone();
        obedient::put(store, keys::machine(&id), &machine).await;
        let engine = Engine::new(store.clone(), &id, Pace::default(), Box::new(|_| {}));
        tokio::select! {
            never = engine.run() => never,
            never = obedient::obeys(store.clone(), id) => never,
            () = test(client, store) => {}
        }
    })
    .await;
}

fn unit(state: &str, options: &[(&str, &str, &str)]) -> Value {
    let sleep = ("Service", "ExecStart", "/bin/sleep 9");
    let options = [sleep].into_iter().chain(options.iter().copied());
    let option = |(section, name, value)| json!({"section": section, "name": name, "value": value});
    let options: Vec<Value> = options.map(option).collect();
    json!({"desiredState": state, "options": options})
}

/// The value is a message as described, with every field of it.
fn check(description: &Value, message: &str, value: &Value) {
    let schema = &description["schemas"][message];
    let described = schema["properties"].as_object().expect(message);
    let fields = value.as_object().expect(message);
    let names = |object: &serde_json::Map<String, Value>| -> Vec<String> {
        object.keys().cloned().collect()
    };
    assert_eq!(names(fields), names(described), "{message}: {value}");
    for (field, kind) in described {
        check_type(description, kind, &fields[field]);
    }
}

fn check_type(description: &Value, kind: &Value, value: &Value) {
    match kind["type"].as_str() {
        Some("string") => {
            let text = value.as_str().expect("a text");
            assert!(!text.is_empty(), "{kind}");
            if let Some(allowed) = kind["enum"].as_array() {
                assert!(allowed.contains(value), "{value} of {kind}");
            }
        }
        Some("array") => {
            let values = value.as_array().expect("a list");
            assert!(!values.is_empty(), "{kind}");
            for value in values {
                check_type(description, &kind["items"], value);
            }
        }
        Some("object") => {
            for value in value.as_object().expect("pairs").values() {
                check_type(description, &kind["additionalProperties"], value);
            }
        }
        _ => check(
            description,
            kind["$ref"].as_str().expect("a message"),
            value,
        ),
    }
}

async fn until_launched(client: &Client<'_>, path: &str) {
    let launched = async {
        while client.ask("GET", path, None).await.1["currentState"] != "launched" {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(60), launched).await;
    in_time.expect("launched in time");
}

#[tokio::test]
async fn every_message_has_the_fields_that_the_description_names() {
    with_cluster(async |client, store| {
        let (status, description) = client.ask("GET", "/fleet/v1/discovery", None).await;
        assert_eq!((status, &description["id"]), (200, &json!("fleet:v1")));
        // More than a page of each, so that pages have their token.
        for number in 0..101 {
            let path = format!("/fleet/v1/units/u{number:03}.service");
            let (status, _) = client.ask("PUT", &path, Some(unit("launched", &[]))).await;
            assert_eq!(status, 201);
            let mut machine = Machine::new(format!("{number:032x}").parse().expect("id"));
            machine.address = "10.0.0.2".to_string();
            let drained = json!({"duty": "draining"});
            obedient::put(store, keys::tags(&machine.id), &drained).await;
            obedient::put(store, keys::machine(&machine.id), &machine).await;
        }
        for number in 0..101 {
            until_launched(client, &format!("/fleet/v1/units/u{number:03}.service")).await;
        }
        for (path, message) in [
            ("units", "UnitPage"),
            ("units/u007.service", "Unit"),
            ("state", "UnitStatePage"),
            ("state/u007.service", "UnitState"),
            ("machines", "MachinePage"),
        ] {
            for prefix in ["/fleet/v1", "/v1-alpha"] {
                let (status, value) = client.ask("GET", &format!("{prefix}/{path}"), None).await;
                assert_eq!(status, 200, "{path}");
                check(&description, message, &value);
            }
        }
        let (_, one) = client
            .ask("GET", "/fleet/v1/units/u007.service", None)
            .await;
        let expected = json!({
            "name": "u007.service",
            "options": unit("", &[])["options"],
            "desiredState": "launched",
            "currentState": "launched",
            "machineID": ID,
        });
        assert_eq!(one, expected);
        let state = "/fleet/v1/state?unitName=u007.service&machineID=";
        let (_, states) = client.ask("GET", &format!("{state}{ID}"), None).await;
        assert_eq!(states["states"][0]["systemdActiveState"], "active");
        assert_eq!(states["states"][0]["hash"].as_str().map(str::len), Some(40));
        let (_, none) = client.ask("GET", &format!("{state}ffffffff"), None).await;
        assert_eq!(none, json!({"states": []}));
    })
    .await;
}

#[tokio::test]
async fn every_method_is_served_as_described_and_no_other() {
    with_cluster(async |client, _| {
        let (_, description) = client.ask("GET", "/fleet/v1/discovery", None).await;
        let path = "/fleet/v1/units/web.service";
        client.ask("PUT", path, Some(unit("launched", &[]))).await;
        until_launched(client, path).await;
        let resources = description["resources"].as_object().expect("resources");
        let methods = resources.values().flat_map(|resource| {
            let methods = resource["methods"].as_object().expect("methods");
            methods.values()
        });
        let mut served: Vec<(String, String)> = Vec::new();
        // What deletes comes last.
        let mut methods: Vec<&Value> = methods.collect();
        methods.sort_by_key(|method| method["httpMethod"] == "DELETE");
        assert_eq!(methods.len(), 8);
        for method in methods {
            let text = |key: &str| method[key].as_str().expect(key);
            let (http, place) = (text("httpMethod"), text("path"));
            let base = description["basePath"].as_str().expect("basePath");
            let path = format!("{base}{}", place.replace("{unitName}", "web.service"));
            let (body, expected) = match http {
                "PUT" => (Some(unit("loaded", &[("Service", "Nice", "1")])), 201),
                "PATCH" => {
                    let path = format!("/{ID}/metadata/disk");
                    let one = json!({"op": "add", "path": path, "value": {"value": "ssd"}});
                    (Some(json!([one])), 204)
                }
                "DELETE" => (None, 204),
                _ => (None, 200),
            };
            let (status, said) = client.ask(http, &path, body).await;
            assert_eq!(status, expected, "{http} {path}: {said}");
            match method["response"]["$ref"].as_str() {
                Some(_) => assert!(said.is_object(), "{http} {path}: {said}"),
                None => assert_eq!(said, Value::Null, "{http} {path}"),
            }
            served.push((http.to_string(), path));
        }
        let paths = [
            "units",
            "units/web.service",
            "state",
            "state/web.service",
            "machines",
        ];
        for path in paths.map(|path| format!("/fleet/v1/{path}")) {
            for http in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
                if served.contains(&(http.to_string(), path.clone())) {
                    continue;
                }
                let (status, said) = client.ask(http, &path, Some(json!({}))).await;
                assert_eq!(status, 405, "{http} {path}");
                assert_eq!(said["error"]["code"], 405, "{http} {path}");
                assert!(said["error"]["message"].is_string(), "{http} {path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn of_two_users_at_once_one_is_heard_and_the_other_is_told() {
    with_api(async |client, store| {
        let path = "/fleet/v1/units/web.service";
        let wishes = [
            unit("launched", &[("X-Strake", "Memory", "1G")]),
            unit("inactive", &[("X-Strake", "Memory", "2G")]),
        ];
        let mut late = 0;
        for _ in 0..30 {
            let order = |number: usize| client.ask("PUT", path, Some(wishes[number].clone()));
            let answers: [(u16, Value); 4] =
                tokio::join!(order(0), order(1), order(0), order(1)).into();
            for (status, said) in &answers {
                match status {
                    201 | 204 => assert_eq!(*said, Value::Null),
                    409 => {
                        late += 1;
                        let message = said["error"]["message"].as_str().unwrap_or_default();
                        assert!(
                            message.contains("web.service was changed by somebody else"),
                            "{message}"
                        );
                    }
                    _ => panic!("{status}: {said}"),
                }
            }
            assert!(
                answers.iter().any(|(status, _)| *status < 300),
                "{answers:?}"
            );
            let (_, now) = client.ask("GET", path, None).await;
            let is = |wish: &Value| {
                now["options"] == wish["options"] && now["desiredState"] == wish["desiredState"]
            };
            assert!(wishes.iter().any(is), "neither of both: {now}");
        }
        assert!(late > 0, "nobody ever was late");
        let left = store.list(keys::UNITS, None, None).await.expect("a list");
        assert_eq!(left.entries.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_what_cannot_be_yet_is_explained() {
    with_cluster(async |client, _| {
        let put = async |name: &str, options: &[(&str, &str, &str)]| {
            let path = format!("/fleet/v1/units/{name}");
            let (status, said) = client
                .ask("PUT", &path, Some(unit("launched", options)))
                .await;
            let message = said["error"]["message"].as_str().unwrap_or_default();
            (status, message.to_string())
        };
        let require = |value| ("X-Strake", "Require", value);
        let follow = |value| ("X-Fleet", "MachineOf", value);
        for (options, says) in [
            (
                vec![require("zone = a"), require("zone = b")],
                "no machine can meet \"zone = b\"",
            ),
            (
                vec![require("memory > 4G"), require("memory < 2G")],
                "memory < 2G",
            ),
            (
                vec![
                    ("X-Fleet", "MachineMetadata", "zone=a"),
                    require("zone = b"),
                ],
                "MachineMetadata=zone",
            ),
            (vec![follow("x.service")], "a unit cannot follow itself"),
        ] {
            let (status, message) = put("x.service", &options).await;
            assert_eq!(status, 400, "{message}");
            assert!(
                message.contains(says) && message.contains("line "),
                "{message}"
            );
        }
        assert_eq!(put("a.service", &[follow("b.service")]).await.0, 201);
        let (status, message) = put("b.service", &[follow("a.service")]).await;
        assert_eq!(status, 409);
        assert!(message.contains("would follow itself"), "{message}");

        let explain = async |name: &str| {
            let path = format!("/strake/v1/units/{name}/explain");
            client.ask("GET", &path, None).await
        };
        assert_eq!(
            put("far.service", &[("X-Fleet", "MachineMetadata", "zone=z")])
                .await
                .0,
            201
        );
        let reason = "MachineMetadata: zone is not as asked";
        let expected = json!({
            "name": "far.service",
            "refusal": format!("1 machine: {reason}"),
            "machines": [{"machineID": ID, "verdict": "may-not", "reason": reason}],
        });
        assert_eq!(explain("far.service").await, (200, expected));
        assert_eq!(put("near.service", &[]).await.0, 201);
        until_launched(client, "/fleet/v1/units/near.service").await;
        let (_, near) = explain("near.service").await;
        assert_eq!(
            (&near["refusal"], &near["machines"][0]["verdict"]),
            (&Value::Null, &json!("holds"))
        );
        let (status, said) = explain("none.service").await;
        assert_eq!((status, &said["error"]["code"]), (404, &json!(404)));
        let refused = client
            .ask("POST", "/strake/v1/units/far.service/explain", None)
            .await;
        assert_eq!(refused.0, 404);
    })
    .await;
}
