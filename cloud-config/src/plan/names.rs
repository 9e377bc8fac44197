//! Names of the cluster's units: what the scheduler serves, where the host's resolver asks for
//! them, and what containers ask.
//!
//! The address belongs to a device that carries nothing else: it is there on every machine, also
//! without an overlay, and containers of every network of the machine reach it.

use serde_json::json;

use super::FileSpec;
use crate::config::{Config, Written};

const ADDRESS: &str = "169.254.53.53";
const DEVICE: &str = "strake-names";
/// The stub of systemd-resolved.
const FORWARD: &str = "127.0.0.53:53";
const DOCKER_SETTINGS: &str = "/etc/docker/daemon.json";
const ORIGIN: &str = "strake.cluster";

pub(super) fn files(config: &Config) -> Vec<FileSpec> {
    let cluster = &config.strake.cluster;
    if !cluster.is_complete() || cluster.names == Some(false) {
        return Vec::new();
    }
    let name = cluster.name.as_deref().unwrap_or("default");
    let settings = json!({
        "cluster": name,
        "listen": format!("{ADDRESS}:53"),
        "forward": FORWARD,
    });
    let device = format!("[NetDev]\nName={DEVICE}\nKind=dummy\n");
    // The wait for the network would be over with this one; and without its own scope the address
    // would be no reason for systemd-resolved to ask on this link.
    let network = format!(
        "[Match]\nName={DEVICE}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n\
         LinkLocalAddressing=no\nIPv6AcceptRA=no\nDNS={ADDRESS}\nDomains=~{}.strake\n\
         DNSDefaultRoute=no\nDNSSEC=no\nDNSOverTLS=no\n\n[Address]\nAddress={ADDRESS}/32\n\
         Scope=global\n",
        name.to_ascii_lowercase()
    );
    let mut files = vec![
        FileSpec::text("/etc/strake/names.json", format!("{settings}\n"), ORIGIN),
        FileSpec::text(
            "/etc/systemd/network/50-strake-names.netdev",
            device,
            ORIGIN,
        ),
        FileSpec::text(
            "/etc/systemd/network/50-strake-names.network",
            network,
            ORIGIN,
        ),
    ];
    if !gives_docker_a_resolver(config) {
        let options = format!("STRAKE_DOCKER_DNS=\"--dns={ADDRESS}\"\n");
        let path = "/etc/strake/docker-names.env";
        files.push(FileSpec::text(path, options, ORIGIN));
    }
    files
}

/// docker does not start with a setting that is given twice.
fn gives_docker_a_resolver(config: &Config) -> bool {
    let mut own = config
        .write_files
        .iter()
        .filter(|file| file.path == DOCKER_SETTINGS);
    own.any(|file| match &file.written {
        Written::Content(text) | Written::Append(text) => {
            text.windows(5).any(|part| part == b"\"dns\"")
        }
        // Nobody knows yet.
        Written::Source(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use crate::context::Context;

    /// Paths of the plan that are of names.
    fn planned(more: &str) -> Vec<String> {
        let text = format!(
            "#cloud-config\nstrake:\n  cluster:\n    name: Lab\n    seeds: [10.9.0.11]\n    \
             ca: \"-----BEGIN CERTIFICATE-----\\nTUE=\\n-----END CERTIFICATE-----\"\n    \
             join_secret: {}\n{more}",
            "0".repeat(64)
        );
        let checked = crate::check(text.as_bytes(), &Context::default());
        let config = checked.config.expect("a config");
        let files = super::files(&config).into_iter();
        files.map(|file| file.path).collect()
    }

    #[test]
    fn names_are_there_unless_they_are_not_wanted() {
        let docker = "/etc/strake/docker-names.env".to_string();
        assert_eq!(planned("").len(), 4);
        assert!(planned("").contains(&docker));
        assert_eq!(planned("    names: false\n"), Vec::<String>::new());
        let own = "write_files:\n- path: /etc/docker/daemon.json\n  content: '{\"dns\": [\"1.1.1.1\"]}'\n";
        assert_eq!(planned(own).len(), 3);
        assert!(!planned(own).contains(&docker));
        let other = "write_files:\n- path: /etc/docker/daemon.json\n  content: '{\"mtu\": 1400}'\n";
        assert!(planned(other).contains(&docker));
    }
}
