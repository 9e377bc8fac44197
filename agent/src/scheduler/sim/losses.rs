//! Scenarios of machines and networks that are lost, and of units that are moved.

use super::scenarios::Scenario;

pub(super) const LOSSES: [Scenario; 20] = [
    (
        "a machine that is shut down hands over its units before its lease is over",
        "machine m1
      machine m2
      drain m2
      start a.service
      runs a.service on m1
      start g.service : Global=yes
      runs g.service on m1 m2
      undrain m2
      shut-down m1
      runs a.service on m2
      there m1
      away m1
      runs g.service on m2
      boot m1
      there m1
      runs g.service on m1 m2
      still 60",
    ),
    (
        "a machine that is shut down keeps what fits nowhere else, and starts it again",
        "machine m1
      machine m2
      start a.service : MachineID=m1
      start s.service : Sticky=yes;MachineMetadata=x=y
      tag m1 x=y
      runs s.service on m1
      runs a.service on m1
      shut-down m1
      still 10
      boot m1
      runs a.service on m1
      runs s.service on m1",
    ),
    (
        "a machine that is shut down while nobody reaches the store goes down all the same",
        "machine m1
      machine m2
      start a.service : MachineID=m1
      runs a.service on m1
      cut all
      shut-down m1
      mend all
      boot m1
      runs a.service on m1",
    ),
    (
        "a machine that loses its power loses its units to others",
        "machine m1
      machine m2
      start a.service : MachineMetadata=x=y
      tag m1 x=y
      runs a.service on m1
      tag m2 x=y
      power-off m1
      runs a.service on m2
      boot m1
      there m1
      still 60",
    ),
    (
        "a unit that only fits a lost machine waits for it",
        "machine m1
      machine m2
      start a.service : MachineID=m1
      runs a.service on m1
      power-off m1
      away m1
      still 60
      nowhere a.service
      boot m1
      runs a.service on m1",
    ),
    (
        "a machine that is cut off keeps what runs, and gives it up when it is back",
        "machine m1
      machine m2
      machine m3
      start a.service
      start b.service
      start c.service
      runs a.service on m1
      cut m1
      away m1
      runs a.service on 2
      mend m1
      there m1
      runs a.service on 1
      is a.service launched",
    ),
    (
        "a cut that ends before the lease is over changes nothing",
        "machine m1
      machine m2
      start a.service
      start b.service
      apart a.service b.service
      cut m1
      still 10
      mend m1
      still 60
      there m1",
    ),
    (
        "a store that nobody reaches stops nothing",
        "machine m1
      machine m2
      start a.service
      start b.service
      start g.service : Global=yes
      runs g.service on m1 m2
      apart a.service b.service
      cut all
      still 300
      mend all
      there m1
      there m2
      still 60",
    ),
    (
        "orders given while the store is not reached are done when it is",
        "machine m1
      start a.service
      runs a.service on m1
      cut all
      stop a.service
      start b.service
      still 30
      mend all
      loaded a.service on 1
      runs b.service on m1",
    ),
    (
        "a service that is restarted finds its units and lets them run",
        "machine m1
      machine m2
      start a.service
      start g.service : Global=yes
      runs a.service on 1
      runs g.service on m1 m2
      restart m1
      restart m2
      still 60
      is a.service launched",
    ),
    (
        "whoever leads may be lost",
        "machine m1
      machine m2
      machine m3
      start a.service
      runs a.service on 1
      power-off m1
      start b.service
      runs b.service on 1
      power-off m2
      away m2
      runs a.service on m3
      runs b.service on m3",
    ),
    (
        "a sticky unit waits for its machine",
        "machine m1
      machine m2
      start a.service : Sticky=yes; MachineMetadata=x=y
      tag m1 x=y
      runs a.service on m1
      tag m2 x=y
      drain m1
      still 20
      power-off m1
      away m1
      still 60
      boot m1
      runs a.service on m1",
    ),
    (
        "the brake stops at the sixth lost machine, and is freed when one is back",
        "machine m1
      machine m2
      machine m3
      machine m4
      machine m5
      machine m6
      machine m8
      start g.service : Global=yes
      runs g.service on 7
      still 30
      machine m7
      runs g.service on 8
      start b.service : MachineMetadata=x=y
      tag m7 x=y
      runs b.service on m7
      tag m8 x=y
      cut m1
      cut m3
      cut m4
      cut m5
      cut m6
      away m1
      away m3
      away m4
      away m5
      away m6
      cut m7
      away m7
      still 120
      mend m6
      there m6
      runs b.service on 2
      mend all
      runs b.service on 1",
    ),
    (
        "a machine that is drained keeps what is global and gives away the rest",
        "machine m1
      machine m2
      start g.service : Global=yes
      start a.service : MachineMetadata=x=y
      tag m1 x=y
      runs a.service on m1
      tag m2 x=y
      drain m1
      runs a.service on m2
      runs g.service on m1 m2
      undrain m1
      still 30",
    ),
    (
        "a machine that comes back empty gets no units that run elsewhere",
        "machine m1
      machine m2
      start a.service
      start b.service
      apart a.service b.service
      power-off m1
      away m1
      together a.service b.service
      boot m1
      there m1
      still 60
      start c.service
      runs c.service on m1",
    ),
    (
        "a unit is moved when somebody asks for it, and only then",
        "machine m1
      machine m2
      start a.service : MachineMetadata=x=y
      tag m1 x=y
      runs a.service on m1
      tag m2 x=y
      still 60
      move a.service m2
      runs a.service on m2
      still 60",
    ),
    (
        "what may not be moved stays, whoever asks",
        "machine m1
      machine m2
      start p.service : MachineID=m1
      runs p.service on m1
      start s.service : Sticky=yes
      start g.service : Global=yes
      runs g.service on m1 m2
      runs s.service on m2
      move p.service m2
      move s.service m1
      move g.service m2
      still 60",
    ),
    (
        "replicas are moved one after the other",
        "machine m1
      machine m2
      drain m2
      start r@.service : Replicas=2; HealthyFor=1
      runs r@1.service on m1
      runs r@2.service on m1
      undrain m2
      still 20
      move r@1.service m2
      move r@2.service m2
      runs r@1.service on m2
      runs r@2.service on m2
      still 30",
    ),
    (
        "a policy moves units by itself, a few after each look",
        "machine m1
      start a.service
      start b.service
      start c.service
      start d.service
      runs d.service on m1
      machine m2
      still 90
      policy 60 1 1
      runs a.service on m2
      still 20
      runs b.service on m2
      still 200",
    ),
    (
        "a move to a machine that is lost meanwhile ends where there is room",
        "machine m1
      machine m2
      start a.service : MachineMetadata=x=y
      tag m1 x=y
      runs a.service on m1
      tag m2 x=y
      cut m2
      move a.service m2
      runs a.service on 1
      away m2
      runs a.service on m1
      mend m2
      still 30",
    ),
];
