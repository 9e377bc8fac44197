//! `strake-release serve` as a child of the test, and machines that report to it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::workshop::{Workshop, small};

pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
    client: Client,
}

impl Serving {
    pub(crate) fn start(workshop: &Workshop, options: &str) -> Self {
        let mut child = workshop
            .command(&format!("serve --listen 127.0.0.1:0 {options}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("serving on ").unwrap().to_owned();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            child,
            url,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.url)).send().await;
        let response = response.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn send(&self, body: impl Into<reqwest::Body>, token: &str) -> Response {
        let mut post = self
            .client
            .post(format!("{}/v1/events", self.url))
            .body(body);
        if !token.is_empty() {
            post = post.header("authorization", format!("Bearer {token}"));
        }
        post.send().await.unwrap()
    }

    /// Status and text of the answer.
    pub(crate) async fn post(&self, event: &Value) -> (u16, String) {
        let response = self.send(event.to_string(), "").await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn report(&self, events: impl IntoIterator<Item = Value>) {
        for event in events {
            assert_eq!(self.post(&event).await, (204, String::new()), "{event}");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A workshop whose channel stable offers 1.0.0 and 1.1.0, the latter in waves.
pub(crate) fn shop() -> Workshop {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.add(
        "1.1.0",
        &small(2),
        "stable",
        "--waves 10@1h,50@1d --deadline 3d --deltas 0",
    );
    workshop.ok("sign");
    workshop
}

/// What machine number `n` says of 1.1.0; its place is `n` percent.
pub(crate) fn event(n: u32, kind: &str) -> Value {
    json!({
        "machine": format!("{n:032x}"),
        "channel": "stable",
        "release": "1.1.0",
        "from": "1.0.0",
        "kind": kind,
        "place": u64::from(n % 100) * (1 << 32) / 100,
        "time": "2031-05-04T03:02:01Z",
    })
}

pub(crate) fn fell_back(n: u32, cause: &str) -> Value {
    let mut event = event(n, "fell_back");
    event["cause"] = json!(cause);
    event
}
