//! Asking other machines.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::credentials::Credentials;
use super::stream::Stream;
use super::wire::{self, Refused, Report, Wanted};
use crate::cluster::clock::Clock;
use crate::cluster::tls;
use crate::root::Root;
use crate::scheduler::name::UnitName;

const CONNECT: Duration = Duration::from_secs(3);
/// For an answer to begin.
const ANSWER: Duration = Duration::from_secs(15);
/// A machine that is gone is noticed after about two minutes, also when its journal is silent.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(20);
const PROBES: u32 = 3;
/// Of a status, or of an error.
const LIMIT: usize = 1 << 20;

#[derive(Debug, Clone)]
pub struct Peers {
    http: reqwest::Client,
}

impl Peers {
    pub fn new(root: &Root, credentials: &Credentials) -> Result<Peers> {
        let identity = Some(&credentials.identity);
        let tls = tls::client(&credentials.ca, identity, Clock::load(root))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0)
            .tcp_keepalive(PROBE_AFTER)
            .tcp_keepalive_interval(PROBE_EVERY)
            .tcp_keepalive_retries(PROBES)
            .build()
            .context("setting up the way to other machines")?;
        Ok(Peers { http })
    }

    pub(super) async fn status(&self, machine: SocketAddr, unit: &UnitName) -> Result<Report> {
        let path = wire::path(unit, "status");
        let reading = async {
            let answer = self.ask(machine, &path).await?;
            serde_json::from_slice(&body(answer).await?).context("understanding the answer")
        };
        let answer = tokio::time::timeout(ANSWER, reading).await;
        answer.context("it does not answer in time")?
    }

    pub(super) async fn journal(
        &self,
        machine: SocketAddr,
        unit: &UnitName,
        wanted: &Wanted,
    ) -> Result<Stream> {
        let path = format!("{}?{}", wire::path(unit, "journal"), wanted.query());
        let answer = tokio::time::timeout(ANSWER, self.ask(machine, &path)).await;
        let mut answer = answer.context("it does not answer in time")??;
        let (sender, stream) = Stream::channel();
        tokio::spawn(async move {
            loop {
                let part = tokio::select! {
                    part = answer.chunk() => part,
                    () = sender.closed() => return,
                };
                let part = match part {
                    Ok(Some(part)) => Ok(part),
                    Ok(None) => return,
                    Err(error) => Err(std::io::Error::other(error)),
                };
                let is_last = part.is_err();
                if sender.send(part).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(stream)
    }

    async fn ask(&self, machine: SocketAddr, path: &str) -> Result<reqwest::Response> {
        let url = format!("https://{machine}{path}");
        let answer = self.http.get(url).send().await;
        // The address is told by whoever asks.
        let answer = answer.map_err(reqwest::Error::without_url)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let refused = serde_json::from_slice::<Refused>(&body(answer).await?);
        bail!(refused.map_or_else(|_| status.to_string(), |refused| refused.error))
    }
}

async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.context("reading the answer")? {
        body.extend_from_slice(&part);
        if body.len() > LIMIT {
            bail!("the answer is longer than {LIMIT} bytes");
        }
    }
    Ok(body)
}
