//! The network matrix: whatever a line does, an update finishes or gives up in bounded time, and
//! the next run fetches next to nothing again.
//!
//! Times are scaled: the client's patience is set to a fraction of a second instead of half a
//! minute, nothing else differs from what ships.

pub(crate) mod server;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use strake_updates::fetch::http::{Http, Patience};
use strake_updates::fetch::{Request, bytes};
use strake_updates::policy::Choice;

use crate::attack::machine::Machine;
use crate::attack::now;
use crate::workshop::{Made, Workshop, make, noise};
use server::{Reply, Server};

/// What the machine does not have of the new release.
const NEW: usize = 3 << 20;
/// Fetched again at most after a break.
const AGAIN: u64 = 1 << 20;
/// Far more than anything below takes, and less than a hang.
const BOUND: Duration = Duration::from_secs(60);

/// A repository and the releases in it; machines of the site run the first.
struct Site {
    workshop: Workshop,
    new: Made,
}

impl Site {
    fn new() -> Self {
        let workshop = Workshop::new();
        let new = make(noise(7, NEW), noise(8, 100_000));
        workshop.add("1.0.0", &old(), "stable", "");
        workshop.add("1.1.0", &new, "stable", "--deltas 0");
        workshop.ok("sign");
        Self { workshop, new }
    }

    fn machine(&self) -> Machine {
        Machine::new(self.workshop.root(), old())
    }

    async fn server(&self, rule: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(self.workshop.repo(), rule).await
    }

    /// The update goes through in bounded time.
    async fn finishes(&self, machine: &Machine, server: &Server) {
        let update = machine.update(&server.url, now());
        let choice = tokio::time::timeout(BOUND, update).await.unwrap();
        assert!(matches!(choice, Ok(Choice::Install(_))), "{choice:?}");
        assert!(machine.slot_holds(&self.new));
        assert_eq!(
            machine.entries(),
            ["strake_1.0.0.efi", "strake_1.1.0+3.efi"]
        );
    }

    /// The update ends in bounded time with all of `says`, and nothing new boots.
    async fn gives_up(&self, machine: &Machine, server: &Server, says: &[&str]) {
        let update = machine.update(&server.url, now());
        let outcome = tokio::time::timeout(BOUND, update).await.unwrap();
        let error = format!("{:#}", outcome.expect_err("the update went through"));
        for expected in says {
            assert!(
                error.contains(expected),
                "{expected:?} is not said: {error}"
            );
        }
        assert_eq!(machine.entries(), ["strake_1.0.0.efi"]);
        assert!(!machine.slot_holds(&self.new) && machine.slot_is_no_release());
    }

    /// Bytes of an update on a line without faults.
    async fn price(&self) -> u64 {
        let server = Server::honest(self.workshop.repo()).await;
        self.finishes(&self.machine(), &server).await;
        server.sent()
    }
}

fn old() -> Made {
    make(noise(1, 50 * 4096), noise(3, 50_000))
}

fn is_payload(path: &str) -> bool {
    path.starts_with("/targets/")
}

#[tokio::test]
async fn a_slow_line_takes_its_time_and_finishes() {
    let site = Site::new();
    let slow = Reply::Slow(Duration::from_millis(4));
    let server = site.server(move |_, _| slow.clone()).await;
    site.finishes(&site.machine(), &server).await;
}

#[tokio::test]
async fn a_byte_now_and_then_is_given_up() {
    let site = Site::new();
    let trickle = || Reply::Trickle(Duration::from_millis(50));
    let server = site.server(move |_, _| trickle()).await;
    let says = ["timestamp.json", "fewer than 16384 bytes came in"];
    site.gives_up(&site.machine(), &server, &says).await;
    let server = site
        .server(move |path, _| match is_payload(path) {
            true => trickle(),
            false => Reply::File,
        })
        .await;
    let says = ["/targets/", "fewer than 16384 bytes came in"];
    site.gives_up(&site.machine(), &server, &says).await;
}

/// With the figures that ship, on a clock that jumps over the waiting.
#[tokio::test(start_paused = true)]
async fn one_byte_per_second_costs_minutes_and_not_hours() {
    let site = Site::new();
    let server = site
        .server(|_, _| Reply::Trickle(Duration::from_secs(1)))
        .await;
    let http = Http::new(&server.url, Patience::default()).unwrap();
    let started = tokio::time::Instant::now();
    let request = Request::whole("metadata/timestamp.json", 16 << 10);
    let error = bytes(&http, &request).await.unwrap_err();
    let error = format!("{:#}", anyhow::Error::from(error));
    let took = started.elapsed().as_secs();
    assert!(
        error.contains("fewer than 16384 bytes came in 30 s"),
        "{error}"
    );
    assert!((150..300).contains(&took), "{took} s");
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn bodies_that_end_early_are_gone_on_with() {
    let site = Site::new();
    let server = site.server(|_, _| Reply::Truncated(100_000)).await;
    site.finishes(&site.machine(), &server).await;
    let (sent, price) = (server.sent(), site.price().await);
    assert!(sent <= price + AGAIN, "{sent} bytes instead of {price}");

    let server = site
        .server(|path, _| match is_payload(path) {
            true => Reply::Truncated(0),
            false => Reply::File,
        })
        .await;
    site.gives_up(&site.machine(), &server, &["/targets/"])
        .await;
    assert!(
        server.asked().len() < 40,
        "{} requests",
        server.asked().len()
    );
}

#[tokio::test]
async fn a_length_that_is_a_lie_is_noticed() {
    let site = Site::new();
    let lies = |name: &'static str| {
        site.server(move |path, _| match path.contains(name) {
            true => Reply::Announced(1000),
            false => Reply::File,
        })
    };
    // A file of which more is announced than comes is broken off, whatever it says.
    let server = lies("stable.json").await;
    site.gives_up(&site.machine(), &server, &["stable.json"])
        .await;
    // Of a range, what was asked for has come when it has come.
    let server = lies("/targets/").await;
    site.finishes(&site.machine(), &server).await;
}

