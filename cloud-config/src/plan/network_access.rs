//! How services reach the world: proxy, registry mirrors, insecure registries.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::FileSpec;
use super::escape::{shell_word, unit_word};
use crate::config::{Config, Proxy};

/// Every service that fetches something.
const FETCHING: &[&str] = &["containerd", "docker", "strake-config", "strake-update"];
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";
const DOCKER_HUB: &str = "docker.io";

pub(super) fn files(config: &Config) -> Vec<FileSpec> {
    let mut files = proxy(&config.proxy);
    files.extend(docker(config));
    files.extend(containerd(config));
    files
}

fn proxy(proxy: &Proxy) -> Vec<FileSpec> {
    let http = proxy.http.as_deref();
    let https = proxy.https.as_deref().or(http);
    if https.is_none() {
        return Vec::new();
    }
    let no_proxy: Vec<&str> = std::iter::once(LOOPBACK)
        .chain(proxy.no_proxy.iter().map(String::as_str))
        .collect();
    let no_proxy = no_proxy.join(",");
    let values = [
        ("HTTP_PROXY", http),
        ("HTTPS_PROXY", https),
        ("NO_PROXY", Some(&no_proxy)),
    ];
    let mut service = "[Service]\n".to_owned();
    let mut shell = String::new();
    for (name, value) in values
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    {
        // Some programs read the one spelling, some the other.
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            service.push_str(&format!(
                "Environment={}\n",
                unit_word(&format!("{name}={value}"))
            ));
            shell.push_str(&format!("export {name}={}\n", shell_word(value)));
        }
    }
    let drop_in = |name: &&str| format!("/etc/systemd/system/{name}.service.d/20-proxy.conf");
    let drop_ins = FETCHING
        .iter()
        .map(|name| FileSpec::text(drop_in(name), &*service, "proxy"));
    drop_ins
        .chain([FileSpec::text("/etc/profile.d/20-proxy.sh", shell, "proxy")])
        .collect()
}

fn docker(config: &Config) -> Option<FileSpec> {
    let mut settings = Map::new();
    if !config.insecure_registries.is_empty() {
        settings.insert(
            "insecure-registries".into(),
            json!(config.insecure_registries),
        );
    }
    if let Some(mirrors) = config.registry_mirrors.get(DOCKER_HUB) {
        settings.insert("registry-mirrors".into(), json!(mirrors));
    }
    let text = format!("{:#}\n", Value::Object(settings.clone()));
    (!settings.is_empty())
        .then(|| FileSpec::text("/etc/docker/daemon.json", text, "registry_mirrors"))
}

/// One directory for each registry, as containerd's `config_path` wants it.
fn containerd(config: &Config) -> Vec<FileSpec> {
    let insecure = config
        .insecure_registries
        .iter()
        .filter(|host| !host.contains('/'));
    let insecure: BTreeSet<&str> = insecure.map(String::as_str).collect();
    let hosts: BTreeSet<&str> = config
        .registry_mirrors
        .keys()
        .map(String::as_str)
        .chain(insecure.iter().copied())
        .collect();
    let file = |host: &str| {
        let mut text = format!("server = {}\n", toml(&format!("https://{}", server(host))));
        for mirror in config.registry_mirrors.get(host).into_iter().flatten() {
            let plain = mirror.strip_prefix("http://").is_some();
            push_host(&mut text, mirror, "\"pull\", \"resolve\"", plain);
        }
        if insecure.contains(host) {
            for scheme in ["https", "http"] {
                let url = format!("{scheme}://{host}");
                push_host(
                    &mut text,
                    &url,
                    "\"pull\", \"resolve\", \"push\"",
                    scheme == "https",
                );
            }
        }
        FileSpec::text(
            format!("/etc/containerd/certs.d/{host}/hosts.toml"),
            text,
            "registry_mirrors",
        )
    };
    hosts.into_iter().map(file).collect()
}

fn push_host(text: &mut String, url: &str, capabilities: &str, skip_verify: bool) {
    text.push_str(&format!(
        "\n[host.{}]\n  capabilities = [{capabilities}]\n",
        toml(url)
    ));
    if skip_verify {
        text.push_str("  skip_verify = true\n");
    }
}

fn server(host: &str) -> &str {
    if host == DOCKER_HUB {
        "registry-1.docker.io"
    } else {
        host
    }
}

/// A basic string; JSON's escapes are a part of TOML's.
fn toml(text: &str) -> String {
    Value::from(text).to_string()
}
