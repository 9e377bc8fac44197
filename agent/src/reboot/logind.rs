//! systemd-logind: who is logged in, who keeps the machine from shutting down, and the reboot
//! itself, which waits for inhibitors that only delay.

use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::wire::OwnedObjectPath;
use zbus::{Connection, proxy};

const SERVICE: &str = "org.freedesktop.login1";
const SESSION: &str = "org.freedesktop.login1.Session";
/// logind's own look at inhibitors, also for root (`SD_LOGIND_ROOT_CHECK_INHIBITORS`).
const ROOT_CHECKS: u64 = 1;
/// None of them counts (`SD_LOGIND_SKIP_INHIBITORS`).
const SKIP: u64 = 1 << 4;

#[proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Manager {
    /// Id, user id, user, seat, path.
    fn list_sessions(&self) -> zbus::Result<Vec<(String, u32, String, String, OwnedObjectPath)>>;
    /// What, who, why, mode, user id, process.
    fn list_inhibitors(&self) -> zbus::Result<Vec<(String, String, String, String, u32, u32)>>;
    fn reboot_with_flags(&self, flags: u64) -> zbus::Result<()>;
}

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub user: String,
    /// Without `/dev/`; empty when logind knows none, as for SSH.
    pub terminal: String,
}

#[derive(Debug, thiserror::Error)]
#[error("asking logind {doing}")]
pub struct Error {
    doing: &'static str,
    source: zbus::Error,
}

/// Whether logind is to look at inhibitors once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inhibitors {
    Count,
    Skipped,
}

#[derive(Debug, Clone)]
pub struct Logind {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

fn asked(doing: &'static str) -> impl FnOnce(zbus::Error) -> Error {
    move |source| Error { doing, source }
}

impl Logind {
    pub async fn new(connection: Connection) -> Result<Logind, Error> {
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(asked("for its manager"))?;
        Ok(Logind {
            connection,
            manager,
        })
    }

    /// Sessions of people; those of services and of user managers are none.
    pub async fn sessions(&self) -> Result<Vec<Session>, Error> {
        let listed = self.manager.list_sessions().await;
        let mut sessions = Vec::new();
        for (_, _, user, _, path) in listed.map_err(asked("who is logged in"))? {
            // One that ended meanwhile is none.
            if let Ok(Some(terminal)) = self.terminal(path).await {
                sessions.push(Session { user, terminal });
            }
        }
        Ok(sessions)
    }

    /// Nothing when it is no person's session.
    async fn terminal(&self, path: OwnedObjectPath) -> zbus::Result<Option<String>> {
        let properties = PropertiesProxy::builder(&self.connection)
            .destination(SERVICE)
            .path(path)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        let interface = InterfaceName::try_from(SESSION)?;
        let mut values = properties.get_all(interface).await?;
        let mut text = |key: &str| match values.remove(key) {
            Some(value) => Ok(String::try_from(value)?),
            None => Err(zbus::Error::InvalidReply),
        };
        let is_person = text("Class")?.starts_with("user") && text("State")? != "closing";
        Ok(is_person.then_some(text("TTY")?))
    }

    /// Who keeps the machine from shutting down, and why. Those that only delay are waited for by
    /// logind itself.
    pub async fn inhibitors(&self) -> Result<Vec<String>, Error> {
        let listed = self.manager.list_inhibitors().await;
        let listed = listed.map_err(asked("for inhibitors"))?.into_iter();
        let blocks = listed.filter(|(what, _, _, mode, ..)| {
            mode.starts_with("block") && what.split(':').any(|word| word == "shutdown")
        });
        Ok(blocks
            .map(|(_, who, why, ..)| format!("{who} ({why})"))
            .collect())
    }

    pub async fn reboot(&self, inhibitors: Inhibitors) -> Result<(), Error> {
        let flags = match inhibitors {
            Inhibitors::Count => ROOT_CHECKS,
            Inhibitors::Skipped => SKIP,
        };
        let done = self.manager.reboot_with_flags(flags).await;
        done.map_err(asked("to reboot"))
    }
}
