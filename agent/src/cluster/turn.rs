//! etcd begins anew with other authorities, or with another list of revoked certificates: it reads
//! the former only when it starts, and looks at the latter only when a connection is made. One
//! member at a time, while all others are well.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::anchor::hex;
use super::environment::Initial;
use super::founding::Peer;
use super::launch::Launch;
use super::member::{Member, Step, is_healthy};
use super::revoked;
use super::settings::Settings;
use super::store::{Store, Turn};
use crate::root::Root;

/// What etcd was started with on this boot.
pub(super) const STARTED: &str = "/run/strake/etcd/started-with";
/// Seconds a member may take before another may begin.
const TURN: i64 = 180;
const STOPPING: Duration = Duration::from_secs(60);
const STARTING: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_millis(200);

/// A digest of what etcd has to be started with now.
pub(super) fn wanted(root: &Root, settings: &Settings) -> String {
    let revoked = revoked::known(root).into_iter();
    let text: String = revoked.map(|serial| format!("{serial}\n")).collect();
    // Which of them signs is all the same to etcd.
    let mut authorities = settings.trust.authorities.clone();
    authorities.sort_unstable();
    hex(&Sha256::digest(format!("{}{text}", authorities.concat())))
}

pub(super) fn is_up_to_date(root: &Root, settings: &Settings) -> bool {
    let started = root.read_text(STARTED).unwrap_or_default();
    started.trim() == wanted(root, settings)
}

impl<L: Launch> Member<'_, L> {
    pub(super) async fn begin_anew(&self) -> Result<Step> {
        let wait = |why: String| Ok(Step::Turn(why));
        let identity = self.identity.borrow().clone();
        let mut store = Store::of(&[self.own], &self.settings.ca, &identity).await?;
        let members = store.members().await?;
        for (seed, peer) in self.others().await? {
            let is_member = members.iter().any(|member| member.name == seed.to_string());
            let serves = matches!(peer, Peer::Says { serving: true, .. });
            if is_member && !serves {
                return wait(format!("{seed} is not well"));
            }
        }
        match store.begin_turn(self.own, TURN).await? {
            Turn::Own => {}
            Turn::Taken => return wait("another member has its turn".to_string()),
            Turn::Full => return wait("the store is full".to_string()),
        }
        eprintln!("strake cluster: etcd is stopped and started: other certificates count");
        self.launch.stop().await?;
        let stopping = Instant::now();
        while self.launch.is_up().await? {
            ensure!(stopping.elapsed() < STOPPING, "etcd does not stop");
            sleep(AGAIN).await;
        }
        self.start(&Initial::New(self.founders())).await?;
        let starting = Instant::now();
        while !is_healthy(self.place.metrics).await {
            ensure!(starting.elapsed() < STARTING, "etcd does not come back");
            sleep(AGAIN).await;
        }
        let mut store = Store::of(&[self.own], &self.settings.ca, &identity).await?;
        store.end_turn().await.context("letting the next one")?;
        Ok(Step::Formed)
    }
}
