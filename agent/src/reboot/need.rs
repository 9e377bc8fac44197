//! Whether this machine needs a reboot: what lies in the passive slot, and what is said on D-Bus.

use std::pin::Pin;
use std::task::Context;

use strake_updates::version::Version;
use tokio::sync::mpsc;
use zbus::export::futures_core::Stream;
use zbus::fdo::DBusProxy;
use zbus::{Connection, MatchRule, Message, MessageStream, message};

use crate::root::Root;
use crate::update::bus::{INTERFACE, NAME, PATH, Tuple};
use crate::update::entries::Entries;
use crate::update::live::Operation;
use crate::update::look;
use crate::update::node::Node;
use crate::update::running;

/// Calls from programs that are not the updater; one that is not taken is like one that is.
const QUEUE: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The updater's state changed: look.
    Updater,
    /// Root said that a reboot is needed, as `locksmithctl send-need-reboot` does.
    Asked,
}

/// The release that a reboot brings. What cannot be read brings none: the updater tells of that.
pub fn staged(root: &Root) -> Option<Version> {
    let (node, entries) = (Node::load(root).ok()?, Entries::read(root).ok()?);
    let entry = look::staged(&node, &entries, running(root).ok()?)?;
    Some(entry.version)
}

/// What is said as `com.coreos.update1`. Any program on the machine can send that signal; only the
/// updater's own and root's count.
pub async fn listen(connection: &Connection) -> zbus::Result<mpsc::Receiver<Heard>> {
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .interface(INTERFACE)
        .member("StatusUpdate")
        .path(PATH)
        .build()?;
    let stream = MessageStream::for_match_rule(rule, connection, None).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(hear(stream, connection.clone(), sender));
    Ok(receiver)
}

async fn hear(mut stream: MessageStream, connection: Connection, told: mpsc::Sender<Heard>) {
    let mut next =
        async || std::future::poll_fn(|cx: &mut Context| Pin::new(&mut stream).poll_next(cx)).await;
    while let Some(Ok(signal)) = next().await {
        if told.is_closed() {
            return;
        }
        if let Some(heard) = understand(&signal, &connection).await {
            let _ = told.try_send(heard);
        }
    }
}

async fn understand(signal: &Message, connection: &Connection) -> Option<Heard> {
    let (_, _, operation, ..) = signal.body().deserialize::<Tuple>().ok()?;
    let needs_reboot = operation == Operation::UpdatedNeedReboot.word();
    let header = signal.header();
    let Some(sender) = header.sender() else {
        // Only a bus without others has no senders.
        return needs_reboot.then_some(Heard::Asked);
    };
    let bus = DBusProxy::new(connection).await.ok()?;
    let owner = bus.get_name_owner(NAME.try_into().ok()?).await.ok();
    if owner.is_some_and(|owner| owner.as_str() == sender.as_str()) {
        return Some(Heard::Updater);
    }
    let user = bus.get_connection_unix_user(sender.as_str().try_into().ok()?);
    (needs_reboot && user.await.ok()? == 0).then_some(Heard::Asked)
}
