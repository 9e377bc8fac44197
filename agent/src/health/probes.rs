//! What has to work besides the units: DATA can be written, etcd answers when there is one, and
//! every program in `/etc/strake/health.d` says yes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cluster::founding::Data;
use crate::cluster::member;
use crate::hook;
use crate::root::Root;
use crate::systemd::Units;

const DATA_DIR: &str = "/var/lib/strake";
const HOOKS: &str = "/etc/strake/health.d";
const ETCD: &str = "127.0.0.1:2379";
/// Of the image's etcd.service, whatever its clients have to show elsewhere.
const ETCD_METRICS: &str = "127.0.0.1:2381";
const IMAGE_UNITS: &str = "/usr/lib/systemd/system/";
/// A full store is no sickness of this boot.
pub(crate) const HEALTH: &str = "/health?exclude=NOSPACE";
const DISK_TIME: Duration = Duration::from_secs(30);
const HOOK_TIME: Duration = Duration::from_secs(30);
const ETCD_TIME: Duration = Duration::from_secs(5);

/// One line for each thing that is wrong.
pub async fn reasons(root: &Root, units: &impl Units) -> Vec<String> {
    let mut reasons = Vec::new();
    reasons.extend(data(root).await);
    reasons.extend(etcd(root, units).await);
    for hook in hook::programs(root, HOOKS) {
        reasons.extend(hook::run(&hook, HOOK_TIME, &[]).await.err());
    }
    reasons
}

/// A member of the cluster has to be up once it has been one; any other etcd when it runs. One
/// that waits for the other founders says nothing about this boot.
async fn etcd(root: &Root, units: &impl Units) -> Option<String> {
    let unit = match units.unit("etcd.service").await {
        Ok(unit) => unit,
        Err(error) => return Some(error.to_string()),
    };
    let address = match unit.fragment.starts_with(IMAGE_UNITS) {
        true => ETCD_METRICS,
        false => ETCD,
    };
    match unit.active.is_up() {
        true => says_healthy(address, HEALTH).await.err(),
        false if member::is_set_up(root) && member::data(root) == Data::Formed => {
            Some("this machine is a member of the cluster and its etcd does not run".to_string())
        }
        false => None,
    }
}

async fn data(root: &Root) -> Option<String> {
    let dir = match root.follow(DATA_DIR.as_ref()) {
        Ok(dir) => dir,
        Err(error) => return Some(format!("{DATA_DIR}: {error}")),
    };
    // On a thread of its own: a disk that hangs must not take the deadline with it.
    let writing = tokio::task::spawn_blocking(move || write_and_remove(&dir));
    match timeout(DISK_TIME, writing).await {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(error))) => Some(format!("{DATA_DIR} cannot be written: {error}")),
        Ok(Err(_)) | Err(_) => Some(format!("{DATA_DIR} cannot be written: no answer")),
    }
}

fn write_and_remove(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(".health");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let written = file.write_all(b"healthy\n").and_then(|()| file.sync_all());
    std::fs::remove_file(&path)?;
    written
}

/// Asks etcd over plain HTTP.
pub(crate) async fn says_healthy(address: &str, path: &str) -> Result<(), String> {
    let answer = timeout(ETCD_TIME, ask_etcd(address, path)).await;
    match answer {
        Ok(Ok(body)) if body.replace(' ', "").contains("\"health\":\"true\"") => Ok(()),
        Ok(Ok(_)) => Err("etcd says it is not healthy".to_string()),
        Ok(Err(error)) => Err(format!("etcd does not answer at {address}: {error}")),
        Err(_) => Err(format!("etcd does not answer at {address} in time")),
    }
}

async fn ask_etcd(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::BootTimes;
    use crate::systemd::fake::{Fake, of_image};
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::net::TcpListener;

    fn hook(dir: &Path, name: &str, text: &str, mode: u32) {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
    }

    #[tokio::test]
    async fn every_executable_hook_is_asked() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let hooks = dir.path().join("etc/strake/health.d");
        std::fs::create_dir_all(&hooks).expect("dir");
        hook(&hooks, "10-yes", "#!/bin/sh\nexit 0\n", 0o755);
        hook(&hooks, "20-no", "#!/bin/sh\nexit 4\n", 0o755);
        hook(&hooks, "30-readme", "not a program", 0o644);
        let found = reasons(&root, &Fake::new(BootTimes::new())).await;
        assert_eq!(
            found,
            [format!("{}: exit status: 4", hooks.join("20-no").display())]
        );
        assert!(!dir.path().join("var/lib/strake/.health").exists());
    }

    #[tokio::test]
    async fn data_that_cannot_be_written_is_a_reason() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir_all(dir.path().join("var")).expect("dir");
        std::fs::write(dir.path().join("var/lib"), "a file").expect("file");
        let found = reasons(&Root::new(dir.path()), &Fake::new(BootTimes::new())).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("/var/lib/strake cannot be written: "),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn etcd_is_asked_over_http() {
        let cases = [
            (
                "HTTP/1.0 200 OK\r\n\r\n{\"health\":\"true\",\"reason\":\"\"}",
                None,
            ),
            (
                "HTTP/1.0 503 Service Unavailable\r\n\r\n{\"health\":\"false\"}",
                Some("etcd says it is not healthy"),
            ),
        ];
        for (answer, expected) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
            let address = listener.local_addr().expect("address").to_string();
            let serve = async {
                let (mut stream, _) = listener.accept().await.expect("connection");
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await.expect("request");
                stream.write_all(answer.as_bytes()).await.expect("answer");
            };
            let (found, ()) = tokio::join!(says_healthy(&address, HEALTH), serve);
            assert_eq!(found.err().as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn etcd_that_does_not_run_is_not_asked() {
        let dir = tempfile::tempdir().expect("temp dir");
        let fake = Fake::new(BootTimes::new());
        fake.set(of_image("etcd.service", crate::systemd::Active::Inactive));
        assert_eq!(
            reasons(&Root::new(dir.path()), &fake).await,
            Vec::<String>::new()
        );
    }

    #[tokio::test]
    async fn a_member_that_was_part_of_a_cluster_has_to_be_up_again() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let fake = Fake::new(BootTimes::new());
        fake.set(of_image("etcd.service", crate::systemd::Active::Inactive));
        let write = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("dir");
            std::fs::write(path, "1").expect("file");
        };
        write("run/strake/etcd/environment");
        write("var/lib/etcd/strake/member/wal/0.wal");
        assert_eq!(etcd(&root, &fake).await, None, "it still waits for others");
        write("var/lib/etcd/strake.formed");
        let found = etcd(&root, &fake).await.expect("a reason");
        assert!(found.contains("its etcd does not run"), "{found}");
    }
}
