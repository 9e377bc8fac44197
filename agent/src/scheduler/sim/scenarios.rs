//! What users of fleet relied on, and what Strake adds: each a cluster, what is done to it, and what
//! must hold then. `town` says what the lines mean.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::beyond::BEYOND;
use super::losses::LOSSES;
use super::{PAUSED, town};

/// Name and script.
pub(super) type Scenario = (&'static str, &'static str);

const UNITS: [Scenario; 12] = [
    (
        "a unit that is submitted is known and runs nowhere",
        "machine m1
      submit a.service
      is a.service inactive
      still 10
      nowhere a.service",
    ),
    (
        "a unit goes through its states and back",
        "machine m1
      submit a.service
      load a.service
      loaded a.service on 1
      is a.service loaded
      start a.service
      runs a.service on m1
      is a.service launched
      stop a.service
      loaded a.service on 1
      unload a.service
      nowhere a.service
      is a.service inactive
      start a.service
      runs a.service on m1",
    ),
    (
        "a unit that is destroyed is gone, also while it runs",
        "machine m1
      start a.service
      runs a.service on 1
      destroy a.service
      nowhere a.service
      refused stop a.service => a.service is not known to the cluster",
    ),
    (
        "another text under a known name is refused unless it is to replace it",
        "machine m1
      start a.service
      runs a.service on 1
      refused submit a.service : Memory=1M => is there with another content
      replace a.service : ExecStart=/bin/other
      is a.service inactive
      is a.service launched
      runs a.service on 1",
    ),
    (
        "a unit is stopped and started again where it is",
        "machine m1
      machine m2
      start a.service : MachineID=m2
      runs a.service on m2
      stop a.service
      loaded a.service on 1
      start a.service
      runs a.service on m2",
    ),
    (
        "units are spread over machines by their number",
        "machine m1
      machine m2
      machine m3
      start a.service
      start b.service
      start c.service
      apart a.service b.service
      apart b.service c.service
      apart a.service c.service",
    ),
    (
        "instances have their template's text and are units of their own",
        "machine m1
      submit a@.service
      refused start a@.service => is a template
      start a@1.service
      start a@2.service
      runs a@1.service on 1
      runs a@2.service on 1
      destroy a@1.service
      nowhere a@1.service
      runs a@2.service on 1
      is a@.service inactive",
    ),
    (
        "instances of one template that conflict are on machines of their own",
        "machine m1
      machine m2
      submit a@.service : Conflicts=a@*
      start a@1.service
      start a@2.service
      start a@3.service
      apart a@1.service a@2.service
      still 30
      nowhere a@3.service
      machine m3
      runs a@3.service on m3",
    ),
    (
        "a batch unit runs once and stays ended",
        "machine m1
      start b.service : Batch=yes
      is b.service launched
      nowhere b.service
      still 60
      power-off m1
      boot m1
      still 30
      nowhere b.service",
    ),
    (
        "replicas are as many as the template says",
        "machine m1
      machine m2
      start r@.service : Replicas=3; HealthyFor=1
      runs r@1.service on 1
      runs r@2.service on 1
      runs r@3.service on 1
      replace r@.service : Replicas=1; HealthyFor=1
      nowhere r@2.service
      nowhere r@3.service
      runs r@1.service on 1
      stop r@.service
      loaded r@1.service on 1
      unload r@.service
      nowhere r@1.service",
    ),
    (
        "a service and a container of one name are refused together",
        "machine m1
      start a.service
      runs a.service on 1
      refused submit a.container : ExecStart=/bin/x => a.container",
    ),
    (
        "a unit that fails stays where it is and stays launched",
        "machine m1
      machine m2
      start a.service : ExecStart=/bin/false
      is a.service launched
      still 60
      runs a.service on 0",
    ),
];

