//! Which certificates and which proxy the config in force gives to whoever fetches.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use strake_cloud_config::Config;
use strake_cloud_config::config::Proxy;

use crate::root::Root;

/// The bundle of the image; configured certificates are added to it when a config is applied.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1,169.254.0.0/16";

#[derive(Debug, Clone, Default)]
pub struct Access {
    /// PEM texts.
    certificates: Vec<Vec<u8>>,
    proxy: Proxy,
}

impl Access {
    pub fn of(root: &Root, config: &Config) -> Access {
        // Without a bundle https fails with a reason; http still works.
        let bundle = root.read(BUNDLE).ok();
        let configured = config.ca_certs.iter().map(|cert| cert.pem.clone().into());
        Access {
            certificates: bundle.into_iter().chain(configured).collect(),
            proxy: config.proxy.clone(),
        }
    }

    /// Certificates that cannot be read are left out: they vouch for nobody.
    pub(super) fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let mut store = RootCertStore::empty();
        for text in &self.certificates {
            let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
            store.add_parsable_certificates(certificates);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let versions = builder.with_safe_default_protocol_versions()?;
        Ok(versions.with_root_certificates(store).with_no_client_auth())
    }

    /// None configured: those of the environment stay in force.
    pub(super) fn proxies(&self) -> Result<Vec<reqwest::Proxy>, reqwest::Error> {
        let listed = self.proxy.no_proxy.join(",");
        let direct = reqwest::NoProxy::from_string(&format!("{NEVER_PROXIED},{listed}"));
        let http = self.proxy.http.as_deref();
        let https = self.proxy.https.as_deref().or(http);
        let made = [
            http.map(reqwest::Proxy::http),
            https.map(reqwest::Proxy::https),
        ];
        made.into_iter()
            .flatten()
            .map(|proxy| Ok(proxy?.no_proxy(direct.clone())))
            .collect()
    }
}
