use super::*;

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
         Spread=zone\nMemory=1.5G\nCPU=0.5\nPriority=-5\nSticky=yes\n",
    )
    .expect("requirements");
    let globs: Vec<String> = found.conflicts.iter().map(Glob::to_string).collect();
    assert_eq!(globs, ["web@*.service", "db.service"]);
    assert_eq!(found.metadata["zone"].len(), 2);
    assert_eq!(found.metadata["disk"].len(), 1);
    let following: Vec<&str> = found.machine_of.iter().map(UnitName::as_str).collect();
    assert_eq!(following, ["pod-3.service"]);
    let weights: Vec<i64> = found.prefer.iter().map(|(weight, _)| *weight).collect();
    assert_eq!(weights, [20, 10]);
    assert_eq!(
        (found.memory, found.cpu, found.priority),
        (1_610_612_736, 500, -5)
    );
    assert_eq!((found.reach, found.hold), (Reach::Single, Hold::Sticky));
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
