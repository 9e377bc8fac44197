//! Fetching from servers that are slow, broken, hostile or just gone.

mod web;

use std::time::Duration;

use strake_agent::fetch::{Access, Answer, Client, Error, Pin, Policy, Request};
use strake_agent::root::Root;
use strake_cloud_config::Config;
use strake_cloud_config::config::{CaCert, Proxy};
use url::Url;
use web::{Reply, Web, hasty, patient};

async fn get(policy: Policy, access: &Access, url: Url) -> Result<Answer, Error> {
    let client = Client::of_world(policy, access).expect("client");
    client.send(&Request::get(url, 1 << 20)).await
}

/// The whole chain of causes.
fn why(result: Result<Answer, Error>) -> String {
    format!("{:#}", anyhow::Error::from(result.expect_err("it fails")))
}

/// Access as a config with these values gives it.
fn access(config: &Config) -> Access {
    let dir = tempfile::tempdir().expect("temp dir");
    Access::of(&Root::new(dir.path()), config)
}

#[tokio::test]
async fn a_fault_is_tried_again_and_then_told() {
    let cases = [
        (Reply::Hang, "in time"),
        (Reply::Stall, "in time"),
        (Reply::Truncated, "the connection failed"),
        (Reply::Close, "the connection failed"),
        (Reply::Status(500), "the server answered 500"),
        (Reply::Status(503), "the server answered 503"),
    ];
    for (reply, expected) in cases {
        let always = reply.clone();
        let web = Web::new(move |_| always.clone());
        let error = why(get(hasty(), &Access::default(), web.url("x")).await);
        assert!(error.contains(expected), "{reply:?}: {error}");
        assert!(error.contains("/x, try 3"), "{reply:?}: {error}");
        assert_eq!(web.asked().len(), 3, "{reply:?}");
    }
}

#[tokio::test]
async fn a_server_that_recovers_is_answered_for() {
    let faults = [Reply::Status(500), Reply::Truncated];
    let faults = std::sync::Mutex::new(faults.to_vec());
    let web = Web::new(move |_| {
        let fault = faults.lock().expect("not poisoned").pop();
        fault.unwrap_or_else(|| Reply::text("good"))
    });
    let policy = Policy {
        first: Duration::from_millis(1),
        ..patient()
    };
    let answer = get(policy, &Access::default(), web.url("")).await;
    assert_eq!(answer.expect("answered"), Answer::Body(b"good".to_vec()));
    assert_eq!(web.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_is_not_asked_for_again() {
    for status in [400, 401, 403, 404, 410] {
        let web = Web::new(move |_| Reply::Status(status));
        let answer = get(patient(), &Access::default(), web.url("")).await;
        assert_eq!(answer.expect("answered"), Answer::Refused(status));
        assert_eq!(web.asked().len(), 1);
    }
}

#[tokio::test]
async fn too_much_is_refused_at_once() {
    let announced = Web::new(|_| Reply::Found(vec![b'x'; (1 << 20) + 1]));
    let endless = Web::new(|_| Reply::Endless);
    for web in [announced, endless] {
        let error = why(get(patient(), &Access::default(), web.url("")).await);
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
        assert_eq!(web.asked().len(), 1);
    }
}

#[tokio::test]
async fn another_digest_is_refused_at_once() {
    let web = Web::with(&[("/a", "good")]);
    let client = Client::of_world(patient(), &Access::default()).expect("client");
    let mut request = Request::get(web.url("a"), 100);
    request.pin = Some(Pin::of(b"good"));
    let answer = client.send(&request).await.expect("answered");
    assert_eq!(answer, Answer::Body(b"good".to_vec()));
    request.pin = Some(Pin::of(b"bad"));
    let error = why(client.send(&request).await);
    assert!(error.contains(&Pin::of(b"good").to_string()), "{error}");
    assert_eq!(web.asked().len(), 2);
}

#[tokio::test]
async fn redirects_are_followed_five_times_and_not_to_other_servers_of_a_cloud() {
    let other = Web::with(&[("/end", "there")]);
    let end = other.url("end").to_string();
    let web = Web::new(move |asked| match asked.path.as_str() {
        "/away" => Reply::Redirect(end.clone()),
        "/0" => Reply::text("here"),
        path => {
            let left: u32 = path[1..].parse().expect("number");
            Reply::Redirect(format!("/{}", left - 1))
        }
    });
    let none = Access::default();
    let answer = get(patient(), &none, web.url("5")).await;
    assert_eq!(answer.expect("answered"), Answer::Body(b"here".to_vec()));
    let error = why(get(patient(), &none, web.url("6")).await);
    assert!(error.contains("more than 5 redirects"), "{error}");
    let answer = get(patient(), &none, web.url("away")).await;
    assert_eq!(answer.expect("answered"), Answer::Body(b"there".to_vec()));
    let client = Client::of_metadata(patient()).expect("client");
    let error = why(client.send(&Request::get(web.url("away"), 100)).await);
    assert!(error.contains("another server than the cloud's"), "{error}");
}

#[tokio::test]
async fn only_known_certificates_are_trusted() {
    let plain = Web::with(&[("/", "plain")]);
    let end = plain.url("").to_string();
    let web = Web::with_tls(move |asked| match asked.path.as_str() {
        "/down" => Reply::Redirect(end.clone()),
        _ => Reply::text("safe"),
    });
    let error = why(get(hasty(), &Access::default(), web.url("")).await);
    assert!(error.contains("certificate"), "{error}");
    let config = Config {
        ca_certs: vec![CaCert {
            pem: format!("-----BEGIN CERTIFICATE-----\n%\n{}", web.certificate),
        }],
        ..Config::default()
    };
    let error = why(get(hasty(), &access(&config), web.url("")).await);
    assert!(
        error.contains("certificate"),
        "a broken one vouches for nobody: {error}"
    );
    let config = Config {
        ca_certs: vec![CaCert {
            pem: web.certificate.clone(),
        }],
        ..Config::default()
    };
    let trusting = access(&config);
    let answer = get(patient(), &trusting, web.url("")).await;
    assert_eq!(answer.expect("answered"), Answer::Body(b"safe".to_vec()));
    let error = why(get(patient(), &trusting, web.url("down")).await);
    assert!(error.contains("from https to http"), "{error}");
}

#[tokio::test]
async fn the_configured_proxy_is_used_but_not_for_what_is_direct() {
    let proxy = Web::new(|_| Reply::text("by proxy"));
    let web = Web::with(&[("/", "directly")]);
    let config = Config {
        proxy: Proxy {
            http: Some(proxy.url("").to_string()),
            no_proxy: vec!["direct.example".to_string()],
            ..Proxy::default()
        },
        ..Config::default()
    };
    let access = access(&config);
    let far: Url = "http://far.example/a".parse().expect("URL");
    let answer = get(patient(), &access, far).await;
    assert_eq!(
        answer.expect("answered"),
        Answer::Body(b"by proxy".to_vec())
    );
    assert_eq!(proxy.lines(), ["GET http://far.example/a"]);
    let answer = get(patient(), &access, web.url("")).await;
    assert_eq!(
        answer.expect("answered"),
        Answer::Body(b"directly".to_vec())
    );
    let direct: Url = "http://sub.direct.example/".parse().expect("URL");
    get(hasty(), &access, direct)
        .await
        .expect_err("no such host");
    assert_eq!(proxy.asked().len(), 1);
}
