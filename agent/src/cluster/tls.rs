//! TLS between the machines of a cluster: its own authority is the only one trusted, and the
//! time is the [`Clock`]'s.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::anchor::certificates;
use super::authority::{Leaf, der};
use super::clock::{Clock, seconds};
use super::identity::Identity;

fn roots(ca: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for pem in certificates(ca) {
        let certificate = der(&pem).context("reading strake.cluster.ca")?;
        let added = roots.add(certificate);
        added.context("trusting strake.cluster.ca")?;
    }
    ensure!(!roots.is_empty(), "strake.cluster.ca holds no certificate");
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

/// Whether one of the authorities has signed it, however long ago.
pub fn is_vouched(ca: &str, certificate: &str) -> Result<bool> {
    let leaf = Leaf::parse(certificate)?;
    let last = seconds(leaf.not_after).saturating_sub(1);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(last));
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(ca)?),
        Arc::new(default_provider()),
    );
    let verifier = verifier.build().context("setting up TLS")?;
    Ok(verifier
        .verify_client_cert(&der(certificate)?, &[], at)
        .is_ok())
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
