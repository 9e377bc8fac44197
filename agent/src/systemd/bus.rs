//! The real systemd, over D-Bus.

use std::pin::Pin;
use std::task::Context;

use tokio::sync::watch;
use zbus::export::futures_core::Stream;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::wire::OwnedObjectPath;
use zbus::{Connection, MatchRule, MessageStream, connection, message};

use super::proxy::ManagerProxy;
use super::{Active, BootTimes, Error, Job, Unit, Units};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE_UNIT: &str = "org.freedesktop.systemd1.Service";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNITS_PATH: &str = "/org/freedesktop/systemd1/unit";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
// What was asked for replaces what is queued against it, as for `systemctl start`.
const MODE: &str = "replace";

const BOOT_TIMES: [&str; 6] = [
    "FirmwareTimestampMonotonic",
    "LoaderTimestampMonotonic",
    "KernelTimestampMonotonic",
    "InitRDTimestampMonotonic",
    "UserspaceTimestampMonotonic",
    "FinishTimestampMonotonic",
];

#[derive(Debug)]
pub struct Bus {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

impl Bus {
    pub async fn system() -> Result<Bus, Error> {
        Bus::over(connection::Builder::system()).await
    }

    pub async fn over(builder: connection::Builder<'_>) -> Result<Bus, Error> {
        let connection = builder.build().await.map_err(Error::Connect)?;
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(Error::Connect)?;
        Ok(Bus {
            connection,
            manager,
        })
    }

    async fn properties(&self, path: OwnedObjectPath) -> zbus::Result<PropertiesProxy<'static>> {
        PropertiesProxy::builder(&self.connection)
            .destination(SERVICE)
            .path(path)
            .build()
            .await
    }

    async fn read_unit(&self, name: &str) -> zbus::Result<Unit> {
        let path = self.manager.load_unit(name).await?;
        let interface = InterfaceName::try_from(UNIT)?;
        let mut values = self.properties(path).await?.get_all(interface).await?;
        let mut take = |key: &str| values.remove(key).ok_or(zbus::Error::InvalidReply);
        let mut pulled_by = Vec::<String>::try_from(take("WantedBy")?)?;
        pulled_by.extend(Vec::<String>::try_from(take("RequiredBy")?)?);
        Ok(Unit {
            name: name.to_string(),
            loaded: String::try_from(take("LoadState")?)? == "loaded",
            active: Active::from(String::try_from(take("ActiveState")?)?.as_str()),
            sub: String::try_from(take("SubState")?)?,
            fragment: String::try_from(take("FragmentPath")?)?,
            pulled_by,
            active_since_us: u64::try_from(take("ActiveEnterTimestampMonotonic")?)?,
        })
    }

    async fn read_active(&self, name: &str) -> zbus::Result<Active> {
        let path = self.manager.load_unit(name).await?;
        let interface = InterfaceName::try_from(UNIT)?;
        let properties = self.properties(path).await?;
        let state = properties.get(interface, "ActiveState").await?;
        Ok(Active::from(String::try_from(state)?.as_str()))
    }

    async fn read_boot_times(&self) -> zbus::Result<BootTimes> {
        let path = OwnedObjectPath::try_from(MANAGER_PATH)?;
        let properties = self.properties(path).await?;
        let mut times = BootTimes::new();
        for key in BOOT_TIMES {
            let interface = InterfaceName::try_from(MANAGER)?;
            times.insert(key, u64::try_from(properties.get(interface, key).await?)?);
        }
        Ok(times)
    }

    async fn watch(&self) -> zbus::Result<watch::Receiver<u64>> {
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path_namespace(UNITS_PATH)
            .build()?;
        let stream = MessageStream::for_match_rule(rule, &self.connection, None).await?;
        self.manager.subscribe().await?;
        let (sender, receiver) = watch::channel(0);
        tokio::spawn(count(stream, sender));
        Ok(receiver)
    }
}

async fn count(mut stream: MessageStream, sender: watch::Sender<u64>) {
    let mut next =
        async || std::future::poll_fn(|cx: &mut Context| Pin::new(&mut stream).poll_next(cx)).await;
    while let Some(Ok(_)) = next().await {
        sender.send_modify(|count| *count += 1);
        if sender.is_closed() {
            return;
        }
    }
}

fn ask(what: &str) -> impl FnOnce(zbus::Error) -> Error {
    move |source| Error::Ask {
        what: what.to_string(),
        source,
    }
}

impl Units for Bus {
    async fn unit(&self, name: &str) -> Result<Unit, Error> {
        self.read_unit(name).await.map_err(ask(name))
    }

    async fn active(&self, name: &str) -> Result<Active, Error> {
        self.read_active(name).await.map_err(ask(name))
    }

    async fn failed(&self) -> Result<Vec<Unit>, Error> {
        let rows = self.manager.list_units_filtered(&["failed"]).await;
        let mut units = Vec::new();
        for row in rows.map_err(ask("the failed units"))? {
            units.push(self.unit(&row.0).await?);
        }
        units.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(units)
    }

