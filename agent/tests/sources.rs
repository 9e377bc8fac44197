//! Each source in the network against a server that speaks as it does.

mod web;

use strake_agent::fetch::{Access, Pin, Policy};
use strake_agent::source::described::{Document, Kind};
use strake_agent::source::remote::{Answer, Place, Remote};
use strake_cloud_config::metadata::Metadata;
use strake_cloud_config::{Address, Addresses};
use web::{Asked, Reply, Web, hasty, patient};

const CONFIG: &str = "#cloud-config\nhostname: mine\n";
const KEY: &str = "ssh-ed25519 AAAA a@b";

/// What a service of this kind serves, user-data first.
fn files(kind: Kind) -> Vec<(&'static str, String)> {
    let all: &[(&str, &str)] = match kind {
        Kind::Ec2 => &[
            ("/2009-04-04/user-data", CONFIG),
            ("/2009-04-04/meta-data/instance-id", "i-1"),
            ("/2009-04-04/meta-data/hostname", "n1.internal n1"),
            ("/2009-04-04/meta-data/local-ipv4", "10.0.0.1"),
            ("/2009-04-04/meta-data/public-ipv4", "192.0.2.1"),
            ("/2021-01-03/meta-data/ipv6", "2001:db8::1"),
            ("/2009-04-04/meta-data/public-keys/", "0=me"),
            ("/2009-04-04/meta-data/public-keys/0/openssh-key", KEY),
        ],
        Kind::Gce => &[
            ("/computeMetadata/v1/instance/attributes/user-data", CONFIG),
            (
                "/computeMetadata/v1/instance/?recursive=true",
                r#"{"hostname": "n1.internal", "attributes": {"ssh-keys": "core:ssh-ed25519 AAAA a@b"},
                    "networkInterfaces": [{"ip": "10.0.0.1",
                    "accessConfigs": [{"externalIp": "192.0.2.1"}]}]}"#,
            ),
        ],
        Kind::Azure => &[
            (
                "/metadata/instance/compute/userData?api-version=2021-02-01&format=text",
                "I2Nsb3VkLWNvbmZpZwpob3N0bmFt\nZTogbWluZQo=\n",
            ),
            (
                "/metadata/instance?api-version=2021-02-01",
                r#"{"compute": {"name": "n1.internal",
                    "publicKeys": [{"keyData": "ssh-ed25519 AAAA a@b"}]},
                    "network": {"interface": [{"ipv4": {"ipAddress": [
                    {"privateIpAddress": "10.0.0.1", "publicIpAddress": "192.0.2.1"}]}}]}}"#,
            ),
        ],
        Kind::OpenStack => &[
            ("/openstack/latest/user_data", CONFIG),
            (
                "/openstack/latest/meta_data.json",
                r#"{"hostname": "n1.internal", "public_keys": {"a": "ssh-ed25519 AAAA a@b"},
                    "network_config": {"content_path": "/content/0000"}}"#,
            ),
            ("/openstack/content/0000", "iface eth0 inet dhcp\n"),
            ("/2009-04-04/meta-data/local-ipv4", "10.0.0.1"),
            ("/2009-04-04/meta-data/public-ipv4", "192.0.2.1"),
        ],
        Kind::DigitalOcean => &[
            ("/metadata/v1/user-data", CONFIG),
            (
                "/metadata/v1.json",
                r#"{"hostname": "n1.internal", "public_keys": ["ssh-ed25519 AAAA a@b"],
                    "interfaces": {"public": [{"ipv4": {"ip_address": "192.0.2.1"}}],
                    "private": [{"ipv4": {"ip_address": "10.0.0.1"}}]}}"#,
            ),
        ],
        Kind::Hetzner => &[
            ("/hetzner/v1/userdata", CONFIG),
            (
                "/hetzner/v1/metadata",
                "hostname: n1.internal\npublic-keys: [ssh-ed25519 AAAA a@b]\n\
                 public-ipv4: 192.0.2.1\n",
            ),
        ],
        Kind::NoCloud => &[
            ("/user-data", CONFIG),
            (
                "/meta-data",
                "local-hostname: n1.internal\npublic-keys: [ssh-ed25519 AAAA a@b]\n",
            ),
            (
                "/network-config",
                "version: 2\nethernets: {eth0: {dhcp4: true}}\n",
            ),
        ],
    };
    all.iter()
        .map(|(path, text)| (*path, text.to_string()))
        .collect()
}

const ALL: [Kind; 7] = [
    Kind::Ec2,
    Kind::Gce,
    Kind::Azure,
    Kind::OpenStack,
    Kind::DigitalOcean,
    Kind::Hetzner,
    Kind::NoCloud,
];

