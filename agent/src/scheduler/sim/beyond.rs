//! Scenarios of what fleet had not.

use super::scenarios::Scenario;

pub(super) const BEYOND: [Scenario; 11] = [
    (
        "a follower of any of some units is beside one of them",
        "machine m1
      machine m2
      start side.service : MachineOf=db@*
      still 10
      nowhere side.service
      start db@1.service : MachineID=m2
      together db@1.service side.service
      start db@2.service : MachineID=m1
      runs db@2.service on m1
      runs side.service on m2
      destroy db@1.service
      runs side.service on m1
      destroy db@2.service
      nowhere side.service
      explain side.service m1 => MachineOf: db@*.service is not there",
    ),
    (
        "a follower of a template follows its instances",
        "machine m1
      machine m2
      submit web@.service : MachineID=m2
      start log.service : MachineOf=web@.service
      still 10
      nowhere log.service
      start web@1.service
      together web@1.service log.service
      runs log.service on m2",
    ),
    (
        "followers in a ring are refused",
        "machine m1
      submit a.service : MachineOf=b.service
      submit b.service : MachineOf=c.service
      refused submit c.service : MachineOf=a.service => would follow itself
      refused submit d.service : Require=zone = a; Require=zone = b => no machine can meet",
    ),
    (
        "a fenced unit has ended where nobody reaches it before it begins elsewhere",
        "machine m1
      machine m2
      start f.service : Fence=yes; MachineMetadata=x=y
      tag m1 x=y
      runs f.service on m1
      tag m2 x=y
      cut m1
      runs f.service on m2
      mend m1
      there m1
      still 30",
    ),
    (
        "a calendar unit runs at each of its times until it is stopped",
        "machine m1
      machine m2
      start c.service : Calendar=minutely
      ran c.service 1
      ran c.service 2
      ran c.service 3
      nowhere c.service
      is c.service launched
      stop c.service
      loaded c.service on 1
      still 130
      ran c.service 3",
    ),
    (
        "a batch unit runs once for each start",
        "machine m1
      start b.service : Batch=yes
      ran b.service 1
      nowhere b.service
      is b.service launched
      stop b.service
      start b.service
      ran b.service 2
      nowhere b.service
      still 60",
    ),
    (
        "conditions on live facts decide where a unit is put, weights among what is left",
        "machine m1 load5=5 disk=ssd
      machine m2 load5=1
      start a.service : Require=load5 < 2
      runs a.service on m2
      explain a.service m1 => Require: load5 < 2 does not hold
      start p.service : Prefer=+50 disk = ssd
      runs p.service on m1
      start q.service : Prefer=-50 disk = ssd; Avoid=a*
      runs q.service on m1",
    ),
    (
        "replicas are spread over zones",
        "machine m1 zone=a
      machine m2 zone=a
      machine m3 zone=b
      start r@.service : Replicas=2; Spread=zone; HealthyFor=1
      runs r@1.service on m1
      runs r@2.service on m3",
    ),
    (
        "a text with which replicas fail is taken back",
        "machine m1
      machine m2
      start r@.service : Replicas=2; HealthyFor=1; HealthyWithin=20
      runs r@1.service on 1
      runs r@2.service on 1
      still 10
      replace r@.service : Replicas=2; HealthyFor=1; HealthyWithin=20; ExecStart=/bin/false
      ran r@1.service 3
      runs r@1.service on 1
      still 60
      ran r@2.service 1",
    ),
    (
        "what a lost machine held is started elsewhere within a second of its lease's end",
        "machine m1
      machine m2
      start a.service : MachineMetadata=x=y
      tag m1 x=y
      runs a.service on m1
      tag m2 x=y
      still 30
      power-off m1
      away m1
      soon a.service on m2",
    ),
    (
        "machines of a large cluster take longer leases, and shorter ones when it has shrunk",
        "scale 30
      machine m1
      lease m1 30
      machine m2
      machine m3
      start a.service : MachineID=m1
      runs a.service on m1
      lease m1 90
      lease m2 90
      lease m3 90
      power-off m3
      still 60
      there m3
      away m3
      lease m1 60
      lease m2 60
      runs a.service on m1
      still 100
      there m1",
    ),
];
