//! The machine's side of getting a certificate: by the secret, or by the certificate it has.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::JOIN_PORT;
use super::authority::{Leaf, Request};
use super::clock::Clock;
use super::identity::Identity;
use super::settings::Settings;
use super::tls;
use super::wire::{self, Ask, Granted, Join, Keys, Refused, Renew, State, Told};

const CONNECT: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(15);

/// A way to one of the members' join services.
#[derive(Debug, Clone)]
pub struct Caller {
    http: reqwest::Client,
}

impl Caller {
    /// A member calls from its own seed address: it is what makes it one.
    pub fn new(
        settings: &Settings,
        identity: Option<&Identity>,
        own: Option<IpAddr>,
        clock: Clock,
    ) -> Result<Caller> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client(&settings.ca, identity, clock)?)
            .https_only(true)
            .tls_info(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .local_address(own)
            .build()
            .context("setting up the client of the join service")?;
        Ok(Caller { http })
    }

    pub async fn state(&self, member: IpAddr) -> Result<State> {
        self.read(self.http.get(url(member, wire::STATE))).await
    }

    /// The certificate that a member shows.
    pub async fn certificate(&self, member: IpAddr) -> Result<Leaf> {
        let answer = self
            .http
            .get(url(member, wire::STATE))
            .send()
            .await
            .context("asking")?;
        let shown = answer.extensions().get::<reqwest::tls::TlsInfo>();
        let der = shown.and_then(reqwest::tls::TlsInfo::peer_certificate);
        Ok(Leaf::of_der(der.context("no certificate was shown")?)?)
    }

    /// The keys of the authorities, for a member.
    pub async fn keys(&self, member: IpAddr) -> Result<String> {
        let keys: Keys = self.read(self.http.get(url(member, wire::KEYS))).await?;
        Ok(keys.keys)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        member: IpAddr,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let body = serde_json::to_vec(body).context("writing the request")?;
        self.read(self.http.post(url(member, path)).body(body))
            .await
    }

    async fn read<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T> {
        let mut answer = request.send().await.map_err(not_sent)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.context("reading the answer")? {
            body.extend_from_slice(&part);
            if body.len() > wire::LIMIT {
                bail!("the answer is longer than {} bytes", wire::LIMIT);
            }
        }
        if !answer.status().is_success() {
            let refused = serde_json::from_slice::<Refused>(&body);
            let reason = refused.map_or_else(|_| answer.status().to_string(), |body| body.error);
            if answer.status() == StatusCode::FORBIDDEN {
                return Err(Denied(format!("refused: {reason}")).into());
            }
            bail!("refused: {reason}");
        }
        serde_json::from_slice(&body).context("reading the answer")
    }
}

/// A member answers, and does not want this machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Denied(String);

/// What an authority that was replaced looks like from outside.
#[derive(Debug, thiserror::Error)]
#[error(
    "its certificate is of another authority than those this machine trusts: strake.cluster.ca has \
     to be what `strake cluster authority config` prints on a member"
)]
pub struct Foreign;

fn not_sent(error: reqwest::Error) -> anyhow::Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        let text = error.to_string();
        if text.contains("UnknownIssuer") || text.contains("UnknownCA") {
            return Foreign.into();
        }
        cause = error.source();
    }
    anyhow::Error::new(error).context("asking")
}

fn url(member: IpAddr, path: &str) -> String {
    format!("https://{}{path}", SocketAddr::new(member, JOIN_PORT))
}

/// Asks one seed after the other, from a different one on each machine.
pub async fn by_secret(
    caller: &Caller,
    settings: &Settings,
    own: Option<IpAddr>,
    request: &Request,
) -> Result<Granted> {
    let secret = &settings.join_secret;
    let join = Join {
        cluster: settings.name.clone(),
        csr: request.csr.clone(),
        secret_id: secret.id(),
        proof: secret.proof_key().proof(&request.csr),
    };
    ask(caller, settings, own, (wire::JOIN, &join)).await
}

pub async fn by_certificate(
    caller: &Caller,
    settings: &Settings,
    own: Option<IpAddr>,
    request: &Request,
) -> Result<Granted> {
    let renew = Renew {
        csr: request.csr.clone(),
    };
    ask(caller, settings, own, (wire::RENEW, &renew)).await
}

/// Which authorities count, and what is revoked.
pub async fn by_asking(caller: &Caller, settings: &Settings) -> Result<Told> {
    let ask_for = Ask {
        version: settings.trust.version,
    };
    ask(caller, settings, None, (wire::TRUST, &ask_for)).await
}

async fn ask<T: DeserializeOwned>(
    caller: &Caller,
    settings: &Settings,
    own: Option<IpAddr>,
    (path, body): (&str, &impl Serialize),
) -> Result<T> {
    let mut members = settings.seeds.clone();
    members.retain(|member| Some(*member) != own);
    if !members.is_empty() {
        let first = getrandom::u32().unwrap_or(0) as usize % members.len();
        members.rotate_left(first);
    }
    let mut causes = Vec::new();
    let mut is_denied = false;
    for member in members {
        match caller.post(member, path, body).await {
            Ok(granted) => return Ok(granted),
            Err(error) => {
                is_denied |= error.is::<Denied>();
                causes.push(format!("{member}: {error:#}"));
            }
        }
    }
    let told = format!("no member answers as wanted: {}", causes.join("; "));
    match is_denied {
        true => Err(Denied(told).into()),
        false => bail!(told),
    }
}
