//! TLS between the machines of a cluster: its own authority is the only one trusted, and the
//! time is the [`Clock`]'s.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::authority::der;
use super::clock::Clock;
use super::identity::Identity;

fn roots(ca: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificate = der(ca).context("reading strake.cluster.ca")?;
    roots
        .add(certificate)
        .context("trusting strake.cluster.ca")?;
    Ok(roots)
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn pair(certificate: &str, key: &str) -> Result<Pair> {
    let certificate = der(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| anyhow::anyhow!("reading the certificate's key: {error}"))?;
    Ok((vec![certificate], key))
}

/// Without an identity: a machine that has yet to get one.
pub fn client(ca: &str, identity: Option<&Identity>, clock: Clock) -> Result<ClientConfig> {
    let shown = identity.map(|identity| pair(&identity.certificate, &identity.key));
    asking(ca, shown.transpose()?, clock)
}

/// For somebody who is no machine, with certificate and key.
pub fn user(ca: &str, (certificate, key): (&str, &str), clock: Clock) -> Result<ClientConfig> {
    asking(ca, Some(pair(certificate, key)?), clock)
}

fn asking(ca: &str, shown: Option<Pair>, clock: Clock) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(clock))
        .with_safe_default_protocol_versions()
        .context("setting up TLS")?
        .with_root_certificates(roots(ca)?);
    match shown {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .context("using the certificate"),
    }
}

/// Who is let in. A certificate that is shown must be good either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Also a machine that has no certificate yet.
    Anyone,
    /// Only who shows one.
    Certified,
}

pub fn server(
    ca: &str,
    identity: &Identity,
    callers: Callers,
    clock: Clock,
) -> Result<ServerConfig> {
    let provider = Arc::new(default_provider());
    let roots = Arc::new(roots(ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let verifier = match callers {
        Callers::Anyone => verifier.allow_unauthenticated().build(),
        Callers::Certified => verifier.build(),
    };
    let verifier = verifier.context("setting up TLS")?;
    let (chain, key) = pair(&identity.certificate, &identity.key)?;
    ServerConfig::builder_with_details(provider, Arc::new(clock))
        .with_safe_default_protocol_versions()
        .context("setting up TLS")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .context("using this machine's certificate")
}
