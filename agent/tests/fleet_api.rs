//! fleet's HTTP API as a client of its own time would ask it, over a real etcd.

mod fleet_client;
mod real_etcd;

use fleet_client::{Client, with_api};
use serde_json::{Value, json};
use strake_agent::fleet;
use strake_agent::scheduler::keys::{self, Desired, Observed};
use strake_agent::scheduler::machine::{Machine, MachineId};
use strake_agent::store::etcd::Etcd;
use strake_agent::store::{Store, Transaction, Write};

async fn put(store: &Etcd, key: String, value: &impl serde::Serialize) {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key,
            value: serde_json::to_vec(value).expect("json"),
            lease: None,
        }],
    };
    store.commit(&transaction).await.expect("written");
}

fn options(pairs: &[(&str, &str, &str)]) -> Value {
    let option = |(section, name, value): &(&str, &str, &str)| json!({"section": section, "name": name, "value": value});
    pairs.iter().map(option).collect()
}

fn order(state: &str, pairs: &[(&str, &str, &str)]) -> Option<Value> {
    Some(json!({"desiredState": state, "options": options(pairs)}))
}

const SLEEP: (&str, &str, &str) = ("Service", "ExecStart", "/bin/sleep 9");

#[tokio::test]
async fn units_are_made_changed_and_destroyed_with_fleets_codes() {
    with_api(async |client, _| {
        let path = "/fleet/v1/units/web.service";
        assert_eq!(client.status("GET", path, None).await, 404);
        let none = Some(json!({"desiredState": "launched"}));
        assert_eq!(client.status("PUT", path, none.clone()).await, 409);
        assert_eq!(
            client
                .status("PUT", path, order("inactive", &[SLEEP]))
                .await,
            201
        );
        // The same again, then only its state.
        assert_eq!(
            client
                .status("PUT", path, order("inactive", &[SLEEP]))
                .await,
            204
        );
        assert_eq!(client.status("PUT", path, none).await, 204);
        let (status, unit) = client.ask("GET", path, None).await;
        assert_eq!(status, 200);
        let expected = json!({
            "name": "web.service",
            "options": options(&[SLEEP]),
            "desiredState": "launched",
            "currentState": "inactive",
        });
        assert_eq!(unit, expected);
        let other = [("Service", "ExecStart", "/bin/sleep 10")];
        assert_eq!(
            client.status("PUT", path, order("launched", &other)).await,
            201
        );
        let (_, unit) = client
            .ask("GET", "/v1-alpha/units/web.service/", None)
            .await;
        assert_eq!(unit["options"], options(&other));
        assert_eq!(client.status("DELETE", path, None).await, 204);
        assert_eq!(client.status("DELETE", path, None).await, 404);
    })
    .await;
}

#[tokio::test]
async fn bad_requests_are_refused_and_change_nothing() {
    with_api(async |client, store| {
        let before = store.list(keys::ALL, None, None).await.expect("a list");
        let unit = |name: &str| format!("/fleet/v1/units/{name}");
        let path = unit("web.service");
        let typo = [SLEEP, ("X-Fleet", "MachineMetdata", "a=b")];
        let (status, said) = client.ask("PUT", &path, order("launched", &typo)).await;
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert_eq!((status, &said["error"]["code"]), (400, &json!(400)));
        assert!(
            message.contains("line 5") && message.contains("MachineMetadata"),
            "{message}"
        );
        let both = [
            SLEEP,
            ("X-Fleet", "Global", "yes"),
            ("X-Fleet", "MachineOf", "a.service"),
        ];
        for (body, expected) in [
            (order("launched", &both), 400),
            (order("running", &[SLEEP]), 400),
            (order("launched", &[("Service", "Exec\nStart", "x")]), 400),
            (
                Some(json!({"name": "b.service", "desiredState": "launched"})),
                400,
            ),
            (Some(json!([])), 400),
        ] {
            let (status, said) = client.ask("PUT", &path, body.clone()).await;
            assert_eq!(status, expected, "{body:?}: {said}");
        }
        let launched = order("launched", &[SLEEP]);
        let long = "a".repeat(257) + ".service";
        for name in ["web.nonsense", "web@.service", "@web.service", &long] {
            let status = client.status("PUT", &unit(name), launched.clone()).await;
            assert_eq!(status, 400, "{name}");
        }
        let text = client.send("PUT", &path, "text/plain", "{}").await;
        assert_eq!(text.0, 415);
        assert_eq!(client.status("POST", "/fleet/v1/units", None).await, 405);
        assert_eq!(
            client.status("DELETE", "/fleet/v1/machines", None).await,
            405
        );
        assert_eq!(client.status("GET", "/fleet/v1/nothing", None).await, 404);
        assert_eq!(client.status("GET", "/", None).await, 404);
        let paged = client
            .status("GET", "/fleet/v1/units?nextPageToken=x", None)
            .await;
        assert_eq!(paged, 400);
        let after = store.list(keys::ALL, None, None).await.expect("a list");
        assert_eq!(after.entries, before.entries);
    })
    .await;
}

