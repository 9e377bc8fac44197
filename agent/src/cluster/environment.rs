//! The environment of `etcd.service` on a member. Pure.

use std::net::{IpAddr, SocketAddr};

use super::authority::Role;
use super::{CLIENT_PORT, PEER_PORT};

pub const DATA: &str = "/var/lib/etcd/strake";
pub const PATH: &str = "/run/strake/etcd/environment";
pub const CA: &str = "/run/strake/etcd/ca.pem";
pub const CERTIFICATE: &str = "/run/strake/etcd/cert.pem";
pub const KEY: &str = "/run/strake/etcd/key.pem";
pub const REVOKED: &str = "/run/strake/etcd/revoked.crl";
/// Revisions kept for those who watch; compacted every five minutes by etcd itself.
const REVISIONS: &str = "10000";
/// Bytes. Beyond it etcd takes no more writes until there is room.
pub const QUOTA: u64 = 8 << 30;

/// With which others etcd starts when its directory is empty; otherwise etcd looks there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    New(Vec<(String, String)>),
    Existing(Vec<(String, String)>),
}

#[derive(Debug, Clone)]
pub struct Environment<'a> {
    pub cluster: &'a str,
    pub own: IpAddr,
    pub metrics: SocketAddr,
    pub initial: &'a Initial,
    /// Before each path; empty on a machine.
    pub root: &'a str,
}

pub fn peer_url(address: IpAddr) -> String {
    format!("https://{}", SocketAddr::new(address, PEER_PORT))
}

pub fn client_url(address: IpAddr) -> String {
    format!("https://{}", SocketAddr::new(address, CLIENT_PORT))
}

/// How a member is called: by its address.
pub fn member_name(address: IpAddr) -> String {
    address.to_string()
}

impl Environment<'_> {
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let (state, members) = match self.initial {
            Initial::New(members) => ("new", members),
            Initial::Existing(members) => ("existing", members),
        };
        let members = members.iter().map(|(name, url)| format!("{name}={url}"));
        let path = |path: &str| format!("{}{path}", self.root);
        vec![
            ("ETCD_NAME", member_name(self.own)),
            ("ETCD_DATA_DIR", path(DATA)),
            ("ETCD_LISTEN_CLIENT_URLS", client_url(self.own)),
            ("ETCD_ADVERTISE_CLIENT_URLS", client_url(self.own)),
            ("ETCD_LISTEN_PEER_URLS", peer_url(self.own)),
            ("ETCD_INITIAL_ADVERTISE_PEER_URLS", peer_url(self.own)),
            (
                "ETCD_LISTEN_METRICS_URLS",
                format!("http://{}", self.metrics),
            ),
            (
                "ETCD_INITIAL_CLUSTER",
                members.collect::<Vec<_>>().join(","),
            ),
            ("ETCD_INITIAL_CLUSTER_STATE", state.to_string()),
            ("ETCD_INITIAL_CLUSTER_TOKEN", self.cluster.to_string()),
            ("ETCD_TRUSTED_CA_FILE", path(CA)),
            ("ETCD_CERT_FILE", path(CERTIFICATE)),
            ("ETCD_KEY_FILE", path(KEY)),
            ("ETCD_CLIENT_CERT_AUTH", "true".to_string()),
            ("ETCD_CLIENT_CRL_FILE", path(REVOKED)),
            ("ETCD_PEER_CRL_FILE", path(REVOKED)),
            ("ETCD_PEER_TRUSTED_CA_FILE", path(CA)),
            ("ETCD_PEER_CERT_FILE", path(CERTIFICATE)),
            ("ETCD_PEER_KEY_FILE", path(KEY)),
            ("ETCD_PEER_CLIENT_CERT_AUTH", "true".to_string()),
            (
                "ETCD_PEER_CERT_ALLOWED_CN",
                Role::Member.common_name().to_string(),
            ),
            ("ETCD_AUTO_COMPACTION_MODE", "revision".to_string()),
            ("ETCD_AUTO_COMPACTION_RETENTION", REVISIONS.to_string()),
            ("ETCD_QUOTA_BACKEND_BYTES", QUOTA.to_string()),
            ("ETCD_LOG_LEVEL", "warn".to_string()),
        ]
    }

    /// For `EnvironmentFile=`.
    pub fn text(&self) -> String {
        let line = |(name, value): (&str, String)| format!("{name}={value}\n");
        self.variables().into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_listens_at_its_own_address_with_tls_only() {
        let own: IpAddr = "fd00::1".parse().expect("an address");
        let initial = Initial::New(vec![(member_name(own), peer_url(own))]);
        let environment = Environment {
            cluster: "lab",
            own,
            metrics: "127.0.0.1:2381".parse().expect("an address"),
            initial: &initial,
            root: "",
        };
        let text = environment.text();
        for line in [
            "ETCD_LISTEN_CLIENT_URLS=https://[fd00::1]:2379",
            "ETCD_INITIAL_CLUSTER=fd00::1=https://[fd00::1]:2380",
            "ETCD_INITIAL_CLUSTER_STATE=new",
            "ETCD_PEER_CERT_ALLOWED_CN=strake-member",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let plain = text.lines().filter(|line| line.contains("http://"));
        assert_eq!(
            plain.collect::<Vec<_>>(),
            ["ETCD_LISTEN_METRICS_URLS=http://127.0.0.1:2381"]
        );
    }
}
