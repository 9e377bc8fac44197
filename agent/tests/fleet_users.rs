//! fleet's API over TCP: users with certificates of their own, what their roles let them do, and
//! what such a certificate does not open.

mod peer;
mod real_etcd;
mod secured;

use std::path::Path;

use peer::{Cluster, Node, put, unit};
use secured::{PROGRAM, Secured, ended};
use serde_json::{Value, json};
use strake_agent::cluster::clock::Clock;
use strake_agent::cluster::tls;
use strake_agent::fleet::{self, Api};
use strake_agent::root::Root;
use strake_agent::scheduler::keys;
use strake_agent::store::Store;
use strake_agent::store::etcd::{Etcd, Settings};
use tokio::net::TcpListener;
use tokio::process::Command;

struct Fleetctl<'a> {
    dir: &'a Path,
    endpoint: String,
}

impl Fleetctl<'_> {
    /// As a user whose files are in the directory.
    async fn run(&self, user: &str, line: &str, code: i32) -> (String, String) {
        let mut command = Command::new(PROGRAM);
        command.arg0("fleetctl").args(line.split_whitespace());
        command.current_dir(self.dir).env_clear();
        for (name, value) in [
            ("FLEETCTL_ENDPOINT", self.endpoint.as_str()),
            ("FLEETCTL_REQUEST_TIMEOUT", "30"),
            ("FLEETCTL_CA_FILE", "ca.pem"),
            ("FLEETCTL_CERT_FILE", &format!("{user}.pem")),
            ("FLEETCTL_KEY_FILE", &format!("{user}-key.pem")),
        ] {
            command.env(name, value);
        }
        ended(command, &format!("{user}: {line}"), code).await
    }
}

/// A machine that serves users, and an etcd.
async fn with_users(test: impl AsyncFnOnce(&Fleetctl<'_>, &Secured, &Node)) {
    let cluster = Cluster::new();
    let Some(etcd) = Secured::start(&cluster).await else {
        return;
    };
    let store = etcd.store().await;
    let node = Node::start('a', cluster.credentials("127.0.0.13")).await;
    node.register(&store, &["web.service"]).await;
    let listener = TcpListener::bind("127.0.0.13:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let api = Api::new(store.clone()).reaching(node.reach(&store));
    let clock = Clock::load(&Root::new(node.dir.path()));
    let fleetctl = Fleetctl {
        dir: etcd.dir.path(),
        endpoint: format!("https://{address}"),
    };
    let serving = fleet::serve_users(listener, api, node.credentials.clone(), clock);
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            tokio::select! {
                never = serving => never,
                () = test(&fleetctl, &etcd, &node) => {}
            }
        })
        .await;
}

fn add(dir: &Path, name: &str, role: &str) -> String {
    format!(
        "cluster user add {name} --role {role} --out {}",
        dir.display()
    )
}

#[tokio::test]
async fn a_role_says_what_a_user_may_do() {
    with_users(async |fleetctl, etcd, _| {
        let dir = etcd.dir.path();
        let (made, _) = etcd.run(&add(dir, "eve", "read-only"), 0).await;
        assert!(made.starts_with("eve is read-only: "), "{made}");
        etcd.run(&add(dir, "ann", "admin"), 0).await;
        std::fs::write(dir.join("own.service"), "[Service]\nExecStart=/bin/true\n").expect("file");
        let known = json!({"digest": "0".repeat(40), "state": "launched"});
        let store = etcd.store().await;
        put(&store, keys::unit(&unit("web.service")), &known).await;
        for user in ["eve", "ann"] {
            let (machines, _) = fleetctl.run(user, "list-machines --no-legend", 0).await;
            assert!(machines.starts_with("aaaaaaaa..."), "{machines}");
            let (journal, _) = fleetctl.run(user, "journal web", 0).await;
            assert!(journal.starts_with("journalctl "), "{journal}");
        }
        for line in [
            "submit own.service",
            "destroy web.service",
            "stop --no-block web",
        ] {
            let (_, said) = fleetctl.run("eve", line, 1).await;
            assert!(
                said.contains("Error 403: eve is read-only"),
                "{line}: {said}"
            );
        }
        let own = keys::unit(&unit("own.service"));
        assert_eq!(store.read(&own).await.expect("an answer"), None);
        fleetctl.run("ann", "submit own.service", 0).await;
        assert!(store.read(&own).await.expect("an answer").is_some());
    })
    .await;
}

