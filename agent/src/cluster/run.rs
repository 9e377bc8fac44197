//! `strake cluster run`: gets this machine its certificate and keeps it fresh; on a member also
//! brings up etcd and lets machines in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::anchor::{Anchor, keys};
use super::authority::{Authority, Request, Role};
use super::clock::{Clock, seconds};
use super::figures::Figures;
use super::identity::{self, Identity};
use super::join::{self, Caller, Denied};
use super::launch::Launch;
use super::member::{Member, Step};
use super::place::Place;
use super::revoked;
use super::serve::{self, Desk};
use super::settings::Settings;
use super::store::Store;
use super::sync::{Sync, warning};
use super::trust::{self, Trust};
use super::wire::Granted;
use super::{JOIN_PORT, upkeep};
use crate::metrics::{self, Registry};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// While something is under way.
const SOON: Duration = Duration::from_secs(1);
const STEADY: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Ends when the settings or the machine's role changed: the next run begins with the new ones.
pub async fn run(place: &Place, launch: &impl Launch) -> Result<()> {
    let registry = Registry::default();
    let figures = Figures::new(&registry);
    tokio::select! {
        never = metrics::offer(&place.root, "cluster", &registry) => never,
        ended = counted(place, launch, &figures) => ended,
    }
}

async fn counted(place: &Place, launch: &impl Launch, figures: &Figures) -> Result<()> {
    let settings = Settings::load(&place.root)?;
    let own = settings.own_seed(&place.addresses()?);
    let clock = Clock::load(&place.root);
    let mut machine = Machine {
        place,
        settings: &settings,
        own,
        clock,
        authority: None,
        figures,
    };
    if own.is_some() {
        machine.authority = identity::authority(&place.root, &settings)?;
    }
    let first = machine.first().await?;
    first.install(place, &settings)?;
    identity::keep_trouble(&place.root, "")?;
    figures.certified(&first.leaf);
    eprintln!(
        "strake cluster: this machine is a {}",
        first.leaf.role.common_name()
    );
    let (sender, receiver) = watch::channel(first);
    let Some(own) = own else {
        return machine.stay(&sender).await;
    };
    let keys = identity::keys(&place.root, &settings);
    identity::keep_keys(&place.root, &keys, &settings.trust.authorities)?;
    let signing = || identity::authority(&place.root, &settings);
    let authority = signing()?.context("the authority's key is not known")?;
    let desk = Desk {
        place: place.clone(),
        settings: settings.clone(),
        clock,
        authority: signing()?.context("the authority's key is not known")?,
        own,
        identity: receiver.clone(),
        noted: Mutex::default(),
    };
    let at = SocketAddr::new(own, JOIN_PORT);
    let listener = TcpListener::bind(at)
        .await
        .with_context(|| format!("listening at {at}"))?;
    let member = Member {
        place,
        settings: &settings,
        own,
        launch,
        identity: receiver.clone(),
        clock,
        authority: &authority,
    };
    let sync = Sync {
        place,
        settings: &settings,
        own,
        clock,
        authority: &authority,
        identity: receiver,
    };
    tokio::select! {
        ended = serve::serve(listener, Arc::new(desk)) => ended,
        ended = machine.stay(&sender) => ended,
        () = keep_up(&member, figures) => Ok(()),
        () = sync.run() => Ok(()),
    }
}

/// etcd is brought up whenever it is not.
async fn keep_up(member: &Member<'_, impl Launch>, figures: &Figures) {
    let mut last = String::new();
    let mut looked = Instant::now();
    let mut kept = false;
    loop {
        let step = member.step().await;
        if matches!(step, Ok(Step::Formed)) && !kept {
            // Tried again with the next step.
            kept = keep_secret(member).await.is_ok();
        }
        let formed = matches!(step, Ok(Step::Formed | Step::Turn(_)));
        figures.formed(usize::from(formed));
        let (wait, told) = match step {
            Ok(Step::Formed) => (STEADY, "etcd is a member of the cluster".to_string()),
            Ok(Step::Turn(reason)) => (
                STEADY,
                format!("etcd is to begin anew with other certificates: {reason}"),
            ),
            Ok(Step::Running) => (SOON, "etcd runs; the cluster has no leader yet".to_string()),
            Ok(Step::Started) => (SOON, "etcd is started".to_string()),
            Ok(Step::Waiting(reason)) => (SOON, format!("waiting: {reason}")),
            Err(error) => (STEADY, format!("bringing up etcd: {error:#}")),
        };
        if told != last {
            eprintln!("strake cluster: {told}");
            last = told;
        }
        if looked.elapsed() > HOUR {
            looked = Instant::now();
            if let Some(warning) = warning(member.settings, member.clock) {
                eprintln!("strake cluster: WARNING: {warning}");
            }
            let identity = member.identity.borrow().clone();
            if let Err(error) = forget(member, &identity).await {
                eprintln!("strake cluster: forgetting certificates: {error:#}");
            }
            match upkeep::look_after(member.settings, member.own, &identity).await {
                Ok(upkeep::Done::Defragmented(before, after)) => {
                    eprintln!("strake cluster: defragmented, {before} to {after} bytes");
                }
                Ok(_) => {}
                Err(error) => eprintln!("strake cluster: looking after etcd: {error:#}"),
            }
        }
        sleep(wait).await;
    }
}

