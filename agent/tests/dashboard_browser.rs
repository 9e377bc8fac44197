//! The page in a real browser, as wide as a phone and as a screen: it is readable, it holds no
//! more than the screen is wide, and changes reach it. Only where there is a browser:
//! `cargo lab test --full`.

mod browser;
#[allow(dead_code, reason = "other tests have machines that answer, too")]
mod peer;

use std::time::{Duration, SystemTime};

use browser::Browser;
use peer::{Cluster, put};
use serde_json::json;
use strake_agent::cluster::clock::Clock;
use strake_agent::dashboard::serve::{Door, serve};
use strake_agent::dashboard::settings::Settings;
use strake_agent::lock::keys::Group;
use strake_agent::lock::semaphore::Max;
use strake_agent::lock::{Claim, Claimant, Lock};
use strake_agent::metrics::Registry;
use strake_agent::reboot::budget;
use strake_agent::root::Root;
use strake_agent::scheduler::keys;
use strake_agent::scheduler::machine::Machine;
use strake_agent::store::Store;
use strake_agent::store::memory::Memory;
use strake_updates::time::{Span, Timestamp};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

const TOKEN: &str = "0123456789abcdef";
const LIMIT: Duration = Duration::from_secs(120);

fn id(number: u64) -> String {
    format!("{:032x}", u128::from(number) << 96 | 0x5)
}

fn machine(number: u64, release: &str, more: &[(&str, &str)]) -> Machine {
    let mut machine = Machine::new(id(number).parse().expect("an id"));
    machine.address = format!("10.9.0.{}", 10 + number);
    machine
        .metadata
        .insert("zone".to_string(), format!("z{}", number % 3));
    let facts = json!({
        "hostname": format!("node{number}"), "release": release, "slot": "A", "health": "healthy",
    });
    machine.facts = serde_json::from_value(facts).expect("facts");
    for (name, value) in more {
        let fact = serde_json::from_value(json!(value)).expect("a fact");
        machine.facts.insert((*name).to_string(), fact);
    }
    machine
}

async fn register(store: &impl Store, machine: &Machine) {
    put(store, keys::machine(&machine.id), machine).await;
}

/// Six machines in the middle of a rollout, with everything that a page may have to show.
async fn furnish(store: &Memory) {
    for number in 1..=6 {
        let mut one = match number {
            1 | 2 => machine(number, "1.2.0", &[]),
            3 => machine(number, "1.1.0", &[("update", "downloads 1.2.0")]),
            4 => machine(number, "1.1.0", &[("health", "unhealthy")]),
            _ => machine(number, "1.1.0", &[("next_release", "1.2.0")]),
        };
        if number == 6 {
            // One word as long as it may be, and one that would like to be more than text.
            let long = "n".repeat(120);
            one.metadata
                .insert("zone".to_string(), format!("<b>{long}</b>"));
        }
        register(store, &one).await;
        let lease = json!({
            "PublicIP": one.address, "BackendType": "vxlan", "Machine": one.id.as_str(),
            "BackendData": {"VNI": 1, "VtepMAC": "3a:4b:5c:00:00:01"},
        });
        let key = format!("/coreos.com/network/subnets/10.5.{number}.0-24");
        put(store, key, &lease).await;
    }
    let lock = Lock::new(store.clone(), Group::default());
    lock.set_max(Max::Machines(2)).await.expect("a max");
    let claimed = async |number: u64| {
        let who = Claimant {
            id: id(number),
            token: id(number),
            boots: vec!["b00t".to_string()],
        };
        let claim = Claim {
            token: who.token.clone(),
            boot: "b00t".to_string(),
            release: "1.1.0".to_string(),
            reason: "update to 1.2.0".to_string(),
            since: Timestamp::from_unix(1_800_000_000),
            deadline: Span(600),
            registered: true,
            zone: String::new(),
        };
        lock.try_lock(&who, &claim).await.expect("a place");
    };
    claimed(5).await;
    claimed(7).await;
    let version = "1.2.0".parse().expect("a version");
    budget::enter(store, &id(5), version, Some(2))
        .await
        .expect("entered");
    budget::prove(store, &id(1), version).await.expect("proven");
    let bad = json!({
        "machine": id(4), "cause": "boot deadline: app.service failed", "boots": 3,
        "time": "2026-11-21T11:00:00Z", "journal": ["app[312]: cannot open /dev/null", "systemd[1]: app.service: Failed"],
    });
    put(store, format!("/strake/v1/fallbacks/1.3.0/{}", id(4)), &bad).await;
    let refused = json!({"since": "2026-11-21T11:01:00Z", "budget": 1, "cause": "boot deadline: app.service failed"});
    put(store, "/strake/v1/refused/1.3.0".to_string(), &refused).await;
    let digest = "0".repeat(40);
    for (unit, on, active) in [("web@1.service", 1, "active"), ("db.service", 4, "failed")] {
        let known = json!({"digest": digest, "state": "launched"});
        put(store, format!("/strake/v1/units/{unit}"), &known).await;
        let desired =
            json!({"generation": 1, "units": {(unit): {"digest": digest, "state": "launched"}}});
        put(store, format!("/strake/v1/desired/{}", id(on)), &desired).await;
        let seen = json!({"digest": digest, "load": "loaded", "active": active, "sub": "x", "started": true});
        let observed = json!({"generation": 1, "units": {(unit): seen}});
        put(store, format!("/strake/v1/observed/{}", id(on)), &observed).await;
    }
}