#[tokio::test]
async fn machines_and_states_are_shown_and_metadata_is_set() {
    with_api(async |client, store| {
        let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
        let mut machine = Machine::new(id.clone());
        machine.address = "10.0.0.1".to_string();
        put(store, keys::machine(&id), &machine).await;
        let path = "/fleet/v1/units/web.service";
        assert_eq!(
            client
                .status("PUT", path, order("launched", &[SLEEP]))
                .await,
            201
        );
        let (_, unit) = client.ask("GET", path, None).await;
        assert_eq!(unit["machineID"], Value::Null);
        let unit = store
            .read("/strake/v1/units/web.service")
            .await
            .expect("answer");
        let unit: keys::Unit = serde_json::from_slice(&unit.expect("a unit").value).expect("json");
        let name = "web.service".parse::<strake_agent::scheduler::name::UnitName>();
        let name = name.expect("name");
        let desired: Desired = serde_json::from_value(json!({
            "generation": 1,
            "units": {"web.service": {"digest": unit.digest, "state": "launched"}},
        }))
        .expect("desired");
        let observed: Observed = serde_json::from_value(json!({
            "generation": 1,
            "units": {name.as_str(): {
                "digest": unit.digest, "load": "loaded", "active": "active",
                "sub": "running", "started": true,
            }},
        }))
        .expect("observed");
        put(store, keys::desired(&id), &desired).await;
        put(store, keys::observed(&id), &observed).await;
        let (_, shown) = client.ask("GET", path, None).await;
        assert_eq!(shown["currentState"], "launched");
        assert_eq!(shown["machineID"], id.as_str());
        let state = json!({
            "name": "web.service",
            "hash": unit.digest,
            "machineID": id.as_str(),
            "systemdLoadState": "loaded",
            "systemdActiveState": "active",
            "systemdSubState": "running",
        });
        let (_, all) = client.ask("GET", "/fleet/v1/state", None).await;
        assert_eq!(all, json!({"states": [state]}));
        let (_, none) = client
            .ask("GET", "/fleet/v1/state?machineID=ffffffff", None)
            .await;
        assert_eq!(none, json!({"states": []}));
        let (_, one) = client.ask("GET", "/fleet/v1/state/web.service", None).await;
        assert_eq!(one, state);
        let unknown = client
            .status("GET", "/fleet/v1/state/b.service", None)
            .await;
        assert_eq!(unknown, 404);

        let change = |op: &str, path: String, value: Value| {
            Some(json!([{"op": op, "path": path, "value": value}]))
        };
        let key = format!("/{id}/metadata/zone");
        let patch = "/fleet/v1/machines";
        for value in [json!({"value": "a"}), json!("b")] {
            let body = change("add", key.clone(), value.clone());
            assert_eq!(client.status("PATCH", patch, body).await, 204);
            let (_, machines) = client.ask("GET", patch, None).await;
            let text = value.get("value").unwrap_or(&value);
            let expected = json!([{
                "id": id.as_str(), "primaryIP": "10.0.0.1", "metadata": {"zone": text},
            }]);
            assert_eq!(machines["machines"], expected);
        }
        for (body, expected) in [
            (change("remove", key.clone(), Value::Null), 204),
            (
                change("add", "/ffffffff/metadata/a".into(), json!("b")),
                404,
            ),
            (change("add", key.clone(), Value::Null), 400),
            (change("move", key.clone(), json!("c")), 400),
            (change("add", format!("/{id}/name"), json!("c")), 400),
        ] {
            let status = client.status("PATCH", patch, body.clone()).await;
            assert_eq!(status, expected, "{body:?}");
        }
        let (_, discovery) = client.ask("GET", "/fleet/v1/discovery", None).await;
        assert_eq!(
            discovery["resources"]["Units"]["methods"]["Set"]["httpMethod"],
            "PUT"
        );
    })
    .await;
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    with_api(async |client, _| {
        for index in 0..105 {
            let path = format!("/fleet/v1/units/u{index:03}.service");
            let made = client
                .status("PUT", &path, order("inactive", &[SLEEP]))
                .await;
            assert_eq!(made, 201);
        }
        let (_, first) = client.ask("GET", "/fleet/v1/units", None).await;
        assert_eq!(first["units"].as_array().map(Vec::len), Some(100));
        let token = first["nextPageToken"].as_str().expect("a token");
        let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let path = format!("/fleet/v1/units?nextPageToken={token}");
        let (_, second) = client.ask("GET", &path, None).await;
        assert_eq!(second["units"].as_array().map(Vec::len), Some(5));
        assert_eq!(second["nextPageToken"], Value::Null);
        assert_eq!(second["units"][4]["name"], "u104.service");
    })
    .await;
}

