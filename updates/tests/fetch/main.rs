//! The HTTP transport against a server that misbehaves in every way known.

mod server;

use std::error::Error;
use std::time::Duration;

use server::{Answer, Server};
use strake_updates::fetch::backoff::Backoff;
use strake_updates::fetch::http::{Http, Patience};
use strake_updates::fetch::{Failure, FetchError, Request, bytes};

fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        pace: Duration::from_millis(300),
        pace_bytes: 1000,
        tries: 3,
        backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(20)).unwrap(),
    }
}

fn content() -> Vec<u8> {
    (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

async fn fetch(
    answers: Vec<Answer>,
    request: Request,
) -> (Result<Vec<u8>, FetchError>, Vec<String>) {
    let server = Server::start(content(), answers).await;
    let http = Http::new(&server.url(), patience()).unwrap();
    let outcome = bytes(&http, &request).await;
    (outcome, server.requests())
}

fn whole() -> Request {
    Request::whole("dir/file", 400_000)
}

#[tokio::test]
async fn files_come_whole_and_in_parts() {
    let (outcome, requests) = fetch(vec![Answer::Good], whole()).await;
    assert!(outcome.unwrap() == content());
    assert_eq!(requests, ["/dir/file"]);
    let (outcome, requests) = fetch(vec![Answer::Good], Request::part("dir/file", 10..5000)).await;
    assert_eq!(outcome.unwrap(), content()[10..5000]);
    assert_eq!(requests, ["/dir/file bytes=10-4999"]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_gone_on_with() {
    let cut = |bytes| Answer::Truncated { bytes };
    let answers = vec![cut(150_000), cut(150_000), Answer::Good];
    let (outcome, requests) = fetch(answers, whole()).await;
    assert!(outcome.unwrap() == content());
    assert_eq!(requests.len(), 3);
    let resumed = requests[1]
        .strip_prefix("/dir/file bytes=")
        .unwrap()
        .trim_end_matches('-');
    assert!(resumed.parse::<u64>().unwrap() > 100_000, "{requests:?}");
}

#[tokio::test]
async fn a_server_without_ranges_still_serves_parts_and_resumes() {
    let part = Request::part("dir/file", 200_000..200_100);
    let (outcome, _) = fetch(vec![Answer::NoRanges], part).await;
    assert_eq!(outcome.unwrap(), content()[200_000..200_100]);
    let answers = vec![Answer::Truncated { bytes: 150_000 }, Answer::NoRanges];
    let (outcome, _) = fetch(answers, whole()).await;
    assert!(outcome.unwrap() == content());
}

#[tokio::test]
async fn passing_errors_are_tried_again_and_lasting_ones_given_up() {
    let (outcome, _) = fetch(
        vec![Answer::Status(500), Answer::Status(429), Answer::Good],
        whole(),
    )
    .await;
    assert!(outcome.unwrap() == content());
    let (outcome, requests) = fetch(vec![Answer::Status(503); 9], whole()).await;
    assert!(matches!(outcome.unwrap_err().failure, Failure::Status(503)));
    assert_eq!(requests.len(), 3);
    let (outcome, requests) = fetch(vec![Answer::Status(401); 9], whole()).await;
    assert!(matches!(outcome.unwrap_err().failure, Failure::Status(401)));
    assert_eq!(requests.len(), 1);
    for status in [403, 404, 410] {
        let (outcome, _) = fetch(vec![Answer::Status(status)], whole()).await;
        assert!(outcome.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn a_server_that_asks_for_more_time_than_a_wait_in_between_is_left_alone() {
    let busy = Answer::Busy { seconds: 7200 };
    let (outcome, requests) = fetch(vec![busy, Answer::Good], whole()).await;
    let failure = outcome.unwrap_err().failure;
    let expected = Failure::Later {
        status: 503,
        seconds: 7200,
    };
    assert_eq!(format!("{failure:?}"), format!("{expected:?}"));
    assert_eq!(requests.len(), 1);
    let (outcome, _) = fetch(vec![Answer::Busy { seconds: 0 }, Answer::Good], whole()).await;
    assert!(outcome.unwrap() == content());
}

#[tokio::test]
async fn a_server_that_trickles_or_hangs_is_given_up_in_bounded_time() {
    for answer in [Answer::Trickle, Answer::Silence] {
        let (outcome, requests) = fetch(vec![answer; 9], whole()).await;
        assert!(matches!(outcome.unwrap_err().failure, Failure::Slow { .. }));
        assert_eq!(requests.len(), 3);
    }
}

#[tokio::test]
async fn bodies_that_are_too_long_are_cut_off() {
    let short = |limit| Request::whole("dir/file", limit);
    for answer in [Answer::Good, Answer::Endless] {
        let (outcome, requests) = fetch(vec![answer; 9], short(300_000)).await;
        assert!(matches!(
            outcome.unwrap_err().failure,
            Failure::TooLong { limit: 300_000 }
        ));
        assert_eq!(requests.len(), 1);
    }
    let beyond = Request::part("dir/file", 399_000..401_000);
    let (outcome, _) = fetch(vec![Answer::Good; 9], beyond).await;
    assert!(matches!(
        outcome.unwrap_err().failure,
        Failure::Short { found: 1000, .. }
    ));
}

#[tokio::test]
async fn wrong_ranges_and_redirect_loops_are_refused_at_once() {
    let part = Request::part("dir/file", 10..5000);
    let (outcome, _) = fetch(vec![Answer::WrongRange; 9], part).await;
    assert!(matches!(outcome.unwrap_err().failure, Failure::Range));
    let (outcome, requests) = fetch(vec![Answer::Redirect; 99], whole()).await;
    let error = outcome.unwrap_err();
    let cause = error.source().unwrap().source().unwrap().to_string();
    assert!(cause.contains("redirect"), "{cause}");
    assert!(requests.len() <= 6, "{requests:?}");
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let (outcome, _) = fetch(vec![Answer::Redirect, Answer::Good], whole()).await;
    assert!(outcome.unwrap() == content());
}

#[tokio::test]
async fn nobody_listening_is_given_up() {
    let url = Server::start(vec![], vec![]).await.url();
    let outcome = bytes(&Http::new(&url, patience()).unwrap(), &whole()).await;
    assert!(matches!(
        outcome.unwrap_err().failure,
        Failure::Connection(_)
    ));
}

#[test]
fn other_schemes_are_refused() {
    for url in ["", "ftp://a/", "file:///etc", "not a url"] {
        assert!(Http::new(url, patience()).is_err(), "{url}");
    }
}
