//! The cluster in `strake status`: asked of this machine's own scheduler, who may read the
//! machine's key where a user may not.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;

use crate::cluster::settings::Settings;
use crate::fleet::{CLUSTER, SOCKET};
use crate::root::Root;
use crate::scheduler::machine::Duty;
use crate::scheduler::summary::Summary;

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// As `strake.cluster` has it.
    pub name: Option<String>,
    pub summary: Option<Summary>,
    /// Why the summary is missing.
    pub problem: Option<String>,
}

impl Cluster {
    /// None: this machine is of no cluster.
    pub async fn look(root: &Root) -> Option<Cluster> {
        let name = Settings::load(root).ok().map(|settings| settings.name);
        let served = root
            .locate(SOCKET.as_ref())
            .is_ok_and(|socket| socket.exists());
        if name.is_none() && !served {
            return None;
        }
        let asked = tokio::time::timeout(PATIENCE, ask(root)).await;
        let (summary, problem) = match asked.context("it does not answer in time") {
            Ok(Ok(summary)) => (Some(summary), None),
            Ok(Err(error)) | Err(error) => (None, Some(format!("{error:#}"))),
        };
        Some(Cluster {
            name,
            summary,
            problem,
        })
    }

    /// For people, in one line.
    pub(super) fn text(&self) -> String {
        let name = self.name.as_deref().unwrap_or("without a name");
        let Some(summary) = &self.summary else {
            let problem = self.problem.as_deref().unwrap_or("unknown");
            return format!("{name}, {problem}");
        };
        let more = if summary.more_machines {
            " or more"
        } else {
            ""
        };
        let machines = match summary.machines {
            1 => "1 machine".to_string(),
            count => format!("{count}{more} machines"),
        };
        let leader = match &summary.leader {
            Some(leader) => format!("led by {}", leader.get(..8).unwrap_or(leader)),
            None => "no leader".to_string(),
        };
        let own = match (summary.registered, summary.duty) {
            (false, _) => ", this machine is not registered",
            (true, Duty::Draining) => ", this machine is drained",
            (true, Duty::Open) => "",
        };
        format!("{name}, {machines}, {leader}{own}")
    }
}

async fn ask(root: &Root) -> Result<Summary> {
    let socket = root.locate(SOCKET.as_ref()).context("finding the socket")?;
    let stream = UnixStream::connect(socket).await;
    let stream = stream.context("asking strake-scheduler.service")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(CLUSTER).header(HOST, "strake");
    let response = sender
        .send_request(request.body(Empty::<Bytes>::new())?)
        .await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = said["error"]["message"].as_str();
        bail!("{}", message.unwrap_or(status.as_str()));
    }
    serde_json::from_slice(&body).context("understanding strake-scheduler.service")
}
