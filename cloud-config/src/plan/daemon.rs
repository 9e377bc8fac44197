//! Settings of the daemons of old, as environment of the services that have taken their place.

use super::escape::{environment_file_value, os_release_value, unit_word};
use super::{Body, FileSpec, UpdateConf, update_conf};
use crate::config::{Config, Daemon, Oem, Setting};
use crate::schema::{daemon_table, daemon_variable};

pub(super) const REBOOT: &str = "strake-reboot.service";
pub(super) const FLEETLOCK: &str = "strake-fleetlock.service";
pub(super) const DASHBOARD: &str = "strake-dashboard.service";
pub(super) const UPDATE: &str = "strake-update.service";
pub(super) const SCHEDULER: &str = "strake-scheduler.service";
pub(super) const OVERLAY: &str = "strake-overlay.service";
const ETCD: &str = "etcd.service";
const FLANNEL_OPTIONS: &str = "/run/flannel/options.env";

/// What a unit of the old system is called here.
pub(super) fn native_name(name: &str) -> &str {
    match name {
        "locksmithd.service" => REBOOT,
        "update-engine.service" => UPDATE,
        "fleet.service" => SCHEDULER,
        "flanneld.service" => OVERLAY,
        "etcd2.service" | "etcd-member.service" => ETCD,
        name => name,
    }
}

/// In the order of the original: oem-release, update.conf, flannel, then the drop-ins.
pub(super) fn files(config: &Config) -> Vec<FileSpec> {
    let mut files = Vec::new();
    files.extend(oem_release(&config.oem));
    if let Some(values) = UpdateConf::of(&config.update) {
        let path = update_conf::PATH.to_owned();
        files.push(FileSpec::new(
            path,
            Body::UpdateConf(values),
            "coreos.update",
        ));
    }
    if let Some(settings) = config.daemons.get(&Daemon::Flannel) {
        let lines = ordered(Daemon::Flannel, settings);
        let lines = lines.map(|s| format!("{}={}", s.variable, environment_file_value(&s.value)));
        let text = lines.collect::<Vec<_>>().join("\n");
        files.push(FileSpec::text(FLANNEL_OPTIONS, text, "coreos.flannel"));
    }
    files
}

/// The drop-ins `20-cloudinit.conf`, each with the service it belongs to.
pub(super) fn drop_ins(config: &Config) -> Vec<(&'static str, FileSpec)> {
    let services = [
        (Daemon::Etcd, ETCD, "coreos.etcd"),
        (Daemon::Etcd2, ETCD, "coreos.etcd2"),
        (Daemon::Fleet, SCHEDULER, "coreos.fleet"),
        (Daemon::Locksmith, REBOOT, "coreos.locksmith"),
    ];
    let drop_in = |(daemon, service, origin): (Daemon, &'static str, &'static str)| {
        let settings = config.daemons.get(&daemon)?;
        let mut text = "[Service]\n".to_owned();
        for setting in ordered(daemon, settings) {
            let word = unit_word(&format!("{}={}", setting.variable, setting.value));
            text.push_str(&format!("Environment={word}\n"));
        }
        if matches!(daemon, Daemon::Etcd | Daemon::Etcd2) {
            text.extend(renamed(settings));
        }
        let path = format!("/run/systemd/system/{service}.d/20-cloudinit.conf");
        Some((service, FileSpec::text(path, text, origin)))
    };
    // Both etcd sections write one file; the newer one stays.
    let etcd_twice = config.daemons.contains_key(&Daemon::Etcd2);
    let wanted = services
        .into_iter()
        .filter(|(d, ..)| !(etcd_twice && *d == Daemon::Etcd));
    wanted.filter_map(drop_in).collect()
}

/// etcd no longer knows these variables and would let in anybody: what they meant, in today's.
fn renamed(settings: &[Setting]) -> impl Iterator<Item = String> {
    let value = |name: &str| settings.iter().find(|setting| setting.variable == name);
    let side = move |prefix: &str| {
        let old = value(&format!("{prefix}CA_FILE"))?;
        let trusted = format!("{prefix}TRUSTED_CA_FILE");
        if value(&trusted).is_some() {
            return None;
        }
        let trusted = unit_word(&format!("{trusted}={}", old.value));
        Some(format!(
            "Environment={trusted}\nEnvironment={prefix}CLIENT_CERT_AUTH=true\n"
        ))
    };
    ["ETCD_", "ETCD_PEER_"].into_iter().filter_map(side)
}

/// The order of the table, whatever layer a setting came from.
fn ordered(daemon: Daemon, settings: &[Setting]) -> impl Iterator<Item = &Setting> {
    daemon_table(daemon).keys.iter().filter_map(move |key| {
        let variable = daemon_variable(daemon, key.name);
        settings.iter().find(|setting| setting.variable == variable)
    })
}

fn oem_release(oem: &Oem) -> Option<FileSpec> {
    let id = oem.id.as_deref()?;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let text = format!(
        "ID={id}\nVERSION_ID={}\nNAME={}\nHOME_URL={}\nBUG_REPORT_URL={}\n",
        text(&oem.version_id),
        os_release_value(&text(&oem.name)),
        os_release_value(&text(&oem.home_url)),
        os_release_value(&text(&oem.bug_report_url)),
    );
    Some(FileSpec::text("/etc/oem-release", text, "coreos.oem"))
}
