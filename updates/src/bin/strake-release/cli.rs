//! The commands and what they are given.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};
use strake_updates::channel::Channel;
use strake_updates::rollout::{Rollout, Waves};
use strake_updates::time::{Span, Timestamp};
use strake_updates::version::Version;

use crate::keys::{Keyring, Passphrase};
use crate::repository::Repository;
use crate::{Outcome, add, edit, gc, hold, init, publish, rehearse, remote, rotate, serve};

/// The user named something that is not there or not allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

/// Makes and keeps a repository of signed releases.
///
/// Exit codes: 0 done, 1 failed, 2 bad input or usage, 3 nothing to do.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The repository's directory.
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    repo: PathBuf,
    /// Directory of the secret keys.
    #[arg(long, global = true, default_value = "keys", value_name = "DIR")]
    keys: PathBuf,
    /// File with the passphrase of encrypted keys; asked for on the terminal otherwise.
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new repository with new keys, and publish it empty.
    Init(Init),
    /// Draft a release from the image builder's output, with deltas from the newest releases.
    Add {
        /// Directory with release.json.
        dir: PathBuf,
        #[arg(long)]
        channel: Channel,
        #[command(flatten)]
        plan: Plan,
        /// Machines that run less must install this release or another in between first.
        #[arg(long, value_name = "VERSION")]
        min_from: Option<Version>,
        /// Releases to make deltas from.
        #[arg(long, default_value_t = 3, value_name = "N")]
        deltas: usize,
        /// zstd level, 1 to 19.
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=19))]
        level: i32,
    },
    /// Sign the drafts with the keys at hand; publish when every role has enough signatures.
    Sign,
    /// Draft a release of one channel for another.
    Promote {
        version: Version,
        from: Channel,
        to: Channel,
        #[command(flatten)]
        plan: Plan,
    },
    /// Draft other waves for a release, which start over.
    Rollout {
        version: Version,
        #[arg(long)]
        channel: Channel,
        #[command(flatten)]
        plan: Plan,
    },
    /// Draft a stop of a rollout, or with --resume its going on.
    Pause {
        version: Version,
        #[arg(long)]
        channel: Channel,
        #[arg(long)]
        resume: bool,
    },
    /// Stop a rollout at once with the timestamp's key alone, or with --lift end such a stop.
    Hold {
        version: Version,
        #[arg(long)]
        channel: Channel,
        /// Shown to administrators of machines that would have installed it; 1 to 200 bytes.
        #[arg(long, default_value = "held by hand")]
        reason: String,
        #[arg(long)]
        lift: bool,
    },
    /// Draft that nobody may install a release any more.
    Retract {
        version: Version,
        #[arg(long)]
        channel: Channel,
        /// Shown to administrators of machines that would have installed it.
        #[arg(long, default_value = "withdrawn")]
        reason: String,
    },
    /// Draft that nothing below a release may be installed any more.
    Floor {
        version: Version,
        #[arg(long)]
        channel: Channel,
    },
    /// Sign a new timestamp, and a new snapshot when it is due. Run it daily.
    Refresh {
        /// Draft these roles anew instead, valid for longer: root, targets or channels.
        roles: Vec<String>,
    },
    /// Draft a new key in place of a role's keys: root, targets, snapshot, timestamp or a channel.
    Rotate {
        role: String,
        /// Encrypt the new key with a passphrase.
        #[arg(long)]
        encrypt: bool,
    },
    /// Copy a repository whole, from a URL or a directory.
    Mirror {
        from: String,
        dir: PathBuf,
        #[command(flatten)]
        trust: Trust,
    },
    /// Check all of a repository, at a URL or in a directory.
    Verify {
        url: String,
        #[command(flatten)]
        trust: Trust,
    },
    /// Install the newest release of a channel into files and say what a machine would have fetched.
    Rehearse {
        /// URL or directory of the repository.
        from: String,
        #[arg(long)]
        channel: Channel,
        /// The release that runs: output of the image builder. Without it all is fetched.
        #[arg(long, value_name = "DIR")]
        running: Option<PathBuf>,
        /// Where slot, boot entries and what is trusted go: 2.1 GB, sparse at first.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        #[command(flatten)]
        trust: Trust,
    },
    /// Remove files that nothing published or drafted names.
    Gc {
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
        /// Keep what is younger: clients may be about to fetch it.
        #[arg(long, default_value = "1d", value_name = "SPAN")]
        grace: Span,
    },
    /// Serve the published files over HTTP, take what machines report and show it.
    ///
    /// Pages: / and /rollout/CHANNEL/VERSION; figures for Prometheus: /metrics. With the
    /// timestamp's key in --keys, a rollout that too many machines fall back from is held.
    Serve(Serve),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Port 0 takes a free one; the address is printed.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Take no reports and show no pages: files only.
    #[arg(long = "static")]
    files_only: bool,
    /// The database of reports; events.sqlite in the repository's directory otherwise.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// File with a token that machines must know to report.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Events of one machine, in an hour and at once.
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600))]
    events_per_hour: u32,
    /// Hold a rollout when more than this share of the machines falls back; 100 for never.
    #[arg(long, default_value_t = 20, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pause_share: u32,
    /// Machines that the share is of: the last that tried the release.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pause_last: u32,
    /// Machines of one address (IPv6: one /64) that count; 0 for all, behind a proxy or one router.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pause_per_address: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Channels of the repository, in any number.
    #[arg(long = "channel", value_name = "CHANNEL", required = true)]
    pub(crate) channels: Vec<Channel>,
    /// Root keys to make.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) root_keys: u32,
    /// Root keys that must sign.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) root_threshold: u32,
    /// How long root, targets and channels are valid once signed.
    #[arg(long, default_value = "365d", value_name = "SPAN")]
    pub(crate) offline_expiry: Span,
    /// How long snapshot and timestamp are valid once signed.
    #[arg(long, default_value = "7d", value_name = "SPAN")]
    pub(crate) online_expiry: Span,
    /// Encrypt the keys of root, targets and channels with a passphrase.
    #[arg(long)]
    pub(crate) encrypt: bool,
}

