//! Addresses of names from systemd-resolved, over its Varlink socket.
//!
//! The program is linked statically, and the C library's own way would load the modules that
//! `nsswitch.conf` names into it. Where resolved does not run, on a developer's machine, a
//! program that is not static asks the C library.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const SOCKET: &str = "/run/systemd/resolve/io.systemd.Resolve";
const METHOD: &str = "io.systemd.Resolve.ResolveHostname";
/// A name has a few addresses, not thousands.
const LONGEST_REPLY: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub struct Resolver {
    socket: Arc<Path>,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::at(PathBuf::from(SOCKET))
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("systemd-resolved does not run")]
    NotThere,
    #[error("systemd-resolved says {0}")]
    Refused(String),
    #[error("{0} has no address")]
    NoAddress(String),
}

#[derive(Deserialize)]
struct Reply {
    error: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    addresses: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    ifindex: u32,
    address: Vec<u8>,
}

impl Found {
    /// With port 0: the URL's is put in its place.
    fn address(self) -> Option<SocketAddr> {
        if let Ok(v4) = <[u8; 4]>::try_from(&*self.address) {
            return Some(SocketAddr::new(IpAddr::from(v4), 0));
        }
        let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(&*self.address).ok()?);
        // Such an address means nothing without its interface.
        let scope = if v6.is_unicast_link_local() {
            self.ifindex
        } else {
            0
        };
        Some(SocketAddrV6::new(v6, 0, 0, scope).into())
    }
}

impl Resolver {
    pub fn at(socket: PathBuf) -> Resolver {
        Resolver {
            socket: socket.into(),
        }
    }

    pub async fn addresses(
        &self,
        name: &str,
    ) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let stream = match UnixStream::connect(&*self.socket).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return by_the_c_library(name).await;
            }
            Err(error) => return Err(error.into()),
        };
        let found = parse(&exchange(stream, name).await?)?;
        if found.is_empty() {
            return Err(Failure::NoAddress(name.to_string()).into());
        }
        Ok(found)
    }
}

/// One call and its reply, each ended by a zero byte.
async fn exchange(mut stream: UnixStream, name: &str) -> io::Result<Vec<u8>> {
    let call = serde_json::json!({"method": METHOD, "parameters": {"name": name}});
    stream.write_all(format!("{call}\0").as_bytes()).await?;
    let mut reply = Vec::new();
    let mut limited = stream.take(LONGEST_REPLY);
    while !reply.ends_with(b"\0") {
        if limited.read_buf(&mut reply).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    reply.pop();
    Ok(reply)
}

fn parse(reply: &[u8]) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    let reply: Reply = serde_json::from_slice(reply)?;
    if let Some(error) = reply.error {
        let last = error.rsplit('.').next().unwrap_or_default();
        return Err(Failure::Refused(last.to_string()).into());
    }
    let found = reply.parameters.addresses.into_iter();
    Ok(found.filter_map(Found::address).collect())
}

async fn by_the_c_library(name: &str) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    if cfg!(target_feature = "crt-static") {
        return Err(Failure::NotThere.into());
    }
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.addresses(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    /// Serves one call with this reply, and returns what was asked and what came of it.
    async fn ask(reply: &str) -> (serde_json::Value, Result<Vec<SocketAddr>, String>) {
        let dir = tempfile::tempdir().expect("temp dir");
        let socket = dir.path().join("resolve");
        let listener = UnixListener::bind(&socket).expect("socket");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut call = Vec::new();
            while !call.ends_with(b"\0") {
                stream.read_buf(&mut call).await.expect("a call");
            }
            stream.write_all(reply.as_bytes()).await.expect("sent");
            serde_json::from_slice(&call[..call.len() - 1]).expect("JSON")
        };
        let resolver = Resolver::at(socket);
        let (call, found) = tokio::join!(serve, async { resolver.addresses("node.example").await });
        (call, found.map_err(|error| error.to_string()))
    }

    #[tokio::test]
    async fn names_are_resolved_by_resolved() {
        let reply = "{\"parameters\":{\"addresses\":[{\"ifindex\":2,\"family\":2,\
                     \"address\":[192,0,2,7]},{\"family\":10,\"address\":\
                     [32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,5]},{\"ifindex\":3,\"address\":\
                     [254,128,0,0,0,0,0,0,0,0,0,0,0,0,0,2]},{\"address\":[1]}],\
                     \"name\":\"node.example\",\"flags\":1}}\0";
        let (call, found) = ask(reply).await;
        assert_eq!(call["method"], METHOD);
        assert_eq!(call["parameters"]["name"], "node.example");
        let expected = ["192.0.2.7:0", "[2001:db8::5]:0", "[fe80::2%3]:0"];
        let expected = expected.map(|text| text.parse().expect("address"));
        assert_eq!(found, Ok(expected.to_vec()));
    }

    #[tokio::test]
    async fn a_name_without_address_is_an_error() {
        let cases = [
            (
                "{\"error\":\"io.systemd.Resolve.NoNameServers\"}\0",
                "NoNameServers",
            ),
            ("{\"parameters\":{\"addresses\":[]}}\0", "has no address"),
            ("{\"parameters\"", "unexpected end of file"),
            ("<html>\0", "expected value"),
        ];
        for (reply, expected) in cases {
            let error = ask(reply).await.1.expect_err("no address");
            assert!(error.contains(expected), "{error}");
        }
    }
}