#[tokio::test]
async fn a_user_is_out_when_it_is_removed_and_an_old_certificate_stays_out() {
    with_users(async |fleetctl, etcd, _| {
        let dir = etcd.dir.path();
        etcd.run(&add(dir, "eve", "admin"), 0).await;
        let again = dir.join("again");
        std::fs::create_dir(&again).expect("a directory");
        let (_, said) = etcd.run(&add(&again, "eve", "admin"), 2).await;
        assert!(said.contains("user eve is known"), "{said}");
        assert_eq!(std::fs::read_dir(&again).expect("a directory").count(), 0);
        let (users, _) = etcd.run("cluster user list -o json", 0).await;
        let users: Value = serde_json::from_str(&users).expect("json");
        let eve = &users[0];
        assert_eq!(
            (&eve["name"], &eve["role"]),
            (&json!("eve"), &json!("admin"))
        );
        // The second in which it was made may be over.
        assert!(
            [364, 365].map(Value::from).contains(&eve["days_left"]),
            "{users}"
        );
        fleetctl.run("eve", "list-machines", 0).await;
        etcd.run("cluster user remove eve", 0).await;
        let counts_no_more = "the certificate of \"eve\" counts no more";
        let (_, said) = fleetctl.run("eve", "list-machines", 1).await;
        assert!(said.contains(counts_no_more), "{said}");
        etcd.run(&add(&again, "eve", "read-only"), 0).await;
        let (_, said) = fleetctl.run("eve", "list-machines", 1).await;
        assert!(said.contains(counts_no_more), "{said}");
        fleetctl.run("again/eve", "list-machines", 0).await;
        let (_, said) = etcd.run("cluster user remove bob", 2).await;
        assert!(said.contains("user bob is not known"), "{said}");
        etcd.run(&add(dir, "Bob", "admin"), 2).await;
        // A file that is there already is not written over, and nobody is made then.
        etcd.run(&add(&again, "../eve", "admin"), 2).await;
        std::fs::write(dir.join("bob.pem"), "mine").expect("a file");
        etcd.run(&add(dir, "bob", "admin"), 1).await;
        assert_eq!(
            std::fs::read_to_string(dir.join("bob.pem")).expect("text"),
            "mine"
        );
        let (users, _) = etcd.run("cluster user list", 0).await;
        assert!(!users.contains("bob"), "{users}");
    })
    .await;
}

#[tokio::test]
async fn certificates_of_users_and_machines_open_only_their_own_doors() {
    with_users(async |fleetctl, etcd, node| {
        let dir = etcd.dir.path();
        // Nobody can come while there are no users.
        let identity = &node.credentials.identity;
        let ca = &node.credentials.ca;
        for (name, text) in [
            ("ca.pem", ca),
            ("machine.pem", &identity.certificate),
            ("machine-key.pem", &identity.key),
        ] {
            std::fs::write(dir.join(name), text).expect("a file");
        }
        fleetctl.run("machine", "list-machines", 1).await;
        etcd.run(&add(dir, "ann", "admin"), 0).await;
        fleetctl.run("ann", "list-machines", 0).await;
        // A machine is no user.
        let (_, said) = fleetctl.run("machine", "list-machines", 1).await;
        assert!(!said.contains("403"), "{said}");
        // A user of another cluster is none here.
        let (_, said) = fleetctl.run("nobody", "list-machines", 1).await;
        assert!(said.contains("reading --cert-file"), "{said}");
        // A user opens neither etcd nor what machines tell each other.
        let user = Settings {
            cert: Some(dir.join("ann.pem")),
            key: Some(dir.join("ann-key.pem")),
            ..etcd.settings.clone()
        };
        let store = Etcd::connect(&user).await.expect("a client");
        assert!(store.read(keys::LEADER).await.is_err(), "etcd takes a user");
        let text = |name: &str| std::fs::read_to_string(dir.join(name)).expect("a file");
        let clock = Clock::load(&Root::new(dir));
        let shown = (text("ann.pem"), text("ann-key.pem"));
        let config = tls::user(ca, (&shown.0, &shown.1), clock).expect("settings");
        let http = reqwest::Client::builder().tls_backend_preconfigured(config);
        let url = format!("https://{}/v1/units/web.service/status", node.peer);
        let answer = http.build().expect("a client").get(url).send().await;
        assert!(answer.is_err(), "a machine takes a user");
    })
    .await;
}
