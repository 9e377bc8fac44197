//! The way of `strake reboot now|when|cancel` to the service: one line of JSON there and one back,
//! on a unix socket that root and the group core may use.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub const SOCKET: &str = "/run/strake/reboot.sock";
const LIMIT: u64 = 16 << 10;
const TIME: Duration = Duration::from_secs(10);
/// Longer than the service is ever busy without listening.
const ANSWER: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
const QUEUE: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Order {
    /// Only tell.
    When,
    Now {
        reason: String,
        force: bool,
    },
    Cancel,
    /// As `locksmithctl send-need-reboot` says.
    Need,
}

/// What the service tells after the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What somebody has to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// What it does, in words.
    pub doing: String,
    pub strategy: String,
    /// Why a reboot is wanted, if it is.
    pub wanted: Option<String>,
    pub holds_lock: bool,
    /// When the next window opens; nothing while one is open.
    pub window_opens: Option<String>,
    pub users: Vec<String>,
    pub inhibitors: Vec<String>,
}

#[derive(Debug)]
pub struct Call {
    pub order: Order,
    pub answer: oneshot::Sender<Told>,
}

/// Takes calls from now on. Runs in a `LocalSet`.
pub fn listen(listener: UnixListener) -> mpsc::Receiver<Call> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(talk(stream, sender.clone()))),
                Err(error) => {
                    eprintln!("strake: reboot: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    receiver
}

/// Whoever breaks off, or says what is no order, is told nothing.
async fn talk(stream: UnixStream, calls: mpsc::Sender<Call>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut limited = (&mut stream).take(LIMIT);
    timeout(TIME, limited.read_line(&mut line))
        .await
        .ok()?
        .ok()?;
    let order = serde_json::from_str(&line).ok()?;
    let (answer, told) = oneshot::channel();
    calls.send(Call { order, answer }).await.ok()?;
    let mut text = serde_json::to_string(&told.await.ok()?).ok()?;
    text.push('\n');
    let written = timeout(TIME, stream.write_all(text.as_bytes())).await;
    written.ok()?.ok()
}

/// None when no service listens.
pub async fn ask(socket: &Path, order: &Order) -> io::Result<Option<Told>> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut stream = BufReader::new(stream);
    let mut text = serde_json::to_string(order)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(ANSWER, stream.read_line(&mut line))
        .await
        .map_err(late)??;
    Ok(Some(serde_json::from_str(&line)?))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
