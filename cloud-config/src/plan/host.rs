//! Files for time, kernel, certificates, mounts, swap and the cluster.

use std::time::Duration;

use serde_json::json;

use super::escape::{unit_value, unit_word};
use super::{Body, FileSpec};
use super::{names, overlay};
use crate::config::{
    CaCert, Cluster, Config, Dashboard, Health, KernelModule, Mount, Ntp, Reboot, Swap, Unit,
    UpdateLimits, Window,
};
use crate::unit_name::escape_path;

/// What all certificates together are in; every TLS library of the image reads it.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(super) fn files(config: &Config) -> Vec<FileSpec> {
    let mut files = Vec::new();
    files.extend(ntp(&config.ntp));
    if let Some(zone) = &config.timezone {
        files.push(FileSpec::symlink(
            "/etc/localtime",
            format!("/usr/share/zoneinfo/{zone}"),
            "timezone",
        ));
    }
    for (index, cert) in config.ca_certs.iter().enumerate() {
        files.extend(certificate(index, cert));
    }
    if !config.sysctl.is_empty() {
        let lines = config
            .sysctl
            .iter()
            .map(|(name, value)| format!("{name} = {value}\n"));
        files.push(FileSpec::text(
            "/etc/sysctl.d/20-cloudinit.conf",
            lines.collect::<String>(),
            "sysctl",
        ));
    }
    files.extend(modules(&config.kernel_modules));
    files.extend(cluster(&config.strake.cluster));
    files.extend(names::files(config));
    files.extend(health(&config.strake.health));
    files.extend(update(&config.strake.update));
    files.extend(reboot(&config.strake.reboot));
    files.extend(overlay::file(&config.strake.overlay));
    files.extend(config.strake.dashboard.as_ref().map(dashboard));
    files.extend(overlay::docker(&config.strake.overlay));
    files
}

fn ntp(ntp: &Ntp) -> Option<FileSpec> {
    let mut text = "[Time]\n".to_owned();
    for (key, servers) in [
        ("NTP", &ntp.servers),
        ("FallbackNTP", &ntp.fallback_servers),
    ] {
        if !servers.is_empty() {
            text.push_str(&format!("{key}={}\n", servers.join(" ")));
        }
    }
    let set = !ntp.servers.is_empty() || !ntp.fallback_servers.is_empty();
    set.then(|| {
        FileSpec::text(
            "/etc/systemd/timesyncd.conf.d/20-cloudinit.conf",
            text,
            "ntp",
        )
    })
}

fn certificate(index: usize, cert: &CaCert) -> [FileSpec; 2] {
    let own = format!("/etc/ssl/certs/strake-ca-{}.pem", index + 1);
    let bundled = Body::Append(cert.pem.clone().into_bytes());
    [
        FileSpec::text(own, &*cert.pem, "ca_certs"),
        FileSpec::new(CA_BUNDLE.to_owned(), bundled, "ca_certs"),
    ]
}

fn modules(modules: &[KernelModule]) -> Vec<FileSpec> {
    let mut files = Vec::new();
    if !modules.is_empty() {
        let names: String = modules
            .iter()
            .map(|module| format!("{}\n", module.name))
            .collect();
        files.push(FileSpec::text(
            "/etc/modules-load.d/20-cloudinit.conf",
            names,
            "kernel_modules",
        ));
    }
    let options: String = modules
        .iter()
        .filter(|module| !module.options.is_empty())
        .map(|module| format!("options {} {}\n", module.name, module.options))
        .collect();
    if !options.is_empty() {
        files.push(FileSpec::text(
            "/etc/modprobe.d/20-cloudinit.conf",
            options,
            "kernel_modules",
        ));
    }
    files
}

fn cluster(cluster: &Cluster) -> Option<FileSpec> {
    if *cluster == Cluster::default() {
        return None;
    }
    let name = cluster.name.as_deref().unwrap_or("default");
    let mut value = json!({"name": name, "seeds": cluster.seeds});
    for (key, text) in [
        ("ca", &cluster.ca),
        ("ca_key", &cluster.ca_key),
        ("join_secret", &cluster.join_secret),
    ] {
        if let Some(text) = text {
            value[key] = json!(text);
        }
    }
    let file = FileSpec::text(
        "/etc/strake/cluster.json",
        format!("{value}\n"),
        "strake.cluster",
    );
    let mode = match cluster.join_secret {
        Some(_) => 0o600,
        None => file.mode,
    };
    Some(FileSpec { mode, ..file })
}

fn health(health: &Health) -> Option<FileSpec> {
    if *health == Health::default() {
        return None;
    }
    let value = json!({
        "require": health.require,
        "for": duration(health.settle.unwrap_or(Duration::from_secs(30))),
        "deadline": duration(health.deadline.unwrap_or(Duration::from_secs(600))),
    });
    Some(FileSpec::text(
        "/etc/strake/health.json",
        format!("{value}\n"),
        "strake.health",
    ))
}

