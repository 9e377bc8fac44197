//! docker's API over its socket: as much of it as names and networks need. docker is never woken
//! for this: its socket would start it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::root::Root;

const SOCKET: &str = "/run/docker.sock";
/// There as long as docker runs.
const PID: &str = "/run/docker.pid";
/// Of an answer: a thousand containers are a few megabytes.
const LONGEST: usize = 32 << 20;

#[derive(Debug, Clone)]
pub struct Docker {
    socket: PathBuf,
}

impl Docker {
    pub fn at(socket: impl Into<PathBuf>) -> Docker {
        Docker {
            socket: socket.into(),
        }
    }

    /// Nothing while it does not run.
    pub fn running(root: &Root) -> Option<Docker> {
        let there = |path: &str| root.locate(Path::new(path)).ok();
        there(PID).filter(|path| path.exists())?;
        there(SOCKET).map(Docker::at)
    }

    /// What is refused is told in docker's own words.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>> {
        let socket = self.socket.display();
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.with_context(|| format!("connecting to {socket}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body or with whoever reads it.
        tokio::spawn(connection);
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "docker")
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from(text)))?;
        let answer = sender
            .send_request(request)
            .await
            .context("asking docker")?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let told: Value = serde_json::from_slice(&whole(answer).await?).unwrap_or_default();
        match told["message"].as_str() {
            Some(message) => bail!(Refused(status, message.to_string())),
            None => bail!(Refused(status, status.to_string())),
        }
    }

    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = whole(self.open(method, path, body).await?).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).context("understanding docker")
    }

    /// Nothing when docker does not have it.
    pub async fn find(&self, path: &str) -> Result<Option<Value>> {
        match self.ask(Method::GET, path, None).await {
            Ok(found) => Ok(Some(found)),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(Refused(StatusCode::NOT_FOUND, _)) => Ok(None),
                _ => Err(error),
            },
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("docker says: {1}")]
struct Refused(StatusCode, String);

async fn whole(answer: Response<Incoming>) -> Result<Bytes> {
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("reading docker's answer: {error}"))?;
    Ok(body.to_bytes())
}

/// As a part of a path: `filters=...`.
pub fn filters(filters: &Value) -> String {
    let text = filters.to_string();
    let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    format!("filters={text}")
}
