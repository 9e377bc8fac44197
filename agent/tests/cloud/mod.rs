//! A cloud for a test: its metadata service, and machines that were booted in it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::{Arc, Mutex};

use serde_json::Value;
use strake_agent::config::network::{self, Report};
use strake_agent::root::Root;

use crate::machine::{self, Machine};
use crate::web::{Reply, Web, hasty};

/// A droplet's metadata service with user-data that a test may change, and more files.
pub(crate) struct Cloud {
    pub(crate) web: Web,
    user_data: Arc<Mutex<Reply>>,
}

impl Cloud {
    pub(crate) fn new(user_data: &str, files: &[(&str, &str)]) -> Cloud {
        let shared = Arc::new(Mutex::new(Reply::text(user_data)));
        let served = Arc::clone(&shared);
        let files: Vec<(String, Reply)> = files
            .iter()
            .map(|(path, text)| (path.to_string(), Reply::text(text)))
            .collect();
        let web = Web::new(move |asked| match asked.path.as_str() {
            "/metadata/v1/user-data" => served.lock().expect("not poisoned").clone(),
            "/metadata/v1.json" => Reply::text(
                r#"{"hostname": "droplet", "public_keys": ["ssh-ed25519 AAAA cloud"],
                    "interfaces": {"public": [{"ipv4": {"ip_address": "192.0.2.7"}}]}}"#,
            ),
            path => {
                let found = files.iter().find(|(known, _)| known == path);
                found.map_or(Reply::Status(404), |(_, reply)| reply.clone())
            }
        });
        Cloud {
            web,
            user_data: shared,
        }
    }

    pub(crate) fn says(&self, reply: Reply) {
        *self.user_data.lock().expect("not poisoned") = reply;
    }

    pub(crate) fn machine(&self) -> Machine {
        let machine = Machine::new();
        machine.put("sys/class/dmi/id/sys_vendor", "DigitalOcean\n");
        machine.put("sys/class/dmi/id/product_uuid", "machine-1\n");
        machine.put("dev/console", "");
        let line = format!("quiet strake.metadata.url={}\n", self.web.url(""));
        machine.put("proc/cmdline", line);
        machine
    }

    pub(crate) fn booted(&self) -> Machine {
        let machine = self.machine();
        let run = machine.boot();
        assert_eq!(run.code, 0, "{}", run.err);
        machine
    }
}

pub(crate) trait Network {
    fn network(&self) -> machine::Run;
    fn hasty_network(&self) -> Report;
    fn problems(&self) -> Vec<String>;
    fn restart(&self);
}

impl Network for Machine {
    fn network(&self) -> machine::Run {
        self.strake(&["config", "run"])
    }

    /// The same in this process, with little patience.
    fn hasty_network(&self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        let root = Root::new(self.root());
        runtime
            .block_on(network::apply(&root, &hasty()))
            .expect("the phase ends")
    }

    fn problems(&self) -> Vec<String> {
        let record = self.record();
        let problems = record["problems"].as_array().expect("a list").iter();
        problems
            .map(|problem| {
                format!(
                    "{}: {}",
                    text(&problem["source"]),
                    text(&problem["message"])
                )
            })
            .collect()
    }

    fn restart(&self) {
        self.reboot();
        let run = self.boot();
        assert_eq!(run.code, 0, "{}", run.err);
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
