//! Members of a cluster in this process, each with its own tree and address on loopback, with the
//! real etcd of the tools tree instead of systemd's unit.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use strake_agent::cluster::authority::Authority;
use strake_agent::cluster::identity::Identity;
use strake_agent::cluster::launch::Launch;
use strake_agent::cluster::place::{LIFETIME, Place};
use strake_agent::cluster::secret::JoinSecret;
use strake_agent::cluster::settings::Settings;
use strake_agent::cluster::store::Store;
use strake_agent::cluster::{METRICS_PORT, run};
use strake_agent::root::Root;
use tempfile::TempDir;
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(120);

/// Programs of the tools tree, with its own loader and libraries: they are newer than the host's.
pub(crate) fn tool(name: &str) -> Option<Vec<String>> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/strake");
    let dir = std::env::var_os("STRAKE_DIR").map_or(built, PathBuf::from);
    let trees = std::fs::read_dir(dir.join("tools")).ok()?;
    let tree = trees
        .filter_map(|tree| tree.ok()?.path().canonicalize().ok())
        .find(|tree| tree.join("usr/bin").join(name).exists())?;
    let path = |path: &str| tree.join(path).display().to_string();
    Some(vec![
        path("usr/lib64/ld-linux-x86-64.so.2"),
        "--library-path".to_string(),
        path("usr/lib/x86_64-linux-gnu"),
        tree.join("usr/bin").join(name).display().to_string(),
    ])
}

/// etcd as a child process.
#[derive(Clone)]
pub(crate) struct Process {
    root: PathBuf,
    etcd: Vec<String>,
    /// Instead of what the service says.
    pub(crate) variables: Vec<(&'static str, &'static str)>,
    child: Rc<RefCell<Option<Child>>>,
}

impl Process {
    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.borrow().as_ref().map(Child::id)
    }

    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.borrow_mut().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Launch for Process {
    async fn is_up(&self) -> Result<bool> {
        let mut child = self.child.borrow_mut();
        let Some(running) = child.as_mut() else {
            return Ok(false);
        };
        let ended = running.try_wait()?;
        if ended.is_some() {
            *child = None;
        }
        Ok(ended.is_none())
    }

    async fn start(&self) -> Result<()> {
        let text = std::fs::read_to_string(self.root.join("run/strake/etcd/environment"))?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.root.join("etcd.log"))?;
        let variables = text.lines().filter_map(|line| line.split_once('='));
        std::fs::create_dir_all(self.root.join("var/lib/etcd"))?;
        let child = Command::new(&self.etcd[0])
            .args(&self.etcd[1..])
            .env_clear()
            .envs(variables)
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting etcd")?;
        *self.child.borrow_mut() = Some(child);
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.kill();
        Ok(())
    }
}

/// One machine; its processes end with it.
pub(crate) struct Machine {
    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) address: IpAddr,
    pub(crate) place: Place,
    pub(crate) process: Process,
    dir: TempDir,
    service: Option<JoinHandle<()>>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Machine {
    fn new(address: IpAddr, etcd: &[String], lifetime: Duration) -> Machine {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path().canonicalize().expect("a path");
        Machine {
            address,
            place: Place {
                root: Root::new(&root),
                addresses: Some(vec![address]),
                metrics: SocketAddr::new(address, METRICS_PORT),
                lifetime,
                ask_every: Duration::from_secs(1),
            },
            process: Process {
                root,
                etcd: etcd.to_vec(),
                variables: Vec::new(),
                child: Rc::default(),
            },
            dir,
            service: None,
        }
    }

    /// As `strake config apply` does before the boot.
    pub(crate) fn configure(&self, config: &str) {
        let etc = self.dir.path().join("etc/strake");
        std::fs::create_dir_all(&etc).expect("dir");
        std::fs::write(etc.join("cluster.json"), config).expect("config");
    }

    /// As systemd does: the service is begun again whenever it ends.
    pub(crate) fn boot(&mut self, config: &str) {
        self.configure(config);
        let (place, process) = (self.place.clone(), self.process.clone());
        self.service = Some(tokio::task::spawn_local(async move {
            loop {
                if let Err(error) = run::run(&place, &process).await {
                    eprintln!("{:?}: {error:#}", place.addresses);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }));
    }

    pub(crate) fn crash(&mut self) {
        if let Some(service) = self.service.take() {
            service.abort();
        }
        self.process.kill();
    }

    /// A new disk in the same machine.
    #[allow(dead_code, reason = "not every test loses one")]
    pub(crate) fn lose_disk(&mut self) {
        self.crash();
        for dir in ["state", "var", "run", "etc"] {
            let _ = std::fs::remove_dir_all(self.dir.path().join(dir));
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::load(&self.place.root).expect("settings")
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::load(&self.place.root, &Settings::load(&self.place.root).ok()?)
    }

    /// The store as this machine reaches it.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) async fn store(&self, at: &[IpAddr]) -> Result<Store> {
        let identity = self.identity().context("no certificate yet")?;
        Store::of(at, &self.settings().ca, &identity).await
    }

    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("etcd.log")).unwrap_or_default()
    }
}

/// A cloud-config's part for machines at 127.x.y.1 and on.
pub(crate) struct Config {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ca: String,
    pub(crate) ca_key: Option<String>,
    pub(crate) secret: JoinSecret,
    seeds: usize,
}

impl Config {
    /// `net` tells the clusters of one test program apart.
    pub(crate) fn new(net: u8, seeds: usize) -> Config {
        Config::made(net, seeds, SystemTime::now())
    }

    /// With an authority of that time.
    pub(crate) fn made(net: u8, seeds: usize, then: SystemTime) -> Config {
        let (ca, key) = Authority::create("test", then).expect("an authority");
        let secret = JoinSecret::generate().expect("random bytes");
        let part = (std::process::id() % 250 + 1) as u8;
        Config {
            addresses: (1..=9).map(|n| IpAddr::from([127, net, part, n])).collect(),
            ca_key: Some(secret.seal(&key).expect("sealed")),
            ca,
            secret,
            seeds,
        }
    }

    pub(crate) fn json(&self) -> String {
        let mut value = serde_json::json!({
            "name": "test",
            "seeds": self.addresses[..self.seeds],
            "ca": self.ca,
            "join_secret": self.secret,
        });
        if let Some(key) = &self.ca_key {
            value["ca_key"] = key.as_str().into();
        }
        value.to_string()
    }

    pub(crate) fn machine(&self, number: usize, etcd: &[String]) -> Machine {
        self.machine_for(number, etcd, LIFETIME)
    }

    pub(crate) fn machine_for(
        &self,
        number: usize,
        etcd: &[String],
        lifetime: Duration,
    ) -> Machine {
        Machine::new(self.addresses[number], etcd, lifetime)
    }
}

/// Asks until it holds, and tells the last answer when it never does.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> T {
    let start = tokio::time::Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) if start.elapsed() > DEADLINE => panic!("{what}: {error:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