/// When a release reaches whom.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Waves such as 1@1h,5@4h,15@1d: percent of machines, and when after the start.
    #[arg(long, default_value = None)]
    waves: Option<Waves>,
    /// When everyone may have it, after the start; at once without waves, 7d with.
    #[arg(long, value_name = "SPAN")]
    deadline: Option<Span>,
    /// When the rollout starts, such as 2031-05-04T03:00:00Z; now otherwise.
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// A root.json that is trusted.
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
}

impl Serve {
    fn read(self, repository: &Repository, keyring: Keyring) -> anyhow::Result<serve::Options> {
        let token = self.token_file.map(|path| -> anyhow::Result<String> {
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("reading {}", path.display()))?;
            let token = text.trim();
            let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(
                (16..=256).contains(&token.len()) && plain,
                BadInput(format!(
                    "{}: the token is not 16 to 256 visible ASCII characters",
                    path.display()
                ))
            );
            Ok(token.to_owned())
        });
        let database = self.events.unwrap_or_else(|| repository.events());
        let reports = serve::Reports {
            database,
            token: token.transpose()?,
            per_hour: self.events_per_hour,
            pause_share: self.pause_share,
            pause_last: self.pause_last,
            pause_per_address: self.pause_per_address,
            keyring,
        };
        Ok(serve::Options {
            listen: self.listen,
            reports: (!self.files_only).then_some(reports),
        })
    }
}

impl Plan {
    fn rollout(self, now: Timestamp) -> Rollout {
        let waits = self.waves.is_some();
        let deadline = if waits { Span::days(7) } else { Span(0) };
        Rollout {
            start: self.start.unwrap_or(now),
            waves: self.waves.unwrap_or_default(),
            deadline: self.deadline.unwrap_or(deadline),
            paused: None,
        }
    }
}