/// Only what is set: the updater knows its own defaults.
fn update(limits: &UpdateLimits) -> Option<FileSpec> {
    let mut value = serde_json::Map::new();
    if let Some(interval) = limits.poll_interval {
        value.insert("poll_interval_seconds".into(), json!(interval.as_secs()));
    }
    if let Some(bytes) = limits.bandwidth {
        value.insert("bandwidth".into(), json!(bytes));
    }
    if let Some(percent) = limits.cpu_percent {
        value.insert("cpu_percent".into(), json!(percent));
    }
    if !limits.windows.is_empty() {
        value.insert("windows".into(), windows(&limits.windows));
    }
    (!value.is_empty()).then(|| {
        FileSpec::text(
            "/etc/strake/update.json",
            format!("{}\n", serde_json::Value::Object(value)),
            "strake.update",
        )
    })
}

fn windows(windows: &[Window]) -> serde_json::Value {
    let window =
        |window: &Window| json!({"start": window.start, "length_seconds": window.length.as_secs()});
    windows.iter().map(window).collect()
}

/// Only what is set: the service knows its own defaults.
fn reboot(reboot: &Reboot) -> Option<FileSpec> {
    let mut value = serde_json::Map::new();
    if !reboot.windows.is_empty() {
        value.insert("windows".into(), windows(&reboot.windows));
    }
    for (key, text) in [
        ("time_zone", &reboot.time_zone),
        ("group", &reboot.group),
        ("fleetlock", &reboot.fleetlock),
    ] {
        if let Some(text) = text {
            value.insert(key.into(), json!(text));
        }
    }
    for (key, time) in [
        ("users_seconds", reboot.users),
        ("drain_seconds", reboot.drain),
    ] {
        if let Some(time) = time {
            value.insert(key.into(), json!(time.as_secs()));
        }
    }
    if let Some(budget) = reboot.budget {
        value.insert("budget".into(), json!(budget));
    }
    (!value.is_empty()).then(|| {
        FileSpec::text(
            "/etc/strake/reboot.json",
            format!("{}\n", serde_json::Value::Object(value)),
            "strake.reboot",
        )
    })
}

fn dashboard(dashboard: &Dashboard) -> FileSpec {
    let mut value = json!({"listen": dashboard.listen});
    if let Some(token) = &dashboard.token {
        value["token"] = json!(token);
    }
    let path = "/etc/strake/dashboard.json";
    let file = FileSpec::text(path, format!("{value}\n"), "strake.dashboard");
    FileSpec {
        mode: 0o600,
        ..file
    }
}

fn duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// Units for `mounts` and `swap`, planned like a user's own.
pub(super) fn units(config: &Config) -> Vec<Unit> {
    let mut units: Vec<Unit> = config.mounts.iter().map(mount).collect();
    units.extend(config.swap.iter().flat_map(swap));
    units
}

fn mount(mount: &Mount) -> Unit {
    let network = mount.is_network();
    let target = if network {
        "remote-fs.target"
    } else {
        "local-fs.target"
    };
    let mut options = mount.options.clone();
    let mut add = |wanted: bool, option: &str| {
        if wanted && !options.iter().any(|known| known == option) {
            options.push(option.to_owned());
        }
    };
    add(network, "_netdev");
    add(!mount.required, "nofail");
    let mut text = format!(
        "[Unit]\nDescription=Mount {path}\n\n[Mount]\nWhat={what}\nWhere={path}\n",
        path = unit_value(&mount.path),
        what = unit_value(&mount.what),
    );
    if !mount.kind.is_empty() {
        text.push_str(&format!("Type={}\n", unit_value(&mount.kind)));
    }
    if !options.is_empty() {
        text.push_str(&format!("Options={}\n", unit_value(&options.join(","))));
    }
    let dependency = if mount.required {
        "RequiredBy"
    } else {
        "WantedBy"
    };
    text.push_str(&format!("\n[Install]\n{dependency}={target}\n"));
    enabled(format!("{}.mount", escape_path(&mount.path)), text)
}

const SWAP_MAKER: &str = "strake-swapfile.service";

fn swap(swap: &Swap) -> [Unit; 2] {
    let name = format!("{}.swap", escape_path(&swap.path));
    let path = unit_value(&swap.path);
    let maker = format!(
        "[Unit]\nDescription=Make the swap file\nDefaultDependencies=no\n\
         RequiresMountsFor={quoted}\nConditionPathExists=!{path}\nBefore={name}\n\n\
         [Service]\nType=oneshot\nUMask=0077\n\
         ExecStart=mkswap --file --size {bytes} {quoted}\n",
        quoted = unit_word(&swap.path),
        bytes = swap.bytes,
    );
    let unit = format!(
        "[Unit]\nDescription=Swap file\nRequires={SWAP_MAKER}\nAfter={SWAP_MAKER}\n\n\
         [Swap]\nWhat={path}\n\n[Install]\nWantedBy=swap.target\n"
    );
    let maker = Unit {
        name: SWAP_MAKER.to_owned(),
        content: Some(maker),
        ..Unit::default()
    };
    [maker, enabled(name, unit)]
}

fn enabled(name: String, content: String) -> Unit {
    Unit {
        name,
        content: Some(content),
        enable: Some(true),
        ..Unit::default()
    }
}