    async fn boot_times(&self) -> Result<BootTimes, Error> {
        self.read_boot_times()
            .await
            .map_err(ask("the times of this boot"))
    }

    async fn changes(&self) -> Result<watch::Receiver<u64>, Error> {
        self.watch().await.map_err(ask("changes of units"))
    }

    async fn reload(&self) -> Result<(), Error> {
        let done = self.manager.reload().await;
        done.map_err(|source| Error::Order {
            what: "reload its unit files".into(),
            source,
        })
    }

    async fn run(&self, job: Job, unit: &str) -> Result<(), Error> {
        let manager = &self.manager;
        let queued = match job {
            Job::Start => manager.start_unit(unit, MODE).await,
            Job::Stop => manager.stop_unit(unit, MODE).await,
            Job::Restart => manager.restart_unit(unit, MODE).await,
            Job::TryRestart => manager.try_restart_unit(unit, MODE).await,
            Job::Reload => manager.reload_unit(unit, MODE).await,
            Job::ReloadOrRestart => manager.reload_or_restart_unit(unit, MODE).await,
            Job::ReloadOrTryRestart => manager.reload_or_try_restart_unit(unit, MODE).await,
        };
        let what = format!("{} {unit}", job.word());
        queued
            .map(drop)
            .map_err(|source| Error::Order { what, source })
    }

    async fn reboot(&self) -> Result<(), Error> {
        // reboot.target, not the method `Reboot`: that one kills everything at once.
        self.run_irreversibly("reboot.target").await
    }
}

/// What one question to systemd tells of many units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    pub load: String,
    pub active: Active,
    pub sub: String,
    /// Whether a job for it waits or is at work.
    pub queued: bool,
}

/// What systemd knows of the last run of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `success`, `exit-code`, `signal`, ...
    pub result: String,
    /// The exit code or the signal.
    pub code: i32,
    /// When its process began, on the monotonic clock; 0 when it is not known.
    pub began_us: u64,
}

impl Bus {
    /// In systemd's order, also for units that do not exist.
    pub async fn rows(&self, names: &[&str]) -> Result<Vec<Row>, Error> {
        let rows = self.manager.list_units_by_names(names).await;
        let rows = rows.map_err(ask("the states of units"))?.into_iter();
        let rows = rows.map(|row| Row {
            name: row.0,
            load: row.2,
            active: Active::from(row.3.as_str()),
            sub: row.4,
            queued: row.7 != 0,
        });
        Ok(rows.collect())
    }

    /// Whether systemd has the unit in memory, and so perhaps an older text of it.
    pub async fn remembers(&self, name: &str) -> Result<bool, Error> {
        match self.manager.get_unit(name).await {
            Ok(_) => Ok(true),
            Err(zbus::Error::MethodError(error, ..)) if error.as_str() == NO_SUCH_UNIT => Ok(false),
            Err(error) => Err(ask(name)(error)),
        }
    }

    /// Keeps systemd from forgetting how the unit ended, as long as this connection lasts.
    pub async fn hold(&self, name: &str) -> Result<(), Error> {
        self.manager.ref_unit(name).await.map_err(ask(name))
    }

    /// The unit may be forgotten again.
    pub async fn release(&self, name: &str) -> Result<(), Error> {
        self.manager.unref_unit(name).await.map_err(ask(name))
    }

    /// How a service ended.
    pub async fn outcome(&self, name: &str) -> Result<Outcome, Error> {
        self.read_outcome(name).await.map_err(ask(name))
    }

    async fn read_outcome(&self, name: &str) -> zbus::Result<Outcome> {
        let path = self.manager.load_unit(name).await?;
        let interface = InterfaceName::try_from(SERVICE_UNIT)?;
        let mut values = self.properties(path).await?.get_all(interface).await?;
        let mut take = |key: &str| values.remove(key).ok_or(zbus::Error::InvalidReply);
        Ok(Outcome {
            result: String::try_from(take("Result")?)?,
            code: i32::try_from(take("ExecMainStatus")?)?,
            began_us: u64::try_from(take("ExecMainStartTimestampMonotonic")?)?,
        })
    }

    /// Whether the whole machine goes down.
    pub async fn is_stopping(&self) -> Result<bool, Error> {
        let state = self
            .manager
            .system_state()
            .await
            .map_err(ask("its state"))?;
        Ok(state == "stopping")
    }

    /// Lets systemd forget that the unit failed; one that it does not know did not.
    pub async fn reset_failed(&self, name: &str) -> Result<(), Error> {
        match self.manager.reset_failed_unit(name).await {
            Err(zbus::Error::MethodError(error, ..)) if error.as_str() == NO_SUCH_UNIT => Ok(()),
            other => other.map_err(|source| Error::Order {
                what: format!("forget the failure of {name}"),
                source,
            }),
        }
    }

    async fn run_irreversibly(&self, target: &str) -> Result<(), Error> {
        let queued = self
            .manager
            .start_unit(target, "replace-irreversibly")
            .await;
        let what = format!("start {target}");
        queued
            .map(drop)
            .map_err(|source| Error::Order { what, source })
    }
}
