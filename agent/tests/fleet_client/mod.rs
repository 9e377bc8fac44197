//! A client of fleet's API that sends what it is told to, also what is wrong.

use std::path::Path;

use serde_json::Value;
use strake_agent::fleet;
use strake_agent::store::etcd::Etcd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::real_etcd;

pub(crate) struct Client<'a> {
    pub(crate) socket: &'a Path,
}

/// The API alone, over a real etcd and at a socket of its own.
pub(crate) async fn with_api(test: impl AsyncFnOnce(&Client<'_>, &Etcd)) {
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let socket = dir.path().join("fleet.sock");
    let store = server.store().await;
    let listener = fleet::bind(&socket, None).expect("a socket");
    let client = Client { socket: &socket };
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            tokio::select! {
                never = fleet::serve(listener, fleet::Api::new(store.clone())) => never,
                () = test(&client, &store) => {}
            }
        })
        .await;
}

impl Client<'_> {
    /// Status and body; of a body that is no JSON, nothing.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, path, "application/json", &body).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> (u16, Value) {
        let mut stream = UnixStream::connect(self.socket).await.expect("connected");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: domain-sock\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let value = serde_json::from_str(body).unwrap_or(Value::Null);
        (status.expect("a status"), value)
    }

    #[allow(dead_code, reason = "some tests look at every answer whole")]
    pub(crate) async fn status(&self, method: &str, path: &str, body: Option<Value>) -> u16 {
        self.ask(method, path, body).await.0
    }
}