/// What comes back of a request that is refused: fleet's body, with the code and the cause.
struct Refused<'a> {
    method: &'a str,
    path: &'a str,
    kind: &'a str,
    body: String,
    status: u16,
    says: &'a str,
}

#[tokio::test]
async fn every_refusal_has_fleets_body_with_the_cause() {
    let put = |path: &'static str, body: Value, status: u16, says: &'static str| Refused {
        method: "PUT",
        path,
        kind: "application/json",
        body: body.to_string(),
        status,
        says,
    };
    let ask = |method: &'static str, path: &'static str, status: u16, says: &'static str| Refused {
        method,
        path,
        kind: "application/json",
        body: String::new(),
        status,
        says,
    };
    const WEB: &str = "/fleet/v1/units/web.service";
    let with = |section: &str, name: &str, value: &str| {
        order("launched", &[SLEEP, (section, name, value)]).expect("a body")
    };
    let long = "x".repeat(262_145);
    let cases = [
        ask("GET", WEB, 404, "unit does not exist"),
        ask("DELETE", WEB, 404, "unit does not exist"),
        ask(
            "GET",
            "/fleet/v1/state/web.service",
            404,
            "no machine reports",
        ),
        ask("GET", "/fleet/v1/none", 404, "no such path"),
        ask("GET", "/v2/units", 404, "no such path"),
        ask("POST", WEB, 405, "only HTTP GET"),
        ask("PUT", "/fleet/v1/machines", 405, "only HTTP GET"),
        ask("DELETE", "/fleet/v1/discovery", 405, "only HTTP GET"),
        ask(
            "GET",
            "/fleet/v1/units?nextPageToken=x",
            400,
            "nextPageToken",
        ),
        ask(
            "GET",
            "/fleet/v1/state?nextPageToken=x",
            400,
            "nextPageToken",
        ),
        ask("PUT", WEB, 400, "unable to decode body"),
        put(
            WEB,
            json!({"desiredState": "loaded"}),
            409,
            "options field empty",
        ),
        put(WEB, json!({"options": []}), 400, "desiredState"),
        put(
            WEB,
            json!({"desiredState": "up"}),
            400,
            "inactive, loaded or launched",
        ),
        put(
            WEB,
            json!({"name": "b.service", "desiredState": "loaded"}),
            400,
            "the path of",
        ),
        put(
            WEB,
            with("X-Fleet", "Gobal", "yes"),
            400,
            "did you mean Global?",
        ),
        put(
            WEB,
            with("X-Strake", "Memroy", "1G"),
            400,
            "line 5, column 1",
        ),
        put(WEB, with("X-Strake", "Require", "load5 <"), 400, "Require"),
        put(WEB, with("X-Fleet", "Conflicts", "web["), 400, "Conflicts"),
        put(
            WEB,
            with("X-Fleet", "MachineMetadata", "zone"),
            400,
            "is not key=value",
        ),
        put(
            WEB,
            with("Service", "Environment", &long),
            400,
            "262144 are allowed",
        ),
        put(
            "/fleet/v1/units/web",
            with("X-Strake", "CPU", "1"),
            400,
            "web",
        ),
        put(
            "/fleet/v1/units/web@.service",
            order("launched", &[SLEEP]).expect("a body"),
            400,
            "is a template",
        ),
        Refused {
            kind: "text/plain",
            ..put(WEB, json!({}), 415, "application/json")
        },
        Refused {
            method: "PATCH",
            ..put(
                "/fleet/v1/machines",
                json!({}),
                400,
                "unable to decode body",
            )
        },
    ];
    with_api(async |client, store| {
        for case in &cases {
            let (status, said) = client
                .send(case.method, case.path, case.kind, &case.body)
                .await;
            let about = format!("{} {}: {said}", case.method, case.path);
            assert_eq!(status, case.status, "{about}");
            assert_eq!(said["error"]["code"], case.status, "{about}");
            assert_eq!(said.as_object().map(|o| o.len()), Some(1), "{about}");
            let message = said["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(case.says), "{about}");
        }
        let name = format!("/fleet/v1/units/{}.service", "a".repeat(249));
        let (status, said) = client.ask("PUT", &name, order("loaded", &[SLEEP])).await;
        assert_eq!(status, 400);
        assert!(said.to_string().contains("256"), "{said}");
        let left = store.list(keys::ALL, None, None).await.expect("a list");
        assert_eq!(left.entries, [], "nothing is written");
    })
    .await;
}

