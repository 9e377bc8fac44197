//! `strake`.

use std::time::Duration;

use super::findings::{Findings, Path};
use super::overlay;
use super::view::View;
use crate::config::{
    AddressSources, Cluster, Dashboard, Health, Reboot, Strake, UpdateLimits, Window,
};
use crate::problem::{Level, Rule};
use crate::schema::{duration, size};

const DEFAULT_SETTLE: Duration = Duration::from_secs(30);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);

pub(super) fn read(root: View<'_>, out: &mut Findings<'_>) -> Strake {
    let Some(view) = root.map("strake") else {
        return Strake::default();
    };
    let path = Path::Root.key("strake");
    Strake {
        cluster: cluster(root, view, &path.key("cluster"), out),
        health: health(view, &path.key("health"), out),
        update: update(view),
        reboot: reboot(view),
        overlay: overlay::read(view, &path.key("overlay"), out),
        dashboard: dashboard(view),
        addresses: addresses(view),
    }
}

fn cluster(root: View<'_>, strake: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) -> Cluster {
    let Some(view) = strake.map("cluster") else {
        return Cluster::default();
    };
    let cluster = Cluster {
        name: view.string("name"),
        seeds: view.strings("seeds"),
        ca: view.string("ca"),
        ca_key: view.string("ca_key"),
        join_secret: view.string("join_secret"),
        names: view.flag("names"),
    };
    whole(root, strake, view, &cluster, (path, out));
    let Some(node) = view.get("seeds") else {
        return cluster;
    };
    let path = path.key("seeds");
    let place = node.span.start..node.span.start + 1;
    let mut sorted = cluster.seeds.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() < cluster.seeds.len() {
        out.add(
            (Level::Error, Rule::DuplicateEntry),
            &place,
            &path,
            "an address is given twice",
        )
        .hint("name each member once");
    } else if cluster.seeds.len() > 7 {
        let message = "more than seven members make etcd slow";
        out.add((Level::Error, Rule::InvalidValue), &place, &path, message)
            .hint("name three or five; all other machines are clients by themselves");
    } else if cluster.seeds.len() >= 2 && cluster.seeds.len().is_multiple_of(2) {
        let message = "an even number of members survives no more failures than one member less";
        out.add((Level::Warning, Rule::InvalidValue), &place, &path, message)
            .hint("name one, three, five or seven");
    }
    cluster
}

/// Half a set of credentials sets up nothing, unless another layer brings the rest; two set-ups of
/// etcd fight.
fn whole(
    root: View<'_>,
    strake: View<'_>,
    view: View<'_>,
    cluster: &Cluster,
    (path, out): (&Path<'_>, &mut Findings<'_>),
) {
    let secret = view.get("join_secret");
    if let Some(node) = secret.filter(|_| cluster.ca.is_none()).or_else(|| {
        let lonely = view.get("ca").or_else(|| view.get("ca_key"));
        lonely.filter(|_| cluster.join_secret.is_none())
    }) {
        let message = "etcd is not set up: \"ca\" and \"join_secret\" belong together";
        out.add(
            (Level::Warning, Rule::MissingKey),
            &node.span,
            path,
            message,
        )
        .hint("strake cluster init prints both");
    }
    let old = root.map("coreos").and_then(|coreos| coreos.get("etcd2"));
    if secret.is_some() && old.is_some() {
        let node = strake.get("cluster").or(secret);
        let place = node.map_or(0..0, |node| node.span.start..node.span.start + 1);
        let message = "strake.cluster and coreos.etcd2 both set up etcd";
        out.add((Level::Error, Rule::InvalidValue), &place, path, message)
            .hint("keep one of them");
    }
}

fn health(strake: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) -> Health {
    let Some(view) = strake.map("health") else {
        return Health::default();
    };
    let read = |name: &str| view.text(name).and_then(duration);
    let health = Health {
        require: view.strings("require"),
        settle: read("for"),
        deadline: read("deadline"),
    };
    let settle = health.settle.unwrap_or(DEFAULT_SETTLE);
    if health.deadline.unwrap_or(DEFAULT_DEADLINE) <= settle
        && let Some(node) = view.get("deadline").or_else(|| view.get("for"))
    {
        let message = "the deadline leaves no time: it is not longer than \"for\"";
        out.add(
            (Level::Error, Rule::InvalidValue),
            &node.span,
            path,
            message,
        )
        .hint("set a longer deadline, such as 10m");
    }
    health
}

fn update(strake: View<'_>) -> UpdateLimits {
    let Some(view) = strake.map("update") else {
        return UpdateLimits::default();
    };
    UpdateLimits {
        poll_interval: view.text("poll_interval").and_then(duration),
        bandwidth: view.text("bandwidth").and_then(size),
        cpu_percent: view.text("cpu_percent").and_then(|text| text.parse().ok()),
        windows: windows(view),
    }
}

fn reboot(strake: View<'_>) -> Reboot {
    let Some(view) = strake.map("reboot") else {
        return Reboot::default();
    };
    Reboot {
        windows: windows(view),
        time_zone: view.string("time_zone"),
        group: view.string("group"),
        users: view.text("users").and_then(duration),
        drain: view.text("drain").and_then(duration),
        fleetlock: view.string("fleetlock"),
        budget: view.text("budget").and_then(|text| text.parse().ok()),
    }
}

fn windows(view: View<'_>) -> Vec<Window> {
    let windows = view.views("windows").filter_map(|(_, window)| {
        Some(Window {
            start: window.string("start")?,
            length: window.text("length").and_then(duration)?,
        })
    });
    windows.collect()
}

fn dashboard(strake: View<'_>) -> Option<Dashboard> {
    let view = strake.map("dashboard")?;
    Some(Dashboard {
        listen: view.string("listen")?,
        token: view.string("token"),
    })
}

fn addresses(strake: View<'_>) -> AddressSources {
    let Some(view) = strake.map("addresses") else {
        return AddressSources::default();
    };
    AddressSources {
        public: view.string("public"),
        private: view.string("private"),
    }
}
