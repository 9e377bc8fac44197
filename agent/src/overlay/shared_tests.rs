use std::io;

use serde_json::Value;

use super::*;
use crate::overlay::cidr::Cidr;
use crate::overlay::kernel::{Choice, Connection, Counters, Made, Place, Tunnel, Uplink};
use crate::overlay::lease::Subnets;
use crate::overlay::state::{Change, State};

fn named(text: &str) -> Which {
    Which::Named(text.parse().expect(text))
}

#[test]
fn the_later_one_of_two_that_clash_gives_way() {
    let shared = Shared::default();
    let config = |text: &str| Config::parse(text.as_bytes()).expect(text);
    let wide = config(r#"{"Network":"10.0.0.0/8","Backend":{"Type":"host-gw"}}"#);
    let narrow = config(r#"{"Network":"10.5.0.0/16"}"#);
    shared.claim(&named("db"), &wide).expect("it is alone");
    shared
        .claim(&named("db"), &wide)
        .expect("it clashes with none but itself");
    shared
        .claim(&Which::Default, &narrow)
        .expect("it comes before");
    let clash = shared.claim(&named("db"), &wide).expect_err("a clash");
    assert!(clash.to_string().contains("the network default"), "{clash}");
    shared
        .claim(&Which::Default, &wide)
        .expect("the other is out");
    let wired = config(r#"{"Network":"172.16.0.0/16","Backend":{"Type":"wireguard"}}"#);
    let refused = shared.claim(&named("db"), &wired).expect_err("one device");
    assert!(refused.to_string().contains("wireguard"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn runtimes_wait_for_the_network_without_a_name_and_a_while_for_the_others() {
    let all = || [Which::Default, named("db")];
    let shared = Shared::new(all(), BTreeSet::new());
    shared.settle(&named("db"));
    let early = timeout(Duration::from_secs(3600), shared.settled()).await;
    assert!(early.is_err(), "there is no subnet");
    shared.settle(&Which::Default);
    let start = tokio::time::Instant::now();
    shared.settled().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let shared = Shared::new(all(), BTreeSet::new());
    shared.settle(&Which::Default);
    shared.settled().await;
    assert_eq!(start.elapsed(), PATIENCE);
}

/// Counts generations as the kernel does; somebody else flushes when it is his turn.
#[derive(Default)]
struct Rules {
    generation: u32,
    text: Option<String>,
    loads: usize,
    /// Flushes right behind the next load.
    flush: bool,
}

impl Kernel for Rules {
    fn uplink(&mut self, _: &Choice) -> Result<Option<Uplink>, Error> {
        Ok(None)
    }

    fn make_tunnel(&mut self, _: &Tunnel) -> Result<(u32, Made), Error> {
        Ok((1, Made::Kept))
    }

    fn remove_tunnel(&mut self, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    fn observe(&mut self, _: &Place) -> Result<State, Error> {
        Ok(State::default())
    }

    fn apply(&mut self, _: &Place, _: &[Change]) -> Result<Vec<(Change, io::Error)>, Error> {
        Ok(Vec::new())
    }

    fn other_routes(&mut self, _: &Place) -> Result<Vec<Cidr>, Error> {
        Ok(Vec::new())
    }

    fn counters(&mut self, _: &str) -> Result<Option<Counters>, Error> {
        Ok(None)
    }

    fn connections(&mut self, _: &str) -> Result<Vec<Connection>, Error> {
        Ok(Vec::new())
    }

    fn load_rules(&mut self, text: &str) -> Result<(), Error> {
        self.loads += 1;
        self.generation = following(self.generation);
        self.text = Some(text.to_string());
        if std::mem::take(&mut self.flush) {
            self.generation = following(self.generation);
            self.text = None;
        }
        Ok(())
    }

    fn docker_rules(&mut self, _: Family) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    fn rules_generation(&mut self) -> Result<u32, Error> {
        Ok(self.generation)
    }
}

#[test]
fn a_flush_between_loading_and_looking_is_noticed_the_next_time() {
    let shared = Shared::default();
    let part = Part {
        config: Config::parse(br#"{"Network":"10.5.0.0/16"}"#).expect("config"),
        subnets: Subnets {
            v4: "10.5.3.0/24".parse().ok(),
            v6: None,
        },
        masquerade: true,
    };
    let mut kernel = Rules {
        generation: u32::MAX - 1,
        flush: true,
        ..Rules::default()
    };
    let hold = |kernel: &mut Rules| {
        let held = shared.hold_rules(&Which::Default, part.clone(), kernel);
        held.expect("held");
        (kernel.loads, kernel.text.is_some())
    };
    assert_eq!(hold(&mut kernel), (1, false), "flushed");
    assert_eq!(hold(&mut kernel), (2, true), "noticed");
    assert_eq!(hold(&mut kernel), (2, true), "nothing has changed");
    kernel.generation = u32::MAX;
    assert_eq!(hold(&mut kernel), (3, true), "somebody changed something");
    assert_eq!(kernel.generation, 1, "0 is passed over");
    assert_eq!(hold(&mut kernel), (3, true), "and it was ours that did it");
}
