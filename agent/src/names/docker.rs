//! Which containers docker runs for units.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde::Deserialize;

use super::place::Container;
use crate::docker::{Docker, filters};

const LABEL: &str = "strake.unit";
/// What happens to containers that may change where they are, or whether they are well.
const EVENTS: [&str; 7] = [
    "start",
    "die",
    "pause",
    "unpause",
    "health_status",
    "connect",
    "disconnect",
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    state: String,
    /// For people, and yet the only place where a list tells of health.
    #[serde(default)]
    status: String,
    #[serde(default)]
    network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: BTreeMap<String, Attached>,
}

#[derive(Debug, Deserialize)]
struct Attached {
    #[serde(rename = "IPAddress", default)]
    v4: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    v6: String,
}

fn container(listed: Listed) -> Option<Container> {
    let unit = listed.labels.get(LABEL)?.parse().ok()?;
    let ill = ["(unhealthy)", "(health: starting)"];
    let attached = listed.network_settings.networks.into_values();
    let addresses = attached.flat_map(|one| [one.v4, one.v6]);
    Some(Container {
        unit,
        is_well: listed.state == "running" && !ill.iter().any(|word| listed.status.contains(word)),
        addresses: addresses
            .filter_map(|text| text.parse::<IpAddr>().ok())
            .collect(),
    })
}

/// All that belong to a unit.
pub async fn containers(docker: &Docker) -> Result<Vec<Container>> {
    let filters = filters(&serde_json::json!({"label": [LABEL]}));
    let path = format!("/containers/json?{filters}");
    let listed = docker.ask(Method::GET, &path, None).await?;
    let listed: Vec<Listed> =
        serde_json::from_value(listed).context("understanding docker's containers")?;
    Ok(listed.into_iter().filter_map(container).collect())
}

/// A stream that says something whenever a container may be elsewhere.
#[derive(Debug)]
pub struct Events(Incoming);

impl Events {
    pub async fn follow(docker: &Docker) -> Result<Events> {
        let wanted = serde_json::json!({"type": ["container", "network"], "event": EVENTS});
        let path = format!("/events?{}", filters(&wanted));
        let answer = docker.open(Method::GET, &path, None).await?;
        Ok(Events(answer.into_body()))
    }

    /// Ends in an error when docker does.
    pub async fn next(&mut self) -> Result<()> {
        let frame = self.0.frame().await.context("docker has ended")?;
        frame.context("listening to docker")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn containers_of_units_are_found_with_their_health() {
        let dir = tempfile::tempdir().expect("temp dir");
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("socket");
        let body = r#"[
            {"Labels":{"strake.unit":"web@1.container"},"State":"running","Status":"Up 3 minutes (healthy)",
             "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"10.5.3.2","GlobalIPv6Address":"fd00::2"}}}},
            {"Labels":{"strake.unit":"ill.container"},"State":"running","Status":"Up 3 minutes (unhealthy)",
             "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"10.5.3.3","GlobalIPv6Address":""}}}},
            {"Labels":{"strake.unit":"new.container"},"State":"running","Status":"Up 1 second (health: starting)"},
            {"Labels":{"strake.unit":"host.container"},"State":"running","Status":"Up 2 days",
             "NetworkSettings":{"Networks":{"host":{"IPAddress":""}}}},
            {"Labels":{"strake.unit":"paused.container"},"State":"paused","Status":"Up 2 days (Paused)"},
            {"Labels":{"strake.unit":"../x"},"State":"running","Status":"Up"}
        ]"#;
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = vec![0; 1024];
            let length = stream.read(&mut asked).await.expect("a request");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let answer = head + body;
            stream.write_all(answer.as_bytes()).await.expect("sent");
            String::from_utf8_lossy(&asked[..length]).into_owned()
        };
        let docker = Docker::at(&socket);
        let (asked, found) = tokio::join!(serve, containers(&docker));
        let wanted =
            "GET /containers/json?filters=%7B%22label%22%3A%5B%22strake.unit%22%5D%7D HTTP/1.1";
        assert!(asked.starts_with(wanted), "{asked}");
        let found = found.expect("containers");
        let found: Vec<(String, bool, usize)> = found
            .into_iter()
            .map(|one| (one.unit.to_string(), one.is_well, one.addresses.len()))
            .collect();
        let expected = [
            ("web@1.container", true, 2),
            ("ill.container", false, 1),
            ("new.container", false, 0),
            ("host.container", true, 0),
            ("paused.container", false, 0),
        ];
        assert_eq!(
            found,
            expected.map(|(name, well, count)| (name.to_string(), well, count))
        );
    }

    #[tokio::test]
    async fn a_docker_that_refuses_is_told() {
        let dir = tempfile::tempdir().expect("temp dir");
        let socket = dir.path().join("docker.sock");
        let error = containers(&Docker::at(&socket))
            .await
            .expect_err("nobody listens");
        assert!(format!("{error:#}").contains("docker.sock"), "{error:#}");
        let listener = UnixListener::bind(&socket).expect("socket");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let asked = stream.read(&mut [0; 1024]).await.expect("a request");
            assert!(asked > 0, "it says nothing");
            let answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("sent");
            stream
        };
        let docker = Docker::at(&socket);
        let (_stream, found) = tokio::join!(serve, containers(&docker));
        let error = found.expect_err("docker refuses");
        assert!(format!("{error:#}").contains("500"), "{error:#}");
    }
}
