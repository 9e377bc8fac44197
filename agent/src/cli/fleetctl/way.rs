//! From the flags to a connection: the machine's own socket, or TLS with a user's certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::flags::Flags;
use crate::cluster::clock::Clock;
use crate::cluster::tls;
use crate::root::Root;

#[derive(Debug)]
pub(super) enum Way {
    Socket(String),
    Tls(SocketAddr, Arc<ClientConfig>),
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Way {
    pub(super) fn of(flags: &Flags) -> Result<Way> {
        let endpoint = flags.value("endpoint");
        if let Some(socket) = endpoint.strip_prefix("unix://") {
            let socket = socket.trim_start_matches("domain-sock");
            return Ok(Way::Socket(socket.to_string()));
        }
        let Some(address) = endpoint.strip_prefix("https://") else {
            bail!(
                "--endpoint {endpoint}: the API is at a unix socket, such as \
                 unix:///var/run/fleet.sock, or at https://ADDRESS:PORT"
            );
        };
        let address = address.trim_end_matches('/').parse();
        let address =
            address.with_context(|| format!("--endpoint {endpoint} is no address and port"))?;
        let read = |flag: &str| {
            let path = flags.value(flag);
            std::fs::read_to_string(path).with_context(|| format!("reading --{flag} {path:?}"))
        };
        let (ca, certificate, key) = (read("ca-file")?, read("cert-file")?, read("key-file")?);
        let clock = Clock::load(&Root::new("/"));
        let config = tls::user(&ca, (&certificate, &key), clock)?;
        Ok(Way::Tls(address, Arc::new(config)))
    }

    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>> {
        match self {
            Way::Socket(socket) => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.with_context(|| {
                    format!("connecting to {socket}: does strake-scheduler.service run?")
                })?;
                Ok(Box::new(stream))
            }
            Way::Tls(address, config) => {
                let connecting = || format!("connecting to {address}");
                let stream = TcpStream::connect(address).await;
                let stream = stream.with_context(connecting)?;
                let name = ServerName::IpAddress(address.ip().into());
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name, stream).await;
                Ok(Box::new(stream.with_context(connecting)?))
            }
        }
    }
}
