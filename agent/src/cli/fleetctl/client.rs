//! The API's client: one connection for each request.

use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::flags::Flags;
use super::way::Way;
use crate::peer::{Report, Wanted};
use crate::scheduler::text::{Digest, Entry, Text};

/// For the API to ask another machine.
const BEYOND: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Client {
    way: Way,
    timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnitOption {
    pub(super) section: String,
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) options: Vec<UnitOption>,
    pub(super) desired_state: String,
    pub(super) current_state: String,
    #[serde(rename = "machineID", default)]
    pub(super) machine_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) name: String,
    pub(super) hash: String,
    #[serde(rename = "machineID")]
    pub(super) machine_id: String,
    pub(super) systemd_load_state: String,
    pub(super) systemd_active_state: String,
    pub(super) systemd_sub_state: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Machine {
    pub(super) id: String,
    #[serde(rename = "primaryIP", default)]
    pub(super) address: String,
    #[serde(default)]
    pub(super) metadata: std::collections::BTreeMap<String, String>,
}

impl Unit {
    pub(super) fn text(&self) -> Option<Text> {
        let entries = self.options.iter().map(|option| Entry {
            section: option.section.clone(),
            name: option.name.clone(),
            value: option.value.clone(),
            line: 0,
        });
        Text::from_entries(entries.collect()).ok()
    }

    pub(super) fn hash(&self) -> Option<Digest> {
        self.text().map(|text| text.digest())
    }

    pub(super) fn is_global(&self) -> bool {
        let text = self.text();
        let value = text
            .as_ref()
            .and_then(|text| text.value("X-Fleet", "Global"));
        let yes = ["true", "yes", "1", "on", "t"];
        value.is_some_and(|value| yes.contains(&value.to_lowercase().as_str()))
    }
}

pub(super) fn options(text: &Text) -> Vec<UnitOption> {
    let option = |entry: &Entry| UnitOption {
        section: entry.section.clone(),
        name: entry.name.clone(),
        value: entry.value.clone(),
    };
    text.entries().iter().map(option).collect()
}

impl Client {
    pub(super) fn new(flags: &Flags, timeout: Duration) -> Result<Client> {
        Ok(Client {
            way: Way::of(flags)?,
            timeout,
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Bytes)> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let asking = async {
            let response = self.send(method, &format!("/fleet/v1{path}"), body).await?;
            whole(response).await
        };
        let answered = tokio::time::timeout(self.timeout, asking).await;
        answered.context("the API does not answer in time (--request-timeout)")?
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Response<Incoming>> {
        let stream = self.way.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "domain-sock")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        Ok(sender.send_request(request).await?)
    }

    /// Asks for what only the machine of a unit knows. None: the API cannot get there, ssh may.
    async fn beyond(&self, path: &str) -> Result<Option<Response<Incoming>>> {
        let asking = self.send(Method::GET, path, String::new());
        let answered = tokio::time::timeout(self.timeout.max(BEYOND), asking).await;
        let response = answered.context("the machine of the unit does not answer in time")??;
        match response.status() {
            StatusCode::OK => Ok(Some(response)),
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Ok(None),
            _ => {
                let (status, body) = whole(response).await?;
                Err(Client::refused(status, &body))
            }
        }
    }

    pub(super) async fn report(&self, name: &str) -> Result<Option<Report>> {
        let Some(response) = self
            .beyond(&format!("/strake/v1{}/status", path(name)))
            .await?
        else {
            return Ok(None);
        };
        let (_, body) = whole(response).await?;
        Ok(Some(
            serde_json::from_slice(&body).context("reading the answer")?,
        ))
    }

    pub(super) async fn journal(&self, name: &str, wanted: &Wanted) -> Result<Option<Incoming>> {
        let path = format!("/strake/v1{}/journal?{}", path(name), wanted.query());
        Ok(self.beyond(&path).await?.map(Response::into_body))
    }

    fn refused(status: StatusCode, body: &[u8]) -> anyhow::Error {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        anyhow::anyhow!("googleapi: Error {}: {message}", status.as_u16())
    }

    /// All pages of a list.
    async fn list<T: for<'a> Deserialize<'a>>(&self, path: &str, name: &str) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut next = String::new();
        loop {
            let page = match next.as_str() {
                "" => path.to_string(),
                token => {
                    let token: String =
                        url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
                    format!("{path}?nextPageToken={token}")
                }
            };
            let (status, body) = self.ask(Method::GET, &page, None).await?;
            if !status.is_success() {
                return Err(Client::refused(status, &body));
            }
            let mut value: Value = serde_json::from_slice(&body).context("reading the answer")?;
            let entries: Vec<T> =
                serde_json::from_value(value[name].take()).context("reading the answer")?;
            all.extend(entries);
            match value["nextPageToken"].as_str() {
                Some(token) if !token.is_empty() => next = token.to_string(),
                _ => return Ok(all),
            }
        }
    }

    pub(super) async fn units(&self) -> Result<Vec<Unit>> {
        self.list("/units", "units").await
    }

    pub(super) async fn states(&self) -> Result<Vec<State>> {
        self.list("/state", "states").await
    }

    pub(super) async fn machines(&self) -> Result<Vec<Machine>> {
        self.list("/machines", "machines").await
    }

    pub(super) async fn unit(&self, name: &str) -> Result<Option<Unit>> {
        let (status, body) = self.ask(Method::GET, &path(name), None).await?;
        match status {
            StatusCode::OK => Ok(Some(
                serde_json::from_slice(&body).context("reading the answer")?,
            )),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(Client::refused(status, &body)),
        }
    }

    pub(super) async fn put(&self, name: &str, state: &str, options: &[UnitOption]) -> Result<()> {
        let body = json!({"name": name, "desiredState": state, "options": options});
        let (status, body) = self.ask(Method::PUT, &path(name), Some(body)).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(Client::refused(status, &body)),
        }
    }

    /// Whether it was there.
    pub(super) async fn delete(&self, name: &str) -> Result<bool> {
        let (status, body) = self.ask(Method::DELETE, &path(name), None).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            status => Err(Client::refused(status, &body)),
        }
    }
}

async fn whole(response: Response<Incoming>) -> Result<(StatusCode, Bytes)> {
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn path(name: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/units/{name}")
}
