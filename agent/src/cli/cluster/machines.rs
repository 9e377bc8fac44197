//! What `strake cluster status` tells of machines, releases and the reboot lock.

use crate::cli::output::columns;
use crate::dashboard::view::{Group, Machine, Presence, Release, View};

pub(super) fn table(view: &View) -> String {
    let mut text = String::new();
    let head = [
        "MACHINE", "ID", "STATE", "RELEASE", "SLOT", "UNITS", "SUBNET", "DOING",
    ];
    let mut rows = vec![row(head)];
    rows.extend(view.machines.iter().map(machine));
    text += &columns(&rows);
    if !view.releases.is_empty() {
        let head = [
            "RELEASE",
            "RUNNING",
            "READY",
            "TRYING",
            "FELL BACK",
            "STANDING",
        ];
        let mut rows = vec![row(head)];
        rows.extend(view.releases.iter().map(release));
        text += &format!("\n{}", columns(&rows));
    }
    for group in &view.locks {
        text += &format!("\n{}", lock(view, group));
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_string).to_vec()
}

fn machine(machine: &Machine) -> Vec<String> {
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_string());
    let state = match machine.presence {
        Presence::Away => "away",
        Presence::Live => machine.health.as_deref().unwrap_or("live"),
    };
    let ready = machine.next_release.as_ref();
    let ready = ready.map(|version| format!("{version} is ready"));
    let doing: Vec<String> = machine.doing.iter().cloned().chain(ready).collect();
    let doing = Some(doing.join(", ")).filter(|doing| !doing.is_empty());
    vec![
        machine.name().to_string(),
        machine.id.get(..8).unwrap_or(&machine.id).to_string(),
        state.to_string(),
        or_dash(&machine.release),
        or_dash(&machine.slot),
        format!("{} of {}", machine.up, machine.units),
        or_dash(&machine.subnet),
        or_dash(&doing),
    ]
}

fn release(release: &Release) -> Vec<String> {
    let standing = match (&release.refused, release.proven) {
        (Some(refused), _) => format!("refused: {}", refused.cause),
        (None, true) => "proven".to_string(),
        (None, false) => "-".to_string(),
    };
    let counts = [
        release.running,
        release.waiting,
        release.trying.len(),
        release.fallbacks.len(),
    ];
    let counts = counts.iter().map(usize::to_string);
    let version = std::iter::once(release.version.clone());
    version.chain(counts).chain([standing]).collect()
}

fn lock(view: &View, group: &Group) -> String {
    let name = match group.name.as_str() {
        "" => "reboot lock".to_string(),
        name => format!("reboot lock of {name}"),
    };
    if let Some(corrupt) = &group.corrupt {
        return format!("{name}: corrupt: {corrupt}; `strake lock reset` makes it anew\n");
    }
    let waiting = group.waiting.len();
    let (free, max) = (group.available, group.max);
    let mut text = format!("{name}: {free} of {max} free, {waiting} waiting\n");
    for holder in &group.holders {
        let id = &holder.id;
        let known = view.machines.iter().find(|machine| machine.id == *id);
        let who = known.map_or(id.as_str(), Machine::name);
        text += &match holder.since.as_str() {
            "" => format!("  {who}: taken by another program or by hand\n"),
            since => format!("  {who} since {since}: {}\n", holder.reason),
        };
    }
    for twin in &group.twins {
        text += &format!("  ALARM: two machines have the id {}\n", twin.id);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::view::Holder;

    #[test]
    fn machines_releases_and_holders_are_told() {
        let id = "0123456789abcdef0123456789abcdef".to_string();
        let some = |text: &str| Some(text.to_string());
        let node = Machine {
            id: id.clone(),
            hostname: some("node1"),
            presence: Presence::Live,
            address: String::new(),
            zone: None,
            release: some("1.1.0"),
            slot: some("A"),
            health: some("healthy"),
            doing: some("drains, then reboots: update to 1.2.0"),
            next_release: some("1.2.0"),
            subnet: None,
            units: 2,
            up: 1,
        };
        let gone = Machine {
            id: "f".repeat(32),
            hostname: None,
            presence: Presence::Away,
            release: None,
            slot: None,
            doing: None,
            next_release: None,
            up: 0,
            ..node.clone()
        };
        let view = View {
            leader: None,
            machines: vec![node, gone],
            releases: vec![Release {
                version: "1.1.0".to_string(),
                running: 1,
                proven: true,
                ..Release::default()
            }],
            locks: vec![Group {
                name: String::new(),
                available: 0,
                max: 1,
                corrupt: None,
                holders: vec![Holder {
                    id,
                    reason: "update to 1.2.0".to_string(),
                    since: "2026-11-21T11:00:00Z".to_string(),
                    ..Holder::default()
                }],
                waiting: vec!["f".repeat(32)],
                takeovers: Vec::new(),
                twins: Vec::new(),
            }],
            units: Vec::new(),
        };
        let expected = "\
MACHINE   ID        STATE    RELEASE  SLOT  UNITS   SUBNET  DOING
node1     01234567  healthy  1.1.0    A     1 of 2  -       drains, then reboots: update to 1.2.0, 1.2.0 is ready
ffffffff  ffffffff  away     -        -     0 of 2  -       -

RELEASE  RUNNING  READY  TRYING  FELL BACK  STANDING
1.1.0    1        0      0       0          proven

reboot lock: 0 of 1 free, 1 waiting
  node1 since 2026-11-21T11:00:00Z: update to 1.2.0
";
        assert_eq!(table(&view), expected);
    }
}
