//! Keys of the machine itself: time, kernel, mounts, swap, proxy, registries.

use std::collections::{BTreeMap, HashSet};

use super::findings::{Findings, Path, shown};
use super::view::{View, strings};
use crate::config::{CaCert, KernelModule, Mount, Ntp, Proxy, Swap};
use crate::document::Value;
use crate::problem::{Level, Rule};
use crate::schema::size;

pub(super) fn ntp(root: View<'_>) -> Ntp {
    let Some(view) = root.map("ntp") else {
        return Ntp::default();
    };
    Ntp {
        servers: view.strings("servers"),
        fallback_servers: view.strings("fallback_servers"),
    }
}

pub(super) fn ca_certs(root: View<'_>) -> Vec<CaCert> {
    let pem = |text: String| CaCert {
        pem: format!("{}\n", text.trim()),
    };
    root.strings("ca_certs").into_iter().map(pem).collect()
}

pub(super) fn sysctl(root: View<'_>) -> BTreeMap<String, String> {
    let pairs = root.pairs("sysctl");
    pairs
        .filter_map(|(name, node)| Some((name.to_owned(), node.text()?.to_owned())))
        .collect()
}

pub(super) fn kernel_modules(root: View<'_>) -> Vec<KernelModule> {
    let module = |text: String| {
        let (name, options) = text.split_once(' ').unwrap_or((&text, ""));
        KernelModule {
            name: name.to_owned(),
            options: options.trim().to_owned(),
        }
    };
    root.strings("kernel_modules")
        .into_iter()
        .map(module)
        .collect()
}

pub(super) fn mounts(root: View<'_>, out: &mut Findings<'_>) -> Vec<Mount> {
    let path = Path::Root.key("mounts");
    let mut mounts = Vec::new();
    let mut points = HashSet::new();
    for (index, view) in root.views("mounts") {
        let path = path.index(index);
        let (Some(what), Some(point)) = (view.string("what"), view.get("path")) else {
            continue;
        };
        let Some(text) = point.text() else { continue };
        let path = path.key("path");
        if let Some((message, hint)) = refused_point(text, &mut points) {
            out.add(
                (Level::Error, Rule::InvalidValue),
                &point.span,
                &path,
                message,
            )
            .hint(hint);
        }
        let nfs = what.contains(":/") && !what.starts_with('/');
        let kind = view.string("type");
        let kind = kind.unwrap_or_else(|| if nfs { "nfs".into() } else { String::new() });
        mounts.push(Mount {
            what,
            path: text.trim_end_matches('/').to_owned(),
            kind,
            options: view.strings("options"),
            required: view.flag("required").unwrap_or_default(),
        });
    }
    mounts
}

fn refused_point(point: &str, points: &mut HashSet<String>) -> Option<(String, &'static str)> {
    let plain = point.trim_end_matches('/');
    if !points.insert(plain.to_owned()) {
        return Some((
            format!("{} is mounted twice", shown(point)),
            "give one another path",
        ));
    }
    let reserved = [
        "", "/usr", "/etc", "/var", "/oem", "/state", "/config", "/boot", "/dev", "/proc", "/sys",
        "/run",
    ];
    if reserved.contains(&plain) || plain.starts_with("/usr/") {
        let message = format!("{} belongs to the system", shown(point));
        return Some((message, "mount it below /var, such as /var/data"));
    }
    None
}

const SWAP_PATH: &str = "/var/swapfile";

pub(super) fn swap(root: View<'_>, out: &mut Findings<'_>) -> Option<Swap> {
    let view = root.map("swap")?;
    let bytes = size(view.text("size")?)?;
    let path = view.string("path").unwrap_or_else(|| SWAP_PATH.to_owned());
    if !path.starts_with("/var/") {
        let node = view.get("path")?;
        let swap = Path::Root.key("swap");
        out.add(
            (Level::Error, Rule::InvalidValue),
            &node.span,
            &swap.key("path"),
            "the swap file is not below /var",
        )
        .hint("only /var is on a disk that lasts and can be written");
    }
    Some(Swap { path, bytes })
}

pub(super) fn proxy(root: View<'_>) -> Proxy {
    let Some(view) = root.map("proxy") else {
        return Proxy::default();
    };
    Proxy {
        http: view.string("http"),
        https: view.string("https"),
        no_proxy: view.strings("no_proxy"),
    }
}

pub(super) fn registry_mirrors(root: View<'_>) -> BTreeMap<String, Vec<String>> {
    let mirrors = root
        .pairs("registry_mirrors")
        .filter_map(|(host, node)| match &node.value {
            Value::List(items) => Some((host.to_owned(), strings(items))),
            _ => None,
        });
    mirrors.filter(|(_, mirrors)| !mirrors.is_empty()).collect()
}