impl Arguments {
    pub(crate) fn run(self, now: Timestamp) -> anyhow::Result<Outcome> {
        let passphrase = Passphrase::new(self.passphrase_file);
        let repository = Repository::new(self.repo);
        let reads_only = matches!(
            self.command,
            Command::Mirror { .. }
                | Command::Verify { .. }
                | Command::Rehearse { .. }
                | Command::Serve(_)
        );
        let needs_none = matches!(
            self.command,
            Command::Init(_)
                | Command::Mirror { .. }
                | Command::Verify { .. }
                | Command::Rehearse { .. }
        );
        ensure!(
            needs_none || repository.exists(),
            BadInput(format!(
                "there is no repository in {} (--repo DIR); make one with `init`",
                repository.base().display()
            ))
        );
        let _lock = if reads_only {
            None
        } else {
            Some(repository.lock()?)
        };
        let draft_keyring = || {
            let wanted = repository.draft_keys()?;
            Keyring::load(&self.keys, &passphrase, |id| wanted.contains(id))
        };
        let online_keyring = || {
            let online = repository.online_keys()?;
            Keyring::load(&self.keys, &passphrase, |id| online.contains(id))
        };
        match self.command {
            Command::Init(init) => init::run(&repository, &self.keys, &passphrase, &init, now),
            Command::Add {
                dir,
                channel,
                plan,
                min_from,
                deltas,
                level,
            } => {
                let source = add::Source {
                    dir,
                    min_from,
                    deltas,
                    level,
                };
                add::run(&repository, &source, &channel, plan.rollout(now), now)
            }
            Command::Sign => publish::sign(&repository, &draft_keyring()?, now),
            Command::Promote {
                version,
                from,
                to,
                plan,
            } => edit::promote(&repository, version, (&from, &to), plan.rollout(now), now),
            Command::Rollout {
                version,
                channel,
                plan,
            } => {
                let rollout = plan.rollout(now);
                edit::offer(&repository, version, &channel, now, |offer| {
                    offer.rollout = rollout
                })
            }
            Command::Pause {
                version,
                channel,
                resume,
            } => edit::offer(&repository, version, &channel, now, |offer| match resume {
                true => offer.rollout.resume(now),
                false => offer.rollout.paused = offer.rollout.paused.or(Some(now)),
            }),
            Command::Hold {
                version,
                channel,
                reason,
                lift,
            } => {
                let (keyring, what) = (online_keyring()?, (&channel, version));
                let reason = (!lift).then_some(reason.as_str());
                hold::run(&repository, &keyring, what, reason, now)
            }
            Command::Retract {
                version,
                channel,
                reason,
            } => edit::offer(&repository, version, &channel, now, |offer| {
                offer.retracted = Some(reason);
            }),
            Command::Floor { version, channel } => {
                edit::offer(&repository, version, &channel, now, |offer| {
                    offer.floor = Some(version);
                })
            }
            Command::Refresh { roles } if roles.is_empty() => {
                publish::refresh(&repository, &online_keyring()?, now)
            }
            Command::Refresh { roles } => rotate::renew(&repository, &roles, now),
            Command::Rotate { role, encrypt } => {
                let passphrase = encrypt.then_some(&passphrase);
                rotate::run(&repository, &self.keys, passphrase, &role, now)
            }
            Command::Mirror { from, dir, trust } => remote::mirror(&from, &dir, &trust, now),
            Command::Verify { url, trust } => remote::verify(&url, &trust, now),
            Command::Rehearse {
                from,
                channel,
                running,
                into,
                trust,
            } => {
                let root = trust.root;
                let script = rehearse::Script {
                    from,
                    channel,
                    running,
                    into,
                    root,
                };
                rehearse::run(&script, now)
            }
            Command::Gc { dry_run, grace } => gc::run(&repository, grace, dry_run),
            Command::Serve(options) => {
                let keyring = match self.keys.is_dir() {
                    true => online_keyring()?,
                    false => Keyring::default(),
                };
                let options = options.read(&repository, keyring)?;
                serve::run(repository, options)
            }
        }
    }
}
