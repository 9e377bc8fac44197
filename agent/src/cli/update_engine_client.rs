//! The applet `update_engine_client`: the original's flags and output over D-Bus.
//!
//! Mended where no script could rely on the defect: `-update` exits 1 when the attempt came to
//! nothing because of an error, and 0 when there was nothing to update to or the update waits for
//! its reboot; a service that cannot be reached is said in words.

use std::ffi::OsString;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use zbus::export::futures_core::Stream as _;
use zbus::{Connection, connection, proxy};

use super::output::print;
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::update::bus::{NAME, PATH, Tuple};

const USAGE: &str = "Usage: update_engine_client [-status | -check_for_update | -update | \
                     -reset_status | -watch_for_updates]\n\n\
  -status             print the state of the updater as KEY=value lines\n\
  -check_for_update   start looking for an update and return\n\
  -update             look, install what is found, wait; exit code 1 when that fails\n\
  -reset_status       take back an update that waits for its reboot\n\
  -watch_for_updates  print each change until interrupted\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Status,
    Check,
    Update,
    Reset,
    Watch,
    Help,
}

#[proxy(
    interface = "com.coreos.update1.Manager",
    default_service = "com.coreos.update1",
    default_path = "/com/coreos/update1"
)]
trait Manager {
    fn attempt_update(&self) -> zbus::Result<()>;
    fn reset_status(&self) -> zbus::Result<()>;
    fn get_status(&self) -> zbus::Result<Tuple>;
    #[zbus(signal)]
    fn status_update(
        &self,
        last_checked_time: i64,
        progress: f64,
        current_operation: String,
        new_version: String,
        new_size: i64,
    ) -> zbus::Result<()>;
}

pub(super) fn run(arguments: &[OsString]) -> Result<Exit> {
    let wanted = match parse(arguments) {
        Ok(wanted) => wanted,
        Err(unknown) => {
            eprintln!("update_engine_client: {unknown} is no option\n{USAGE}");
            return Ok(Exit::BadInput);
        }
    };
    if wanted == Wanted::Help {
        print(USAGE);
        return Ok(Exit::Done);
    }
    on_one_thread(async {
        let connection = connection::Builder::system().build().await;
        talk(&connection.context("reaching D-Bus")?, wanted).await
    })?
}

/// One or two hyphens, `-flag`, `-flag=true`. Without a flag the state is printed.
fn parse(arguments: &[OsString]) -> Result<Wanted, String> {
    let mut wanted = Wanted::Status;
    for argument in arguments {
        let text = argument.to_string_lossy();
        let name = text.trim_start_matches('-');
        let name = name.strip_suffix("=true").unwrap_or(name);
        wanted = match name {
            _ if !text.starts_with('-') => return Err(text.into_owned()),
            "status" => Wanted::Status,
            "check_for_update" => Wanted::Check,
            "update" => Wanted::Update,
            "reset_status" => Wanted::Reset,
            "watch_for_updates" => Wanted::Watch,
            "help" | "h" => Wanted::Help,
            _ => return Err(text.into_owned()),
        };
    }
    Ok(wanted)
}

async fn talk(connection: &Connection, wanted: Wanted) -> Result<Exit> {
    let manager = ManagerProxy::new(connection).await;
    let manager = manager.with_context(|| format!("reaching {NAME} at {PATH}"))?;
    let asked = |what: &'static str| {
        move || format!("asking the updater to {what} (is it off? see strake update status)")
    };
    match wanted {
        Wanted::Status | Wanted::Help => {
            let status = manager
                .get_status()
                .await
                .with_context(asked("say what it does"))?;
            print(&lines(&status));
        }
        Wanted::Check => {
            manager
                .attempt_update()
                .await
                .with_context(asked("look for an update"))?;
            eprintln!("Initiating update check and install.");
        }
        Wanted::Reset => {
            manager
                .reset_status()
                .await
                .with_context(asked("take back the update"))?;
        }
        Wanted::Update => return update(&manager).await,
        Wanted::Watch => {
            let mut changes = manager
                .receive_status_update()
                .await
                .context("subscribing")?;
            eprintln!("Watching for status updates.");
            while let Some(signal) =
                poll_fn(|context| Pin::new(&mut changes).poll_next(context)).await
            {
                let change = signal.args().context("reading a signal")?;
                print(&lines(&(
                    change.last_checked_time,
                    change.progress,
                    change.current_operation.clone(),
                    change.new_version.clone(),
                    change.new_size,
                )));
            }
        }
    }
    Ok(Exit::Done)
}

/// How an attempt ends that was seen at work.
async fn update(manager: &ManagerProxy<'_>) -> Result<Exit> {
    let mut changes = manager
        .receive_status_update()
        .await
        .context("subscribing")?;
    manager
        .attempt_update()
        .await
        .context("asking the updater to look for an update")?;
    eprintln!("Initiating update check and install.\nWaiting for update to complete.");
    let mut printed = String::new();
    loop {
        let next = poll_fn(|context| Pin::new(&mut changes).poll_next(context));
        let signal = tokio::time::timeout(SILENCE, next).await;
        let Some(signal) = signal.context("the updater says nothing any more")? else {
            bail!("the updater has gone");
        };
        let change = signal.args().context("reading a signal")?;
        let operation = &change.current_operation;
        if *operation != printed {
            eprintln!("CURRENT_OP={operation}");
            printed.clone_from(operation);
        }
        match operation.as_str() {
            "UPDATE_STATUS_UPDATED_NEED_REBOOT" => {
                eprintln!("Update succeeded -- reboot needed.");
                return Ok(Exit::Done);
            }
            "UPDATE_STATUS_IDLE" => return Ok(Exit::Done),
            "UPDATE_STATUS_REPORTING_ERROR_EVENT" => {
                eprintln!("Update failed; strake update status says why.");
                return Ok(Exit::Failed);
            }
            _ => {}
        }
    }
}

/// A slot is read for longer than this by no machine without a word in between.
const SILENCE: Duration = Duration::from_secs(30 * 60);

fn lines((time, progress, operation, version, size): &Tuple) -> String {
    format!(
        "LAST_CHECKED_TIME={time}\nPROGRESS={progress:.6}\nCURRENT_OP={operation}\n\
         NEW_VERSION={version}\nNEW_SIZE={size}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_one_or_two_hyphens() {
        let wanted = |flags: &[&str]| parse(&flags.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(wanted(&[]), Ok(Wanted::Status));
        assert_eq!(wanted(&["-update"]), Ok(Wanted::Update));
        assert_eq!(wanted(&["--check_for_update=true"]), Ok(Wanted::Check));
        assert_eq!(wanted(&["--watch_for_updates"]), Ok(Wanted::Watch));
        assert_eq!(wanted(&["update"]), Err("update".into()));
        assert_eq!(wanted(&["-omaha_url=x"]), Err("-omaha_url=x".into()));
    }

    #[test]
    fn the_state_is_printed_as_the_original_did() {
        let status = (
            17,
            0.25,
            "UPDATE_STATUS_DOWNLOADING".into(),
            "1.1.0".into(),
            4096,
        );
        let expected = "LAST_CHECKED_TIME=17\nPROGRESS=0.250000\n\
                        CURRENT_OP=UPDATE_STATUS_DOWNLOADING\nNEW_VERSION=1.1.0\nNEW_SIZE=4096\n";
        assert_eq!(lines(&status), expected);
    }
}
