//! Plans as text: each file in `golden/` holds a cluster, a line `---` and the plan for it.
//! `UPDATE_GOLDEN=1` writes the plans anew.

use std::path::{Path, PathBuf};

use super::*;
use crate::scheduler::condition::quantity;
use crate::scheduler::machine::{Duty, Fact};
use crate::scheduler::text::Text;

const FLEET: [&str; 6] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "Global",
];

/// `unit a.service on m1 leaving m2 : Conflicts=b*; Memory=1G`
pub(super) fn read(text: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (head, options) = line.split_once(" : ").unwrap_or((line, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        match words.as_slice() {
            ["machine", id, rest @ ..] => {
                let machine = machine(id, rest);
                snapshot
                    .machines
                    .insert(machine.id.clone(), Arc::new(machine));
            }
            ["away", id, state] => {
                let state = match *state {
                    "over" => Away::Over,
                    _ => Away::Waiting,
                };
                snapshot.away.insert(id.parse().expect("id"), state);
            }
            ["move", unit, from, to, progress] => {
                let id = |word: &str| word.parse::<MachineId>().expect(line);
                let way = Way {
                    from: id(from),
                    to: id(to),
                    progress: match *progress {
                        "asked" => Progress::Asked,
                        "held" => Progress::Held,
                        "begun" => Progress::Begun,
                        _ => Progress::Arrived,
                    },
                };
                snapshot.moves.insert(unit.parse().expect(line), way);
            }
            [kind @ ("unit" | "former"), name, rest @ ..] => {
                let name: UnitName = name.parse().expect(line);
                for pair in rest.chunks(2) {
                    let map = match pair[0] {
                        "on" => &mut snapshot.placed,
                        _ => &mut snapshot.leaving,
                    };
                    let machines = map.entry(name.clone()).or_default();
                    machines.insert(pair[1].parse().expect(line));
                }
                if *kind == "unit" {
                    snapshot.units.insert(name.clone(), wanted(&name, options));
                }
            }
            _ => assert!(words.is_empty(), "{line}"),
        }
    }
    snapshot
}

fn machine(id: &str, words: &[&str]) -> Machine {
    let mut machine = Machine::bare(id);
    for word in words {
        match word.split_once('=') {
            None => machine.duty = Duty::Draining,
            Some((key @ ("cpus" | "memory" | "load5"), value)) => {
                let number = Fact::Number(quantity(value).expect(word));
                machine.facts.insert(key.to_string(), number);
            }
            Some((key, value)) => {
                machine.metadata.insert(key.to_string(), value.to_string());
            }
        }
    }
    machine
}

pub(super) fn wanted(name: &UnitName, options: &str) -> Wanted {
    let mut text = String::new();
    for option in options.split(';').map(str::trim).filter(|o| !o.is_empty()) {
        let key = option.split('=').next().expect("key");
        let section = match FLEET.contains(&key) {
            true => "X-Fleet",
            false => "X-Strake",
        };
        text += &format!("[{section}]\n{option}\n");
    }
    let text = Text::parse(&text).expect(options);
    Wanted {
        requirements: Arc::new(Requirements::read(name, &text).expect(options)),
    }
}

fn check(path: &Path) {
    let written = std::fs::read_to_string(path).expect("golden file");
    let (cluster, expected) = written.split_once("---\n").unwrap_or((&written, ""));
    let snapshot = read(cluster);
    let mut found = plan(&snapshot).to_string();
    for unit in cluster.lines().filter_map(|l| l.strip_prefix("# explain ")) {
        for (machine, verdict) in explain(&snapshot, &unit.parse().expect("unit")) {
            found += &format!("{unit} and {machine}: {verdict:?}\n");
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{cluster}---\n{found}")).expect("written");
    } else {
        assert_eq!(found, expected, "{}", path.display());
    }
}

#[test]
fn plans_are_as_written() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/scheduler/plan/golden");
    let entries = std::fs::read_dir(dir).expect("golden files");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} golden files", paths.len());
    for path in paths {
        check(&path);
    }
}
