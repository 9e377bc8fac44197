//! `com.coreos.update1`, as update_engine had it: the same names, types and words.

use tokio::sync::mpsc;
use zbus::object_server::SignalEmitter;
use zbus::{fdo, interface};

use super::live::Live;

pub const NAME: &str = "com.coreos.update1";
pub const PATH: &str = "/com/coreos/update1";
pub const INTERFACE: &str = "com.coreos.update1.Manager";

/// Last check (seconds since 1970, 0 for never), progress 0 to 1, operation, version, bytes.
pub type Tuple = (i64, f64, String, String, i64);

/// What a caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Attempt,
    Reset,
}

#[derive(Debug)]
pub struct Manager {
    pub live: Live,
    pub orders: mpsc::Sender<Order>,
}

#[interface(name = "com.coreos.update1.Manager")]
impl Manager {
    /// Looks and installs what is found, without waiting for the next time.
    async fn attempt_update(&self) -> fdo::Result<()> {
        self.order(Order::Attempt)
    }

    /// Takes back an update that waits for its reboot.
    async fn reset_status(&self) -> fdo::Result<()> {
        self.order(Order::Reset)
    }

    fn get_status(&self) -> Tuple {
        tuple(&self.live)
    }

    #[zbus(signal)]
    pub async fn status_update(
        emitter: &SignalEmitter<'_>,
        last_checked_time: i64,
        progress: f64,
        current_operation: &str,
        new_version: &str,
        new_size: i64,
    ) -> zbus::Result<()>;
}

impl Manager {
    fn order(&self, order: Order) -> fdo::Result<()> {
        // A full queue already holds what this call asks for.
        match self.orders.try_send(order) {
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(fdo::Error::Failed("the updater is ending".to_owned()))
            }
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
        }
    }
}

pub fn tuple(live: &Live) -> Tuple {
    let seconds = live.last_check.map_or(0, |time| time.unix());
    let version = live
        .version
        .map_or("0.0.0".to_owned(), |version| version.to_string());
    (
        i64::try_from(seconds).unwrap_or(i64::MAX),
        live.progress,
        live.operation.word().to_owned(),
        version,
        i64::try_from(live.size).unwrap_or(i64::MAX),
    )
}
