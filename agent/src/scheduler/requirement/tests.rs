use super::*;
use crate::scheduler::text::{Problem, Text};

fn read(name: &str, options: &str) -> Result<Requirements, Vec<String>> {
    let text = Text::parse(&format!("[Service]\nExecStart=/bin/true\n{options}")).expect("text");
    let name = name.parse().expect("name");
    Requirements::read(&name, &text)
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

#[test]
fn all_options_are_read() {
    let found = read(
        "web@3.service",
        "[X-Fleet]\nMachineMetadata=\"zone=a\" zone=b\nMachineMetadata=disk=ssd\n\
         Conflicts=%p@*.service db.service\nMachineOf=pod-%i\n\
         [X-Strake]\nRequire=cpus >= 2\nPrefer=+20 disk = ssd\nPrefer=zone = a\nAvoid=batch-*\n\
         Spread=zone\nMemory=1.5G\nCPU=0.5\nPriority=-5\nSticky=yes\nFence=yes\n",
    )
    .expect("requirements");
    let globs: Vec<String> = found.conflicts.iter().map(Glob::to_string).collect();
    assert_eq!(globs, ["web@*.service", "db.service"]);
    assert_eq!(found.metadata["zone"].len(), 2);
    assert_eq!(found.metadata["disk"].len(), 1);
    let following: Vec<String> = found.machine_of.iter().map(Target::to_string).collect();
    assert_eq!(following, ["pod-3.service"]);
    let weights: Vec<i64> = found.prefer.iter().map(|(weight, _)| *weight).collect();
    assert_eq!(weights, [20, 10]);
    assert_eq!(
        (found.memory, found.cpu, found.priority),
        (1_610_612_736, 500, -5)
    );
    assert_eq!((found.reach, found.hold), (Reach::Single, Hold::Sticky));
    assert_eq!(found.fence, Fence::Yes);
}

#[test]
fn the_last_word_on_global_and_the_first_on_the_machine_count() {
    let found = read("a.service", "[X-Fleet]\nGlobal=T\nGlobal=no\nGlobal=On\n");
    assert_eq!(found.expect("requirements").reach, Reach::Global);
    let old = "[X-Fleet]\nX-ConditionMachineID=one\nMachineID=two\n";
    let found = read("a.service", old).expect("requirements");
    assert_eq!(found.machine_id.as_deref(), Some("one"));
}

#[test]
fn wrong_options_are_refused_with_place_and_hint() {
    let cases = [
        (
            "[X-Fleet]\nConflict=a\n",
            "line 4, column 1: [X-Fleet] has no option \"Conflict\" (did you mean Conflicts?)",
        ),
        (
            "[X-Fleet]\nColour=red\n",
            "line 4, column 1: [X-Fleet] has no option \"Colour\" (known are MachineID, MachineOf, \
             MachineMetadata, Conflicts, Replaces, Global)",
        ),
        (
            "[X-Strakes]\nMemory=1\n",
            "line 4, column 1: [X-Strakes] is no section known here (did you mean [X-Strake]?)",
        ),
        (
            "[X-Fleet]\nMachineMetadata=zone\n",
            "line 4, column 1: MachineMetadata: \"zone\" is not key=value",
        ),
        (
            "[X-Fleet]\nMachineMetadata=\"zone=a\n",
            "line 4, column 1: MachineMetadata: a quote is left open",
        ),
        (
            "[X-Fleet]\nGlobal=perhaps\n",
            "line 4, column 1: Global: this is yes or no",
        ),
        (
            "[X-Fleet]\nMachineOf=a.service\n",
            "line 4, column 1: MachineOf: a unit cannot follow itself",
        ),
        (
            "[X-Strake]\nRequire=zone\n",
            "line 4, column 1: Require: a condition has a comparison: = != < <= > >= =~ or !~",
        ),
        (
            "[X-Strake]\nMemory=much\n",
            "line 4, column 1: Memory: this is a number of bytes, such as 512M or 2G",
        ),
        (
            "[X-Fleet]\nGlobal=yes\n[X-Strake]\nBatch=yes\n",
            "line 6, column 1: Batch: a unit that ends cannot be global",
        ),
        (
            "[X-Strake]\nCalendar=dayly\n",
            "line 4, column 1: Calendar: this is a time such as daily, Mon..Fri 06:30, *-*-01 00:00 \
             or *:0/15 (did you mean daily?)",
        ),
        (
            "[X-Strake]\nBatch=once\n",
            "line 4, column 1: Batch: this is yes or no",
        ),
        (
            "[X-Strake]\nRequire=zone = a\nRequire=zone = b\n",
            "line 5, column 1: Require: no machine can meet \"zone = b\" and Require=zone = a",
        ),
        (
            "[X-Strake]\nRequire=cpus > 8\nRequire=cpus <= 4\n",
            "line 5, column 1: Require: no machine can meet \"cpus <= 4\" and Require=cpus > 8",
        ),
        (
            "[X-Fleet]\nMachineMetadata=zone=a zone=b\n[X-Strake]\nRequire=zone = c\n",
            "line 6, column 1: Require: no machine can meet \"zone = c\" and \
             MachineMetadata=zone=...",
        ),
        (
            "[X-Strake]\nPriority=2000\n",
            "line 4, column 1: Priority: this is a number from -1000 to 1000",
        ),
        (
            "[X-Strake]\nPrefer=+2000 a = b\n",
            "line 4, column 1: Prefer: a weight is a number from -1000 to 1000",
        ),
    ];
    for (options, expected) in cases {
        let problems = read("a.service", options).expect_err(options);
        assert_eq!(problems, [expected], "{options}");
    }
}

#[test]
fn a_template_has_replicas_and_its_instances_have_none() {
    let options = "[X-Strake]\nReplicas=3\nMaxUnavailable=2\nHealthyFor=5\nHealthyWithin=2m\n";
    let found = read("web@.service", options)
        .expect("requirements")
        .replicas;
    let numbers = (
        found.count,
        found.most_down,
        found.healthy_for,
        found.healthy_within,
    );
    assert_eq!(numbers, (3, 2, 5, 120));
    let instance = read("web@1.service", options).expect("requirements");
    assert_eq!(instance.replicas, Replicas::default());
    let cases = [
        (
            "web.service",
            "Replicas=2",
            "Replicas: only a template has replicas",
        ),
        (
            "web@.service",
            "Replicas=0",
            "Replicas: this is a number from 1 to 1000",
        ),
        (
            "web@.service",
            "MaxUnavailable=2",
            "MaxUnavailable: this needs Replicas= beside it",
        ),
        (
            "web@.service",
            "Replicas=2\nBatch=yes",
            "Replicas: a unit that ends has no replicas",
        ),
        (
            "web@.service",
            "Replicas=2\nHealthyFor=2d",
            "HealthyFor: this is a time up to 24h, such as 30s or 5m",
        ),
        (
            "web@.service",
            "Replicas=2\nHealthyWithin=10s",
            "Replicas: HealthyWithin= has to be longer than HealthyFor= (300s and 10s unless given)",
        ),
    ];
    for (name, options, expected) in cases {
        let found = read(name, &format!("[X-Strake]\n{options}\n")).expect_err(options);
        assert!(
            found[0].ends_with(&format!("column 1: {expected}")),
            "{found:?}"
        );
    }
}

#[test]
fn only_what_has_a_process_can_end() {
    let batch = "[X-Strake]\nBatch=yes\n";
    let found = read("a.service", batch).expect("requirements");
    assert_eq!(found.course, Course::Once);
    let daily = read("a.service", "[X-Strake]\nCalendar=daily\nBatch=yes\n");
    assert!(matches!(
        daily.expect("requirements").course,
        Course::Calendar(_)
    ));
    let refused = read("a.timer", batch).expect_err("refused");
    assert_eq!(
        refused,
        ["line 4, column 1: Batch: only services and containers end"]
    );
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let options = [
        ("MachineID", "MachineID=x"),
        ("MachineOf", "MachineOf=b.service"),
        ("Conflicts", "Conflicts=c*"),
        ("Replaces", "Replaces=d*"),
        ("Global", "Global=true"),
    ];
    let together = [
        ("MachineOf", "Conflicts"),
        ("MachineOf", "Replaces"),
        ("Conflicts", "Global"),
    ];
    for (index, (one, first)) in options.iter().enumerate() {
        for (other, second) in &options[index + 1..] {
            let result = read("a.service", &format!("[X-Fleet]\n{first}\n{second}\n"));
            let allowed = together.contains(&(one, other));
            assert_eq!(result.is_ok(), allowed, "{one} with {other}: {result:?}");
        }
    }
    let away = read(
        "a.service",
        "[X-Fleet]\nMachineOf=b.service\nConflicts=b*\n",
    );
    assert_eq!(
        away.expect_err("refused"),
        ["line 4, column 1: b.service cannot be followed: b* keeps it away"]
    );
}
