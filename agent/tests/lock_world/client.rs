//! One client of the lock, in a process of its own: it says what it does on its standard output,
//! with the time of the host's one clock, and goes on until it is killed.

use std::io::Write as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use strake_agent::lock::keys::Group;
use strake_agent::lock::{Claim, Claimant, Lock, Patience};
use strake_agent::store::etcd::{Etcd, Settings};
use strake_updates::time::{Span, Timestamp};

use super::history::{Said, Time};

/// Short: what is killed is to be missed soon.
const PATIENCE: Patience = Patience {
    lease: Duration::from_secs(3),
    pause: Duration::from_millis(200),
    look: Duration::from_secs(1),
};
const HELD: Duration = Duration::from_millis(20);
/// Before what is said, on a line of its own: a test says more than that.
pub(crate) const MARK: char = '@';

pub(crate) fn now() -> Time {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    Duration::from(now).as_nanos().try_into().expect("not yet")
}

pub(crate) fn group() -> Group {
    Group::named("history")
}

fn say(said: Said) {
    let word = match said {
        Said::Asks => "asks",
        Said::Has => "has",
        Said::Gives => "gives",
        Said::Gave { held: true } => "gave",
        Said::Gave { held: false } => "nothing",
    };
    let mut out = std::io::stdout().lock();
    // Whoever listened may be gone.
    let _ = write!(out, "\n{MARK}{} {word}\n", now());
    let _ = out.flush();
}

pub(crate) fn read(line: &str) -> Option<(Time, Said)> {
    let (time, word) = line.strip_prefix(MARK)?.split_once(' ')?;
    let said = match word {
        "asks" => Said::Asks,
        "has" => Said::Has,
        "gives" => Said::Gives,
        "gave" => Said::Gave { held: true },
        "nothing" => Said::Gave { held: false },
        _ => return None,
    };
    Some((time.parse().ok()?, said))
}

/// `told`: where the store is, the client's id, and which of its starts this is.
pub(crate) async fn run(told: &str) -> ! {
    // It goes with whoever started it.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("a wish that is heard");
    let words: Vec<&str> = told.split(' ').collect();
    let [endpoint, id, start] = words[..] else {
        panic!("{told:?}");
    };
    let start: u32 = start.parse().expect("a number");
    let settings = Settings {
        endpoints: vec![endpoint.to_string()],
        ca: None,
        cert: None,
        key: None,
    };
    let who = Claimant {
        id: id.to_string(),
        token: id.to_string(),
        boots: (0..=start).map(|start| format!("b{start}")).collect(),
    };
    let claim = Claim {
        token: id.to_string(),
        boot: format!("b{start}"),
        release: "1.0.0".to_string(),
        reason: "update".to_string(),
        since: Timestamp::from_unix(1_800_000_000),
        deadline: Span(600),
        registered: false,
        zone: String::new(),
    };
    let store = Etcd::connect(&settings).await.expect("a client");
    let lock = Lock::new(store, group());
    loop {
        // As a machine does after each start: what an earlier one has taken goes back.
        give_back(&lock, &who).await;
        say(Said::Asks);
        let taken = lock.wait(&who, &claim, PATIENCE).await;
        taken.expect("nobody else has this id");
        say(Said::Has);
        tokio::time::sleep(HELD).await;
    }
}

async fn give_back(lock: &Lock<Etcd>, who: &Claimant) {
    loop {
        say(Said::Gives);
        match lock.give_back(who).await {
            Ok(held) => return say(Said::Gave { held }),
            Err(_) => tokio::time::sleep(PATIENCE.pause).await,
        }
    }
}