#[tokio::test]
async fn the_page_is_readable_and_changes_reach_it() {
    let Some(image) = browser::wanted() else {
        return;
    };
    let tasks = LocalSet::new();
    let test = tasks.run_until(async {
        let store = Memory::default();
        furnish(&store).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let settings = Settings::of(&Root::new("/nonexistent"), at, Some(TOKEN));
        let door = Door {
            credentials: Some(Cluster::new().credentials("127.0.0.1")),
            clock: Clock::load(&Root::new("/nonexistent")),
        };
        let (shown, settings) = (store.clone(), settings.expect("settings"));
        tokio::task::spawn_local(async move {
            serve(listener, shown, settings, door, Registry::default()).await
        });
        let mut browser = Browser::start(&image).await;
        let url = format!("https://anybody:{TOKEN}@{at}/");
        for width in [360, 1280] {
            browser.open(&url, width).await;
            browser.until("document.body.innerText.includes('node6')").await;
            let reached = browser.number("document.documentElement.scrollWidth").await;
            assert!(reached <= f64::from(width), "{reached} of {width} pixels");
            let small = "Math.min(...[...document.querySelectorAll('body *')].filter(e => e.innerText \
                         && e.checkVisibility()).map(e => parseFloat(getComputedStyle(e).fontSize)))";
            assert!(browser.number(small).await >= 12.0, "letters are too small");
            assert_eq!(browser.number("document.querySelectorAll('b').length").await, 0.0);
            browser.screenshot(&format!("dashboard-{width}.png")).await;
            // As it happens, without the page being loaded anew.
            browser.number("window.untouched = 1").await;
            let newcomer = machine(u64::from(width), "1.2.0", &[]);
            register(&store, &newcomer).await;
            let there = format!("document.querySelector('#machines').innerText.includes('node{width}')");
            browser.until(&there).await;
            assert_eq!(browser.number("window.untouched").await, 1.0);
        }
        // Without script the page asks for itself again.
        browser.open_without_script(&url).await;
        browser.until("document.body.innerText.includes('node6')").await;
        let refresh = "document.querySelectorAll('meta[http-equiv=refresh]').length";
        assert_eq!(browser.number(refresh).await, 1.0);
        assert_eq!(browser.complaints(), Vec::<String>::new());
    });
    let began = SystemTime::now();
    let ended = tokio::time::timeout(LIMIT, test).await;
    ended.unwrap_or_else(|_| panic!("not in time: {:?}", began.elapsed()));
}
