//! One machine's way to the store, with what a network does to it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::store::memory::Memory;
use crate::store::{
    Entry, Error, Kind, Lease, Listing, Outcome, Renewal, Revision, Store, Transaction, Watch,
};

/// A small generator of our own: the same seed, the same world, on every version of anything.
#[derive(Debug, Clone)]
pub(crate) struct Random(Rc<Cell<u64>>);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(Rc::new(Cell::new(seed)))
    }

    /// SplitMix64.
    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Good,
    /// Requests and answers are late and some are lost.
    Bad,
    Cut,
}

#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    memory: Memory,
    random: Random,
    link: Rc<Cell<Link>>,
    /// Commits that were sent and whose sender has given up: they may still arrive.
    stray: Rc<RefCell<Vec<Transaction>>>,
}

impl Faulty {
    pub(crate) fn new(memory: Memory, random: Random) -> Faulty {
        Faulty {
            memory,
            random,
            link: Rc::new(Cell::new(Link::Good)),
            stray: Rc::default(),
        }
    }

    pub(crate) fn set(&self, link: Link) {
        self.link.set(link);
    }

    pub(crate) fn link(&self) -> Link {
        self.link.get()
    }

    pub(crate) async fn stray_commits_arrive(&self) {
        let stray = std::mem::take(&mut *self.stray.borrow_mut());
        for transaction in stray {
            // Whatever comes of it, nobody waits for the answer.
            let _ = self.memory.commit(&transaction).await;
        }
    }

    /// One way over the network.
    async fn way(&self) -> Result<(), Error> {
        let lost = || {
            Err(Error::new(
                Kind::Unreachable,
                "answer",
                "the network lost it",
            ))
        };
        let (wait, loss) = match self.link.get() {
            Link::Good => (Duration::from_micros(200 + self.random.below(2000)), 0),
            Link::Bad => (Duration::from_millis(self.random.below(700)), 25),
            Link::Cut => (Duration::from_secs(5), 100),
        };
        tokio::time::sleep(wait).await;
        // A link that was cut meanwhile lets nothing through that was on its way.
        if self.random.percent(loss) || self.link.get() == Link::Cut {
            return lost();
        }
        Ok(())
    }
}

impl Store for Faulty {
    async fn read(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.way().await?;
        let answer = self.memory.read(key).await;
        self.way().await?;
        answer
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Listing, Error> {
        self.way().await?;
        let answer = self.memory.list(prefix, after, at).await;
        self.way().await?;
        answer
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, Error> {
        if let Err(error) = self.way().await {
            if self.random.percent(50) {
                self.stray.borrow_mut().push(transaction.clone());
            }
            return Err(error);
        }
        let answer = self.memory.commit(transaction).await;
        self.way().await?;
        answer
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.way().await?;
        let answer = self.memory.grant(ttl).await;
        self.way().await?;
        answer
    }

    async fn keep_alive(&self, lease: Lease) -> Result<Renewal, Error> {
        self.way().await?;
        let answer = self.memory.keep_alive(lease).await;
        self.way().await?;
        answer
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        self.way().await?;
        self.memory.revoke(lease).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        self.way().await?;
        let inner = self.memory.watch(prefix, from).await?;
        let (sender, watch) = Watch::channel();
        let faulty = self.clone();
        tokio::task::spawn_local(async move {
            let mut inner = inner;
            loop {
                let batch = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    batch = inner.next() => batch,
                };
                // What is on its way when the network fails ends the watch.
                let result = match faulty.way().await {
                    Ok(()) => batch,
                    Err(error) => Err(crate::store::WatchEnd::Lost(error.to_string())),
                };
                if sender.send(result).is_err() {
                    return;
                }
            }
        });
        Ok(watch)
    }
}
