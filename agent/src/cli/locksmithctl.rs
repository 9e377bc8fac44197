//! The applet `locksmithctl`: the original's verbs, flags, output and exit codes.
//!
//! Mended where no script could rely on the defect: a corrupt lock is said in words, a lost race is
//! tried again, max must be at least 1; `reboot` is for the holder too, and gives the lock back when the
//! reboot is refused.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};
use zbus::connection;

use super::lock::own_or;
use super::output::print;
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::lock::keys::Group;
use crate::lock::semaphore::{Max, Taken};
use crate::lock::{Error, Lock};
use crate::reboot::logind::{Inhibitors, Logind};
use crate::reboot::own::{self, Known};
use crate::reboot::pending::Pending;
use crate::reboot::socket;
use crate::root::Root;
use crate::store::etcd::{Etcd, Settings};
use crate::update::bus::{INTERFACE, PATH, Tuple};
use crate::update::live::Operation;

const USAGE: &str = "\
Usage: locksmithctl [FLAGS] COMMAND [ID|N]

Commands:
  status          places that are available, max, and the holders
  lock [ID]       take a place for this machine, or for ID
  unlock [ID]     free the place of this machine, or of ID
  set-max N       let N machines hold the lock at once
  reboot          take a place and reboot; root only
  send-need-reboot    tell the machine's services that a reboot is needed
  help            print this

Flags, also as LOCKSMITHCTL_FLAG in the environment:
  -endpoint URL,...       etcd's addresses (repeatable)
  -etcd-cafile FILE, -etcd-certfile FILE, -etcd-keyfile FILE   TLS; all three or none
  -group NAME             machines that share one lock
  -debug                  taken and not needed
  -version                print the version
";

#[derive(Debug, Default)]
struct Flags {
    endpoints: Vec<String>,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    group: String,
    version: bool,
    rest: Vec<String>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Exit> {
    let flags = match Flags::parse(arguments, |name| std::env::var(name).ok()) {
        Ok(flags) => flags,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return Ok(Exit::BadInput);
        }
    };
    if flags.version {
        print(&format!(
            "locksmithctl version {}\n",
            env!("CARGO_PKG_VERSION")
        ));
        return Ok(Exit::Done);
    }
    let verb = flags.rest.first().map_or("help", String::as_str);
    let argument = flags.rest.get(1).cloned();
    match verb {
        "help" => {
            print(USAGE);
            Ok(Exit::Done)
        }
        "status" => on_one_thread(status(&flags))?,
        "lock" => on_one_thread(lock(&flags, argument))?,
        "unlock" => on_one_thread(unlock(&flags, argument))?,
        "set-max" => match argument.as_deref().unwrap_or_default().parse() {
            Ok(max) => on_one_thread(set_max(&flags, max))?,
            Err(wrong) => {
                eprintln!("Error setting max: {wrong}");
                Ok(Exit::Failed)
            }
        },
        "reboot" => on_one_thread(reboot(&flags))?,
        "send-need-reboot" => on_one_thread(send_need_reboot())?,
        unknown => {
            eprintln!("{unknown}: unknown command\n{USAGE}");
            Ok(Exit::BadInput)
        }
    }
}

impl Flags {
    fn parse(
        arguments: &[OsString],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Flags, String> {
        let mut flags = Flags::default();
        for name in [
            "endpoint",
            "etcd-cafile",
            "etcd-certfile",
            "etcd-keyfile",
            "group",
        ] {
            let variable = format!("LOCKSMITHCTL_{}", name.to_uppercase().replace('-', "_"));
            if let Some(value) = environment(&variable).filter(|value| !value.is_empty()) {
                flags.set(name, value)?;
            }
        }
        let from_environment = std::mem::take(&mut flags.endpoints);
        let mut words = arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = words.next() {
            // As in Go, flags end with the first word that is none.
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                flags.rest.push(word);
                flags.rest.extend(words);
                break;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (flag, None),
            };
            match name {
                "debug" => {}
                "version" => flags.version = true,
                "help" | "h" => flags.rest = vec!["help".to_string()],
                _ => {
                    let value = value.or_else(|| words.next());
                    let missing = || format!("flag needs an argument: -{name}");
                    flags.set(name, value.ok_or_else(missing)?)?;
                }
            }
        }
        if flags.endpoints.is_empty() {
            flags.endpoints = from_environment;
        }
        let tls = [&flags.ca, &flags.cert, &flags.key];
        if tls.iter().any(|file| file.is_some()) && tls.iter().any(|file| file.is_none()) {
            return Err("TLS needs -etcd-cafile, -etcd-certfile and -etcd-keyfile".to_string());
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "endpoint" => self.endpoints.extend(value.split(',').map(str::to_string)),
            "etcd-cafile" => self.ca = Some(value),
            "etcd-certfile" => self.cert = Some(value),
            "etcd-keyfile" => self.key = Some(value),
            "group" => self.group = value,
            _ => return Err(format!("flag provided but not defined: -{name}")),
        }
        Ok(())
    }

