use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::{LocalSet, spawn_local};

use super::*;

/// As much of docker as is asked here: networks by name.
#[derive(Debug, Default)]
struct Networks {
    all: Vec<Value>,
    asked: Vec<String>,
}

impl Networks {
    fn answer(&mut self, line: &str, body: &Value) -> (u16, Value) {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        self.asked.push(format!("{method} {path}"));
        let missing = (404, json!({"message": "no such network"}));
        let place = |all: &[Value], name: &str| all.iter().position(|one| one["Name"] == name);
        if method == "POST" && path == "/networks/create" {
            if place(&self.all, body["Name"].as_str().unwrap_or("")).is_some() {
                return (409, json!({"message": "it exists already"}));
            }
            let mut made = body.clone();
            made["Options"]["com.docker.network.of.docker"] = json!("x");
            self.all.push(made);
            return (201, json!({"Id": "1"}));
        }
        if path.starts_with("/networks?") {
            return (200, json!(self.all));
        }
        let mut parts = path.trim_start_matches("/networks/").split('/');
        let name = parts.next().unwrap_or("");
        let Some(at) = place(&self.all, name) else {
            return missing;
        };
        match (method, parts.next()) {
            ("GET", None) => (200, self.all[at].clone()),
            ("POST", Some("disconnect")) => {
                let id = body["Container"].as_str().unwrap_or("").to_string();
                if let Some(containers) = self.all[at]["Containers"].as_object_mut() {
                    containers.remove(&id);
                }
                (200, Value::Null)
            }
            ("DELETE", None) => {
                let containers = self.all[at]["Containers"].as_object();
                if containers.is_some_and(|all| !all.is_empty()) {
                    return (403, json!({"message": "network has active endpoints"}));
                }
                self.all.remove(at);
                (204, Value::Null)
            }
            _ => missing,
        }
    }
}

/// A docker at a socket, and what it holds.
fn serve(dir: &std::path::Path) -> (Docker, Rc<RefCell<Networks>>) {
    let socket = dir.join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("socket");
    let networks = Rc::new(RefCell::new(Networks::default()));
    let held = networks.clone();
    spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = Vec::new();
            let body = loop {
                let mut part = [0; 4096];
                let length = stream.read(&mut part).await.expect("a request");
                asked.extend(&part[..length]);
                let text = String::from_utf8_lossy(&asked).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let wanted = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.parse().ok())?
                });
                if body.len() >= wanted.unwrap_or(0_usize) {
                    break serde_json::from_str(body).unwrap_or_default();
                }
            };
            let text = String::from_utf8_lossy(&asked).into_owned();
            let line = text.lines().next().unwrap_or("");
            let (status, answer) = held.borrow_mut().answer(line, &body);
            let answer = match answer {
                Value::Null => String::new(),
                value => value.to_string(),
            };
            let length = answer.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{answer}");
            stream.write_all(answer.as_bytes()).await.expect("sent");
        }
    });
    (Docker::at(socket), networks)
}

fn spec(subnet: &str) -> Spec {
    Spec {
        subnets: Subnets {
            v4: subnet.parse().ok(),
            v6: None,
        },
        mtu: 1450,
        masquerade: true,
    }
}

#[tokio::test]
async fn a_network_is_made_once_and_anew_for_another_subnet() {
    let dir = tempfile::tempdir().expect("temp dir");
    let body = async {
        let (docker, networks) = serve(dir.path());
        let name: Name = "db".parse().expect("name");
        let one = spec("10.6.3.0/24");
        assert!(ensure(&docker, &name, &one).await.expect("made"));
        assert!(!ensure(&docker, &name, &one).await.expect("it is there"));
        let made = networks.borrow().all[0].clone();
        let ranges =
            json!([{"Subnet": "10.6.3.0/24", "IPRange": "10.6.3.0/25", "Gateway": "10.6.3.1"}]);
        assert_eq!(made["IPAM"]["Config"], ranges);
        assert_eq!(made["Options"]["com.docker.network.bridge.name"], "ov-db");
        assert_eq!(
            made["Options"]["com.docker.network.bridge.enable_ip_masquerade"],
            "false"
        );
        networks.borrow_mut().all[0]["Containers"] = json!({"c1": {}, "c2": {}});
        let moved = spec("10.6.9.0/24");
        assert!(ensure(&docker, &name, &moved).await.expect("made anew"));
        let now = networks.borrow().all.clone();
        assert_eq!(
            (now.len(), &now[0]["IPAM"]["Config"][0]["Gateway"]),
            (1, &json!("10.6.9.1"))
        );
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone_and_told() {
    let dir = tempfile::tempdir().expect("temp dir");
    let body = async {
        let (docker, networks) = serve(dir.path());
        let theirs = json!({"Name": "db", "Labels": {}, "Driver": "bridge"});
        networks.borrow_mut().all.push(theirs.clone());
        let name: Name = "db".parse().expect("name");
        let refused = ensure(&docker, &name, &spec("10.6.3.0/24")).await;
        let error = refused.expect_err("it is in the way");
        assert!(error.to_string().contains("somebody else's"), "{error:#}");
        assert_eq!(networks.borrow().all, [theirs]);
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn networks_of_before_go_unless_they_are_in_use() {
    let dir = tempfile::tempdir().expect("temp dir");
    let body = async {
        let (docker, networks) = serve(dir.path());
        let names = ["old", "used", "db"].map(|name| name.parse::<Name>().expect(name));
        for name in &names {
            ensure(&docker, name, &spec("10.6.3.0/24"))
                .await
                .expect("made");
        }
        networks.borrow_mut().all[1]["Containers"] = json!({"c1": {}});
        let removed = remove_others(&docker, &names[2..]).await.expect("removed");
        assert_eq!(removed, [names[0].clone()]);
        assert_eq!(networks.borrow().all.len(), 2);
        let asked = networks.borrow().asked.clone();
        assert!(
            !asked.contains(&"DELETE /networks/db".to_string()),
            "{asked:?}"
        );
    };
    LocalSet::new().run_until(body).await;
}