#[tokio::test]
async fn a_long_unit_is_taken_and_what_succeeds_says_nothing_more() {
    with_api(async |client, _| {
        let lines: Vec<(&str, &str, &str)> = (0..10_000)
            .map(|_| ("Service", "Environment", "A=1"))
            .collect();
        let path = "/fleet/v1/units/long.service";
        assert_eq!(
            client.ask("PUT", path, order("inactive", &lines)).await,
            (201, Value::Null)
        );
        assert_eq!(
            client.ask("PUT", path, order("inactive", &lines)).await,
            (204, Value::Null)
        );
        let (_, unit) = client.ask("GET", path, None).await;
        assert_eq!(unit["options"].as_array().map(Vec::len), Some(10_000));
        assert_eq!(client.ask("DELETE", path, None).await, (204, Value::Null));
        let (status, all) = client.ask("GET", "/fleet/v1/units", None).await;
        assert_eq!((status, all), (200, json!({"units": []})));
    })
    .await;
}

#[tokio::test]
async fn without_its_store_the_api_says_so() {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let socket = dir.path().join("fleet.sock");
    let store = server.store().await;
    let listener = fleet::bind(&socket, None).expect("a socket");
    drop(server);
    let client = Client { socket: &socket };
    tokio::task::LocalSet::new()
        .run_until(async {
            tokio::select! {
                never = fleet::serve(listener, fleet::Api::new(store)) => never,
                (status, said) = client.ask("GET", "/fleet/v1/units/web.service", None) => {
                    assert_eq!((status, &said["error"]["code"]), (503, &json!(503)));
                }
            }
        })
        .await;
}