    /// The machine's own way to the store where no flag names another.
    fn store(&self) -> Result<Settings> {
        let mut settings = Settings::read(&Root::new("/"))?;
        if !self.endpoints.is_empty() {
            settings = Settings {
                endpoints: self.endpoints.clone(),
                ca: None,
                cert: None,
                key: None,
            };
        }
        if let (Some(ca), Some(cert), Some(key)) = (&self.ca, &self.cert, &self.key) {
            settings.ca = Some(ca.into());
            settings.cert = Some(cert.into());
            settings.key = Some(key.into());
        }
        Ok(settings)
    }

    async fn lock(&self) -> Result<Lock<Etcd>> {
        let store = Etcd::connect(&self.store()?).await;
        let store = store.context("connecting to etcd")?;
        Ok(Lock::new(store, Group::named(&self.group)))
    }
}

async fn status(flags: &Flags) -> Result<Exit> {
    let semaphore = flags.lock().await?.read().await?.semaphore;
    let mut text = format!(
        "Available: {}\nMax: {}\n",
        semaphore.free(),
        semaphore.max()
    );
    let holders: Vec<&str> = semaphore.holders().collect();
    if !holders.is_empty() {
        text += &format!("\nMACHINE ID\n{}\n", holders.join("\n"));
    }
    print(&text);
    Ok(Exit::Done)
}

async fn lock(flags: &Flags, id: Option<String>) -> Result<Exit> {
    let id = own_or(id)?;
    match flags.lock().await?.lock_by_hand(&id).await {
        Ok(Taken::Now) => Ok(Exit::Done),
        Ok(Taken::Before) | Err(Error::Twin { .. }) => refused("locking", "holder exists"),
        Err(Error::Full(full)) if full.max < 1 => refused("locking", "max is below 1"),
        Err(Error::Full(_)) => refused("locking", "semaphore is at 0"),
        Err(error) => bail!("Error locking: {error}"),
    }
}

async fn unlock(flags: &Flags, id: Option<String>) -> Result<Exit> {
    let id = own_or(id)?;
    match flags.lock().await?.unlock_by_hand(&id).await {
        Ok(true) => Ok(Exit::Done),
        Ok(false) => refused("unlocking", "holder does not exist"),
        Err(error) => bail!("Error unlocking: {error}"),
    }
}

async fn set_max(flags: &Flags, max: Max) -> Result<Exit> {
    let (before, now) = flags.lock().await?.set_max(max).await?;
    print(&format!("Old-Max: {before}\nMax: {now}\n"));
    Ok(Exit::Done)
}

/// What the lock is taken for is on the disk first: the next boot gives it back once it is healthy.
async fn reboot(flags: &Flags) -> Result<Exit> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("Must be root to initiate reboot.");
        return Ok(Exit::Failed);
    }
    let root = Root::new("/");
    let who = own::claimant(&root)?;
    let lock = flags.lock().await?;
    let pending = Pending {
        boot: crate::update::boot_id(&root),
        since: crate::update::clock(),
        group: flags.group.clone(),
        store: Some(flags.store()?),
        target: None,
        drained: false,
    };
    pending.write(&root)?;
    let claim = own::claim(&root, &who, "locksmithctl reboot", &Known::default());
    if let Err(error) = lock.try_lock(&who, &claim).await {
        if matches!(error, Error::Full(_)) {
            Pending::remove(&root)?;
            return refused("locking", "semaphore is at 0");
        }
        bail!("Error locking: {error}");
    }
    let connection = connection::Builder::system().build().await;
    let ordered = async {
        let logind = Logind::new(connection.context("reaching D-Bus")?).await?;
        Ok::<(), anyhow::Error>(logind.reboot(Inhibitors::Count).await?)
    };
    if let Err(error) = ordered.await {
        lock.unlock(&who).await.context("giving the lock back")?;
        Pending::remove(&root)?;
        bail!("Cannot reboot: {error:#}");
    }
    Ok(Exit::Done)
}

/// To whoever listens as to update_engine, and to this machine's own service.
async fn send_need_reboot() -> Result<Exit> {
    let connection = connection::Builder::system().build().await;
    let connection = connection.context("reaching D-Bus")?;
    let status: Tuple = (
        i64::try_from(crate::update::clock().unix()).unwrap_or(i64::MAX),
        0.0,
        Operation::UpdatedNeedReboot.word().to_owned(),
        String::new(),
        0,
    );
    let nobody: Option<&str> = None;
    let sent = connection.emit_signal(nobody, PATH, INTERFACE, "StatusUpdate", &status);
    sent.await.context("sending the signal")?;
    let told = socket::ask(socket::SOCKET.as_ref(), &socket::Order::Need).await;
    told.context("telling strake-reboot.service")?;
    Ok(Exit::Done)
}

fn refused(doing: &str, why: &str) -> Result<Exit> {
    eprintln!("Error {doing}: {why}");
    Ok(Exit::Failed)
}
