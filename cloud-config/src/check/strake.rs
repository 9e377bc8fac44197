//! `strake`.

use std::time::Duration;

use super::findings::{Findings, Path};
use super::view::View;
use crate::config::{AddressSources, Cluster, Health, Strake, UpdateLimits, Window};
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
        cluster: cluster(view, &path.key("cluster"), out),
        health: health(view, &path.key("health"), out),
        update: update(view),
        addresses: addresses(view),
    }
}

fn cluster(strake: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) -> Cluster {
    let Some(view) = strake.map("cluster") else {
        return Cluster::default();
    };
    let cluster = Cluster {
        name: view.string("name"),
        seeds: view.strings("seeds"),
    };
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
    let windows = view.views("windows").filter_map(|(_, window)| {
        Some(Window {
            start: window.string("start")?,
            length: window.text("length").and_then(duration)?,
        })
    });
    UpdateLimits {
        poll_interval: view.text("poll_interval").and_then(duration),
        bandwidth: view.text("bandwidth").and_then(size),
        cpu_percent: view.text("cpu_percent").and_then(|text| text.parse().ok()),
        windows: windows.collect(),
    }
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