/// As the real services do: no answer without the header that shows who asks.
fn lets_in(kind: Kind, asked: &Asked) -> bool {
    match kind {
        Kind::Ec2 => asked.header("X-aws-ec2-metadata-token") == Some("t0ken=="),
        Kind::Gce => asked.header("Metadata-Flavor") == Some("Google"),
        Kind::Azure => asked.header("Metadata") == Some("true"),
        _ => true,
    }
}

fn serve(kind: Kind, files: Vec<(&'static str, String)>) -> Web {
    Web::new(move |asked| {
        if kind == Kind::Ec2 && asked.line() == "PUT /latest/api/token" {
            let lifetime = asked.header("X-aws-ec2-metadata-token-ttl-seconds");
            return match lifetime {
                Some("600") => Reply::text("t0ken==\n"),
                _ => Reply::Status(400),
            };
        }
        if !lets_in(kind, asked) {
            return Reply::Status(401);
        }
        let found = files.iter().find(|(path, _)| *path == asked.path);
        found.map_or(Reply::Status(404), |(_, text)| Reply::text(text))
    })
}

fn remote(place: Place, web: &Web, path: &str) -> Remote {
    Remote {
        place,
        url: web.url(path),
    }
}

async fn ask(kind: Kind, web: &Web, policy: Policy) -> Result<Answer, String> {
    let remote = remote(Place::Service(kind), web, "");
    let answer = remote.ask(&policy, &Access::default()).await;
    answer.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

fn metadata(answer: &Answer) -> Metadata {
    let described = answer.metadata.as_ref().expect("a service has metadata");
    let (metadata, problems) = described.read();
    assert_eq!(problems, Vec::<String>::new());
    metadata
}

fn user_data(answer: &Answer) -> Option<&str> {
    let Document(bytes) = answer.user_data.as_ref()?;
    std::str::from_utf8(bytes).ok()
}

#[tokio::test]
async fn every_service_gives_user_data_name_keys_and_addresses() {
    for kind in ALL {
        let web = serve(kind, files(kind));
        let answer = ask(kind, &web, patient()).await.expect("answered");
        assert_eq!(user_data(&answer), Some(CONFIG), "{kind:?}");
        let found = metadata(&answer);
        assert_eq!(found.hostname.as_deref(), Some("n1.internal"), "{kind:?}");
        assert_eq!(found.ssh_authorized_keys, [KEY], "{kind:?}");
        let public = Address::Known([192, 0, 2, 1].into());
        let private = Address::Known([10, 0, 0, 1].into());
        let expected = match kind {
            Kind::NoCloud => (Address::Unknown, Address::Unknown),
            Kind::Hetzner => (public, Address::Unknown),
            _ => (public, private),
        };
        let Addresses {
            public_ipv4,
            private_ipv4,
            public_ipv6,
            ..
        } = found.addresses;
        assert_eq!((public_ipv4, private_ipv4), expected, "{kind:?}");
        assert_eq!(public_ipv6.is_known(), kind == Kind::Ec2);
        let networks: Vec<_> = found.network.iter().map(|unit| &*unit.name).collect();
        match kind {
            Kind::OpenStack | Kind::NoCloud => assert_eq!(networks, ["10-eth0.network"]),
            _ => assert!(networks.is_empty(), "{kind:?}"),
        }
    }
}

#[tokio::test]
async fn without_user_data_there_is_metadata_still() {
    for kind in ALL {
        let web = serve(kind, files(kind)[1..].to_vec());
        let answer = ask(kind, &web, patient()).await.expect("answered");
        assert_eq!(answer.user_data, None, "{kind:?}");
        let found = metadata(&answer);
        assert_eq!(found.hostname.as_deref(), Some("n1.internal"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_server_that_knows_nothing_is_not_the_clouds() {
    for kind in ALL {
        let web = Web::new(|_| Reply::Status(404));
        let error = ask(kind, &web, patient()).await.expect_err("no service");
        assert!(
            error.contains("the server answered 404"),
            "{kind:?}: {error}"
        );
    }
}

#[tokio::test]
async fn faults_are_told_and_bounded_for_every_service() {
    let faults = [
        Reply::Status(500),
        Reply::Truncated,
        Reply::Close,
        Reply::Endless,
        Reply::Hang,
        Reply::Redirect("http://192.0.2.1/".to_string()),
    ];
    for (kind, fault) in ALL.into_iter().zip(faults.into_iter().cycle()) {
        // Only metadata fails: that user-data came is not enough.
        let user_data = files(kind).swap_remove(0);
        let web = Web::new(move |asked| match asked.method.as_str() {
            "PUT" => Reply::Status(404),
            _ if asked.path == user_data.0 => Reply::text(&user_data.1),
            _ => fault.clone(),
        });
        let error = ask(kind, &web, hasty()).await.expect_err("it fails");
        assert!(
            error.starts_with("fetching http://127.0.0.1"),
            "{kind:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_page_in_place_of_metadata_is_refused() {
    for kind in ALL.into_iter().filter(|kind| *kind != Kind::Ec2) {
        let user_data = files(kind).swap_remove(0);
        let web = Web::new(move |asked| match asked.path == user_data.0 {
            true => Reply::text(&user_data.1),
            false => Reply::Page,
        });
        let error = ask(kind, &web, patient()).await.expect_err("a page");
        assert!(
            error.starts_with("what it answered cannot be used"),
            "{kind:?}: {error}"
        );
    }
}

#[tokio::test]
async fn ec2_without_tokens_is_asked_the_old_way() {
    for refusal in [400, 403, 404, 405] {
        let files = files(Kind::Ec2);
        let web = Web::new(move |asked| {
            if asked.method == "PUT" {
                return Reply::Status(refusal);
            }
            assert_eq!(asked.header("X-aws-ec2-metadata-token"), None);
            let found = files.iter().find(|(path, _)| *path == asked.path);
            found.map_or(Reply::Status(404), |(_, text)| Reply::text(text))
        });
        let answer = ask(Kind::Ec2, &web, patient()).await.expect("answered");
        assert_eq!(user_data(&answer), Some(CONFIG), "{refusal}");
    }
}

#[tokio::test]
async fn ec2_that_lets_nobody_in_is_an_error_and_not_an_empty_answer() {
    for refusal in [401, 403] {
        let web = Web::new(move |_| Reply::Status(refusal));
        let error = ask(Kind::Ec2, &web, patient()).await.expect_err("refused");
        assert!(error.contains(&format!("answered {refusal}")), "{error}");
    }
}

#[tokio::test]
async fn a_page_in_place_of_a_token_is_not_sent_back() {
    let files = files(Kind::Ec2);
    let web = Web::new(move |asked| {
        let found = files.iter().find(|(path, _)| *path == asked.path);
        match (found, asked.method.as_str()) {
            (_, "PUT") => Reply::Page,
            (Some((_, text)), _) => Reply::text(text),
            (None, _) => Reply::Status(404),
        }
    });
    ask(Kind::Ec2, &web, patient()).await.expect("answered");
    let sent = web.asked();
    let tokens = sent
        .iter()
        .filter_map(|asked| asked.header("X-aws-ec2-metadata-token"));
    assert_eq!(tokens.count(), 0);
}

#[tokio::test]
async fn user_data_of_azure_that_is_no_base64_is_refused() {
    let mut all = files(Kind::Azure);
    all[0].1 = CONFIG.to_string();
    let web = serve(Kind::Azure, all);
    let error = ask(Kind::Azure, &web, patient())
        .await
        .expect_err("refused");
    assert!(error.contains("not base64"), "{error}");
}

#[tokio::test]
async fn a_url_is_fetched_as_it_is_and_has_to_be_there() {
    let web = Web::with(&[("/a/b?c=d", CONFIG)]);
    let access = Access::default();
    let fetch = async |path: &str, pin: Option<Pin>| {
        let remote = remote(Place::File { pin }, &web, path);
        let answer = remote.ask(&patient(), &access).await;
        answer.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    };
    for pin in [None, Some(Pin::of(CONFIG.as_bytes()))] {
        let answer = fetch("a/b?c=d", pin).await.expect("answered");
        assert_eq!(
            (user_data(&answer), answer.metadata.is_none()),
            (Some(CONFIG), true)
        );
    }
    let error = fetch("a/b?c=d", Some(Pin::of(b"x"))).await;
    assert!(error.expect_err("another digest").contains("SHA-256"));
    let error = fetch("a/b", None).await.expect_err("not there");
    assert!(error.contains("the server answered 404"), "{error}");
}

#[tokio::test]
async fn endless_user_data_ends() {
    let web = Web::new(|_| Reply::Endless);
    let remote = remote(Place::File { pin: None }, &web, "");
    let error = remote.ask(&patient(), &Access::default()).await;
    let error = format!("{:#}", anyhow::Error::from(error.expect_err("too long")));
    assert!(error.contains("longer than 16777216 bytes"), "{error}");
    assert_eq!(web.asked().len(), 1);
}