const PLACES: [Scenario; 16] = [
    (
        "a unit is put on the machine it names, by its whole id or the first eight characters",
        "machine 0123456789a
      machine abcdefghij
      start a.service : MachineID=abcdefghij
      start b.service : MachineID=01234567
      runs a.service on abcdefghij
      runs b.service on 0123456789a",
    ),
    (
        "a unit waits for the machine it names",
        "machine m1
      start a.service : MachineID=m2
      still 30
      nowhere a.service
      explain a.service m1 => MachineID asks for m2
      machine m2
      runs a.service on m2",
    ),
    (
        "a follower is where the unit is that it follows, and moves along",
        "machine m1
      machine m2
      start f.service : MachineOf=a.service
      still 10
      nowhere f.service
      start a.service
      together a.service f.service
      drain m1
      runs a.service on m2
      runs f.service on m2
      undrain m1
      drain m2
      runs a.service on m1
      runs f.service on m1",
    ),
    (
        "a follower of a unit that is destroyed has to go",
        "machine m1
      start a.service
      start f.service : MachineOf=a.service
      together a.service f.service
      destroy a.service
      nowhere f.service
      explain f.service m1 => MachineOf: a.service is not there",
    ),
    (
        "units that conflict are apart, whichever of them says so",
        "machine m1
      machine m2
      start a.service : Conflicts=b.service
      start b.service
      apart a.service b.service
      start c.service
      start d.service : Conflicts=c.service
      apart c.service d.service",
    ),
    (
        "one that keeps all others away waits for an empty machine",
        "machine m1
      start a.service
      runs a.service on m1
      start lonely.service : Conflicts=*
      still 30
      nowhere lonely.service
      explain lonely.service m1 => Conflicts: a.service is there
      destroy a.service
      runs lonely.service on m1
      start b.service
      still 10
      explain b.service m1 => lonely.service is there and conflicts with it",
    ),
    (
        "several conflicts count all together",
        "machine m1
      machine m2
      machine m3
      start a.service : MachineID=m1
      start b.service : MachineID=m2
      start c.service : Conflicts=a.service b.service
      runs c.service on m3",
    ),
    (
        "a unit that replaces another takes its machine, and the other goes elsewhere",
        "machine m1
      machine m2
      start old.service : MachineMetadata=disk=ssd
      tag m1 disk=ssd
      runs old.service on m1
      tag m2 disk=ssd
      start new.service : Replaces=old.service; MachineMetadata=first=yes
      tag m1 first=yes
      runs new.service on m1
      runs old.service on m2",
    ),
    (
        "two that replace each other live side by side",
        "machine m1
      start a.service : Replaces=b.service
      start b.service : Replaces=a.service
      runs a.service on m1
      runs b.service on m1
      still 30",
    ),
    (
        "a global unit is on every machine, also on one that comes later",
        "machine m1
      machine m2
      start g.service : Global=yes
      runs g.service on m1 m2
      is g.service launched
      machine m3
      runs g.service on m1 m2 m3
      stop g.service
      loaded g.service on 3
      destroy g.service
      nowhere g.service",
    ),
    (
        "a global unit is only where its metadata is",
        "machine m1 zone=a
      machine m2 zone=b
      start g.service : Global=yes; MachineMetadata=zone=a
      runs g.service on m1
      tag m2 zone=a
      runs g.service on m1 m2
      tag m1 zone=c
      runs g.service on m2",
    ),
    (
        "a global unit and a single one that conflict share no machine",
        "machine m1
      machine m2
      start a.service : MachineID=m1
      runs a.service on m1
      start g.service : Global=yes; Conflicts=a.service
      runs g.service on m2",
    ),
    (
        "metadata is one of the values of each key, and all keys",
        "machine m1 zone=a disk=hdd
      machine m2 zone=b disk=ssd
      machine m3 zone=c disk=ssd
      start a.service : MachineMetadata=zone=b; MachineMetadata=zone=a; MachineMetadata=disk=ssd
      runs a.service on m2
      start b.service : MachineMetadata=zone=d
      still 20
      nowhere b.service
      explain b.service m1 => MachineMetadata: zone is not as asked",
    ),
    (
        "a unit leaves a machine whose metadata no longer fits",
        "machine m1 zone=a
      machine m2 zone=b
      start a.service : MachineMetadata=zone=a
      runs a.service on m1
      tag m2 zone=a
      tag m1 zone=b
      runs a.service on m2
      tag m2 zone=
      nowhere a.service
      tag m1 zone=a
      runs a.service on m1",
    ),
    (
        "options that exclude each other are refused and nothing is written",
        "machine m1
      refused submit a.service : Global=yes; MachineOf=b.service => Global
      refused submit a.service : MachineID=m1; Conflicts=b.service => MachineID
      refused submit a.service : Conflicts=b*; Replaces=b.service => Conflicts
      refused submit a.service : MachineOf=b.service; Conflicts=b* => b.service cannot be followed
      refused submit a.service : Conflict=b* => has no option
      refused submit a.service : Memory=lots => Memory",
    ),
    (
        "memory that is set aside is not given twice, and a higher priority comes first",
        "machine m1 memory=4G
      start low.service : Memory=3G; Priority=-1
      runs low.service on m1
      start more.service : Memory=3G; Priority=-1
      still 20
      explain more.service m1 => Memory: 3072M asked, 1024M free
      start high.service : Memory=3G; Priority=5
      runs high.service on m1
      nowhere low.service
      machine m2 memory=8G
      runs low.service on m2
      runs more.service on m2",
    ),
];

fn play(script: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(PAUSED)
        .build()
        .expect("runtime");
    tokio::task::LocalSet::new().block_on(&runtime, town::play(script));
}

/// Names all that fail, each after its own message.
fn hold(scenarios: &[Scenario]) {
    let only = std::env::var("STRAKE_SCENARIO").unwrap_or_default();
    let chosen = scenarios.iter().filter(|(name, _)| name.contains(&only));
    let failed: Vec<&str> = chosen
        .filter(|(_, script)| catch_unwind(AssertUnwindSafe(|| play(script))).is_err())
        .map(|(name, _)| *name)
        .collect();
    assert!(failed.is_empty(), "these do not hold: {failed:#?}");
}

#[test]
fn units_are_as_their_users_say() {
    hold(&UNITS);
}

#[test]
fn units_are_where_they_may_be() {
    hold(&PLACES);
}

#[test]
fn units_get_what_fleet_had_not() {
    hold(&BEYOND);
}

#[test]
fn units_get_over_losses_and_are_moved_when_asked() {
    hold(&LOSSES);
}
