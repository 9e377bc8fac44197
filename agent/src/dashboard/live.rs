//! What is shown, kept right while the store changes, and its changes on their way to browsers.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::page::{Frame, Part, Place, parts};
use super::picture::Watched;
use super::view::View;
use crate::peer::{Part as Sent, Stream};
use crate::store::Store;
use crate::update::clock;

/// Between two views while everything changes at once.
const CALM: Duration = Duration::from_millis(250);
/// Before a silent store is asked again.
const PAUSE: Duration = Duration::from_secs(2);
/// A browser that is gone is noticed by this.
const BEAT: Duration = Duration::from_secs(20);
/// A browser that takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(30);

/// What is shown now.
#[derive(Debug, Default)]
pub struct Shown {
    pub view: View,
    pub frame: Frame,
}

impl Shown {
    /// Until the store has answered for the first time.
    pub(super) fn nothing_yet(name: &str) -> Shown {
        let at = clock().to_string();
        Shown {
            view: View::default(),
            frame: Frame {
                name: name.to_string(),
                silent: Some((at.clone(), "it has not answered yet".to_string())),
                at,
            },
        }
    }
}

pub type Seen = watch::Receiver<Rc<Shown>>;

/// Keeps what is shown right. Never ends.
pub async fn follow(
    store: impl Store,
    network: Option<String>,
    name: String,
    shown: watch::Sender<Rc<Shown>>,
) -> ! {
    let frame = |silent| Frame {
        name: name.clone(),
        at: clock().to_string(),
        silent,
    };
    loop {
        let why = match Watched::open(&store, network.as_deref()).await {
            Ok(mut watched) => loop {
                shown.send_replace(Rc::new(Shown {
                    view: View::of(&watched.picture),
                    frame: frame(None),
                }));
                if watched.advance().await.is_err() {
                    // The store says what is wrong when it is asked anew.
                    break None;
                }
                tokio::time::sleep(CALM).await;
            },
            Err(error) => Some(crate::update::engine::text(&error)),
        };
        let Some(why) = why else { continue };
        shown.send_modify(|last| {
            let before = last.frame.silent.as_ref().map(|(since, _)| since.clone());
            let since = before.unwrap_or_else(|| clock().to_string());
            *last = Rc::new(Shown {
                view: last.view.clone(),
                frame: frame(Some((since, why))),
            });
        });
        tokio::time::sleep(PAUSE).await;
    }
}

/// Server-sent events: each is a part of the page that is not what the browser has. `kept` is
/// dropped when nobody listens any more.
pub(super) fn events(mut seen: Seen, place: Place, kept: impl Send + 'static) -> Stream {
    let (sender, stream) = Stream::channel();
    spawn_local(async move {
        let _kept = kept;
        let mut sent = BTreeMap::new();
        loop {
            let now = seen.borrow_and_update().clone();
            for (id, html) in parts(&now.view, &now.frame, place) {
                if sent.get(id) == Some(&html) {
                    continue;
                }
                sent.insert(id, html.clone());
                if send(&sender, event((id, html))).await.is_err() {
                    return;
                }
            }
            loop {
                tokio::select! {
                    changed = seen.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = sender.closed() => return,
                    () = tokio::time::sleep(BEAT) => {
                        if send(&sender, ":\n\n".to_string()).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    });
    stream
}

fn event((id, html): Part) -> String {
    format!("data: {}\n\n", json!({"id": id, "html": html}))
}

async fn send(to: &mpsc::Sender<Sent>, text: String) -> Result<(), ()> {
    let sending = to.send(Ok(Bytes::from(text)));
    timeout(STUCK, sending).await.map_err(drop)?.map_err(drop)
}