async fn forget(member: &Member<'_, impl Launch>, identity: &Identity) -> Result<()> {
    let mut store = Store::of(&[member.own], &member.settings.ca, identity).await?;
    store.forget_ended(seconds(member.clock.now())).await
}

async fn keep_secret(member: &Member<'_, impl Launch>) -> Result<()> {
    let identity = member.identity.borrow().clone();
    let secret = &member.settings.join_secret;
    let mut store = Store::of(&[member.own], &member.settings.ca, &identity).await?;
    store.keep_secret(&secret.id(), &secret.proof_key()).await
}

struct Machine<'a> {
    place: &'a Place,
    settings: &'a Settings,
    own: Option<IpAddr>,
    clock: Clock,
    authority: Option<Authority>,
    figures: &'a Figures,
}

impl Machine<'_> {
    fn role(&self) -> Role {
        match self.own {
            Some(_) => Role::Member,
            None => Role::Machine,
        }
    }

    fn has_moved(&self) -> Result<bool> {
        Ok(self.settings.own_seed(&self.place.addresses()?) != self.own)
    }

    fn is_good(&self, identity: &Identity) -> bool {
        let named = self
            .own
            .is_none_or(|own| identity.leaf.addresses.contains(&own));
        let known = self.own.is_none() || self.authority.is_some();
        let role = identity.leaf.role == self.role();
        // A member signs for itself: nothing is in the way.
        let signer = self.own.is_none() || self.is_of_signer(identity);
        role && named && known && signer && identity.leaf.not_after > self.clock.now()
    }

    fn is_of_signer(&self, identity: &Identity) -> bool {
        let signer = self.settings.trust.signer_id();
        signer.is_ok_and(|signer| signer == identity.leaf.authority)
    }

    /// Tries for ever: a machine whose members are away becomes one of the cluster when they
    /// are back. An address that comes up late can make a member of it, which asks nobody.
    async fn first(&mut self) -> Result<Identity> {
        let loaded = Identity::load(&self.place.root, self.settings);
        if let Some(identity) = loaded.filter(|identity| self.is_good(identity)) {
            return Ok(identity);
        }
        let mut last = String::new();
        let mut wait = FIRST_RETRY;
        loop {
            match self.by_secret().await {
                Ok(identity) => return Ok(identity),
                Err(error) => {
                    let told = format!("{error:#}");
                    if told != last {
                        eprintln!("strake cluster: getting a certificate: {told}");
                        let why = format!("this machine has no certificate yet: {told}");
                        identity::keep_trouble(&self.place.root, &why)?;
                        last = told;
                    }
                }
            }
            let spread = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
            sleep(wait.mul_f64(0.5 + spread / 2.0)).await;
            if self.has_moved()? {
                bail!("this machine's addresses have changed");
            }
            if Settings::load(&self.place.root).ok().as_ref() != Some(self.settings) {
                bail!("the settings have changed");
            }
            wait = (wait * 2).min(LAST_RETRY);
        }
    }

    fn request(&self) -> Result<Request> {
        let key = Identity::key_on_disk(&self.place.root);
        Ok(Request::new(key.as_deref())?)
    }

    /// A member that has the authority's key needs nobody.
    async fn by_secret(&mut self) -> Result<Identity> {
        let request = self.request()?;
        if let Some(identity) = self.own_signed(&request)? {
            return Ok(identity);
        }
        let caller = Caller::new(self.settings, None, self.own, self.clock)?;
        let granted = join::by_secret(&caller, self.settings, self.own, &request).await?;
        if let (Some(handed), Some(_)) = (&granted.ca_key, self.own) {
            let trust = granted.trust.as_ref().unwrap_or(&self.settings.trust);
            identity::keep_keys(&self.place.root, &keys(handed), &trust.authorities)?;
            self.learn(granted.trust.as_ref())?;
            if trust.version > self.settings.trust.version {
                bail!("other authorities count now: beginning anew with them");
            }
            self.authority = identity::authority(&self.place.root, self.settings)?;
        }
        self.accept(granted, request)
    }

    fn own_signed(&self, request: &Request) -> Result<Option<Identity>> {
        let (Some(authority), Some(own)) = (&self.authority, self.own) else {
            return Ok(None);
        };
        let addresses = serve::addresses(Role::Member, own);
        let who = (Role::Member, addresses.as_slice());
        let now = self.clock.now();
        let certificate = authority.sign(&request.csr, who, now, self.place.lifetime)?;
        Identity::new(certificate, request.key.clone()).map(Some)
    }

    /// The settings are read again by the next run.
    fn learn(&self, told: Option<&Trust>) -> Result<()> {
        let newer = told.filter(|told| told.version > self.settings.trust.version);
        let kept = newer.map(|told| trust::keep(&self.place.root, told));
        kept.transpose()
            .context("keeping which authorities count")?;
        Ok(())
    }

    /// What the members say, on a machine that is none.
    async fn ask(&self, identity: &Identity) -> Result<()> {
        let caller = Caller::new(self.settings, Some(identity), None, self.clock)?;
        let told = join::by_asking(&caller, self.settings).await?;
        self.learn(Some(&told.trust))?;
        revoked::keep(&self.place.root, &told.revoked)
    }

    fn accept(&self, granted: Granted, request: Request) -> Result<Identity> {
        self.learn(granted.trust.as_ref())?;
        let identity = Identity::new(granted.certificate, request.key)?;
        if !self.is_good(&identity) {
            bail!(
                "the certificate given is not for this machine as a {}",
                self.role().common_name()
            );
        }
        Ok(identity)
    }

    async fn renewed(&self, current: &Identity) -> Result<Identity> {
        let request = self.request()?;
        if let Some(identity) = self.own_signed(&request)? {
            return Ok(identity);
        }
        let caller = Caller::new(self.settings, Some(current), self.own, self.clock)?;
        let granted = join::by_certificate(&caller, self.settings, self.own, &request).await?;
        self.accept(granted, request)
    }

    /// Renews in time, until the settings or the role change.
    async fn stay(&mut self, identity: &watch::Sender<Identity>) -> Result<()> {
        let mut kept = Instant::now();
        let mut asked: Option<Instant> = None;
        let mut last = String::new();
        let mut is_denied = false;
        loop {
            let pause = MINUTE.min(self.place.lifetime / 20);
            let spread = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
            sleep(pause.min(self.place.ask_every).mul_f64(0.5 + spread / 2.0)).await;
            let due = asked.is_none_or(|asked| asked.elapsed() >= self.place.ask_every);
            if self.own.is_none() && due {
                asked = Some(Instant::now());
                let current = identity.borrow().clone();
                let told = self.ask(&current).await.err();
                is_denied = told.as_ref().is_some_and(|error| error.is::<Denied>());
                let told = told.map_or_else(String::new, |error| format!("{error:#}"));
                if told != last && !told.is_empty() {
                    eprintln!("strake cluster: asking what counts: {told}");
                }
                last = told;
            }
            if kept.elapsed() > HOUR {
                self.clock
                    .keep(&self.place.root)
                    .context("keeping the time")?;
                kept = Instant::now();
            }
            if Settings::load(&self.place.root).ok().as_ref() != Some(self.settings) {
                eprintln!("strake cluster: the settings have changed");
                return Ok(());
            }
            if self.has_moved()? {
                eprintln!("strake cluster: this machine's addresses have changed");
                return Ok(());
            }
            let current = identity.borrow().clone();
            let now = self.clock.now();
            let due = identity::is_due(&current.leaf, now, self.place.lifetime);
            // No other one would be good for longer.
            let end = Anchor::parse(self.settings.trust.signer())?.not_after;
            let due = due && current.leaf.not_after < end;
            if !due && self.is_of_signer(&current) && !is_denied {
                continue;
            }
            // An authority that was replaced while this machine was away lets nobody renew.
            let away = !last.is_empty() && self.settings.trust.step != trust::Step::Settled;
            // A revoked one is of no use; whether the machine may have another is asked as often.
            let lost = away || std::mem::take(&mut is_denied);
            let renewed = match current.leaf.not_after > now && !lost {
                true => self.renewed(&current).await,
                false => self.by_secret().await,
            };
            match renewed {
                Ok(fresh) => {
                    self.figures.renewed.inc();
                    self.figures.certified(&fresh.leaf);
                    fresh.install(self.place, self.settings)?;
                    eprintln!("strake cluster: the certificate was renewed");
                    identity.send_replace(fresh);
                }
                Err(error) => {
                    self.figures.not_renewed.inc();
                    eprintln!("strake cluster: renewing the certificate: {error:#}");
                }
            }
        }
    }
}