#[tokio::test]
async fn a_server_without_ranges_serves_an_update_too() {
    let site = Site::new();
    let server = site.server(|_, _| Reply::NoRanges).await;
    site.finishes(&site.machine(), &server).await;
}

#[tokio::test]
async fn a_redirect_in_a_circle_is_left() {
    let site = Site::new();
    let server = site
        .server(|path, _| Reply::Redirect(path.to_owned()))
        .await;
    let says = ["2.root.json", "redirect"];
    site.gives_up(&site.machine(), &server, &says).await;
    assert!(server.asked().len() <= 6, "{:?}", server.asked());
}

#[tokio::test]
async fn a_captive_portal_is_no_repository() {
    let site = Site::new();
    let machine = site.machine();
    let server = site.server(|_, _| Reply::Portal).await;
    let says = ["2.root.json is refused: it cannot be read"];
    site.gives_up(&machine, &server, &says).await;
    // The portal comes up in the middle of an update.
    let server = site
        .server(|path, number| match is_payload(path) && number > 6 {
            true => Reply::Portal,
            false => Reply::File,
        })
        .await;
    site.gives_up(&machine, &server, &["/targets/"]).await;
    let server = Server::honest(site.workshop.repo()).await;
    site.finishes(&machine, &server).await;
}

#[tokio::test]
async fn errors_of_the_server_are_waited_out_or_given_up() {
    let site = Site::new();
    let server = site
        .server(|_, number| match number % 2 {
            0 => Reply::Status(500),
            _ => Reply::File,
        })
        .await;
    site.finishes(&site.machine(), &server).await;
    for status in [500, 502, 503] {
        let server = site.server(move |_, _| Reply::Status(status)).await;
        let says = [&*format!("the server answered {status}"), "2.root.json"];
        site.gives_up(&site.machine(), &server, &says).await;
        assert_eq!(server.asked().len(), 3);
    }
}

#[tokio::test]
async fn a_server_that_is_replaced_in_mid_download_costs_less_than_a_mebibyte() {
    let site = Site::new();
    let price = site.price().await;
    for part in [300_000, 1_500_000, 2_900_000] {
        let machine = site.machine();
        // The blocks are the only body that long: it breaks off, and then nobody answers.
        let blocks_asked = AtomicUsize::new(0);
        let first = site
            .server(move |path, _| {
                let is_blocks = path.contains("1.1.0.usr.zst");
                let before = blocks_asked.fetch_add(usize::from(is_blocks), Relaxed);
                // The frame table is asked for first.
                match (before, is_blocks) {
                    (0, _) => Reply::File,
                    (1, true) => Reply::Truncated(part),
                    _ => Reply::Status(503),
                }
            })
            .await;
        site.gives_up(&machine, &first, &["the server answered 503"])
            .await;
        // Another server, another address, a timestamp that is newer.
        site.workshop.ok("refresh");
        let second = Server::honest(site.workshop.repo()).await;
        site.finishes(&machine, &second).await;
        let sent = first.sent() + second.sent();
        assert!(
            sent <= price + AGAIN,
            "broken after {part}: {sent} bytes instead of {price}"
        );
        assert!(
            second.sent() < price - part as u64 + AGAIN,
            "{}",
            second.sent()
        );
    }
}

#[tokio::test]
async fn a_release_that_is_gone_in_mid_download_is_given_up_and_the_next_one_taken() {
    let site = Site::new();
    let machine = site.machine();
    let server = site
        .server(|path, number| match is_payload(path) && number > 6 {
            true => Reply::Status(404),
            false => Reply::File,
        })
        .await;
    site.gives_up(&machine, &server, &["/targets/", "there is no such file"])
        .await;
    let newer = make(noise(7, NEW - 4096), noise(9, 50_000));
    site.workshop.add("1.2.0", &newer, "stable", "--deltas 0");
    site.workshop.ok("sign");
    let server = Server::honest(site.workshop.repo()).await;
    machine.update(&server.url, now()).await.unwrap();
    assert!(machine.slot_holds(&newer));
    assert_eq!(
        machine.entries(),
        ["strake_1.0.0.efi", "strake_1.2.0+3.efi"]
    );
}
