//! From a plan to the tree that has to be on disk, given what is there already.
//!
//! Reads the root, writes nothing. What the machine cannot do (an owner that does not exist) is
//! collected, all of it, and stops the apply before anything is changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use strake_cloud_config::plan::{
    Body, FileSpec, Phase, Plan, UPDATE_CONF, UPDATE_CONF_DEFAULT, UserSpec,
};

use super::tree::{Node, Tree};
use super::written::{self, Earlier, Written};
use super::{account_files, homes, units};
use crate::accounts::{self, Accounts, Class, OwnGroup};
use crate::root::Root;

/// When this is, seen from the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before PID 1 starts: what systemd finds is what it starts with.
    BeforeBoot,
    /// `/var` has just been mounted.
    AfterVar,
    /// The root is not the running machine's: everything but what needs the network is due, and
    /// what is to start starts at its next boot.
    Offline,
    /// systemd runs and the network is up: everything is due, units are started by jobs.
    Running,
}

impl Moment {
    pub fn covers(self, phase: Phase) -> bool {
        match self {
            Moment::BeforeBoot => phase == Phase::BeforeBoot,
            Moment::AfterVar => phase == Phase::AfterVar,
            Moment::Offline => phase != Phase::Network,
            Moment::Running => true,
        }
    }
}

/// What the plan comes to on this machine.
#[derive(Debug, Default)]
pub struct Desired {
    /// What the plan itself says.
    pub own: Tree,
    /// The tables of accounts.
    pub accounts: Tree,
    /// Paths written at an earlier moment of the boot that a tree of this moment does not have.
    pub kept: BTreeSet<PathBuf>,
    /// Users that are the config's.
    pub users: BTreeSet<String>,
    /// Why it cannot be done; nothing may be written unless this is empty.
    pub refusals: Vec<String>,
    /// What is done, but hardly as meant.
    pub warnings: Vec<String>,
}

/// Where authorized keys are kept: homes are not mounted when they are written.
const KEYS_DIR: &str = "/etc/ssh/authorized_keys.d";

pub fn desired(root: &Root, plan: &Plan, moment: Moment, earlier: &Earlier) -> Result<Desired> {
    let mut accounts = account_files::read(root)?;
    let mut desired = Desired::default();
    if moment != Moment::AfterVar {
        earlier
            .leavers
            .iter()
            .for_each(|user| accounts.remove(user));
        desired.users(&mut accounts, &plan.users, &earlier.written);
        account_files::add(root, &accounts, &mut desired.accounts)?;
        desired.hostname(plan, moment);
    }
    let disk = Disk {
        root,
        earlier: &earlier.written,
    };
    for file in plan.files.iter().filter(|file| moment.covers(file.phase)) {
        desired.file(&disk, &accounts, file, moment)?;
    }
    units::add(root, plan, moment, &mut desired);
    super::script::add(plan, moment, &mut desired.own);
    Ok(desired)
}

impl Desired {
    fn users(&mut self, accounts: &mut Accounts, users: &[UserSpec], earlier: &Written) {
        let mut homes = homes::Homes::default();
        for spec in users {
            let user = to_user(spec);
            for group in accounts.missing_groups(&user) {
                let warning = format!("user {}: left out of {group}: no such group", user.name);
                self.warnings.push(warning);
            }
            let of_image = accounts.passwd.contains(&user.name) && !earlier.made(&user.name);
            match accounts.ensure(&user) {
                // The image makes the homes of its own users.
                Ok(owner) if !of_image => {
                    self.users.insert(spec.name.clone());
                    if spec.create_home {
                        homes.add(&owner);
                    }
                }
                Ok(_) => {}
                Err(refused) => self.refusals.push(refused.to_string()),
            }
            if !spec.ssh_authorized_keys.is_empty() {
                let keys = spec
                    .ssh_authorized_keys
                    .iter()
                    .map(|key| format!("{}\n", key.trim()));
                let path = Path::new(KEYS_DIR).join(&spec.name);
                self.own.insert(path, Node::text(keys.collect::<String>()));
            }
        }
        if let Some(text) = homes.tmpfiles() {
            self.own
                .insert(PathBuf::from(homes::TMPFILES), Node::text(text));
        }
    }

    fn hostname(&mut self, plan: &Plan, moment: Moment) {
        if let Some(hostname) = plan
            .hostname
            .as_ref()
            .filter(|host| moment.covers(host.phase))
        {
            self.own.insert(
                "/etc/hostname".into(),
                Node::text(format!("{}\n", hostname.name)),
            );
        }
    }

    fn file(
        &mut self,
        disk: &Disk<'_>,
        accounts: &Accounts,
        file: &FileSpec,
        moment: Moment,
    ) -> Result<()> {
        let path = PathBuf::from(&file.path);
        let existing = |tree: &Tree| disk.current(tree, &path);
        let content = match &file.body {
            Body::Content(content) => content.clone(),
            Body::Append(added) => {
                let mut content = existing(&self.own)?.unwrap_or_default();
                if !content.ends_with(added) {
                    content.extend_from_slice(added);
                }
                content
            }
            Body::Symlink(target) => {
                self.own.insert(path, Node::link(target));
                return Ok(());
            }
            Body::UpdateConf(update) => {
                let text = match existing(&self.own)? {
                    Some(bytes) => bytes,
                    None => disk.root.read(UPDATE_CONF_DEFAULT).unwrap_or_default(),
                };
                debug_assert_eq!(file.path, UPDATE_CONF);
                update.merge(&String::from_utf8_lossy(&text)).into_bytes()
            }
            Body::Environment(environment) => {
                let text = existing(&self.own)?.unwrap_or_default();
                environment
                    .merge(&String::from_utf8_lossy(&text))
                    .into_bytes()
            }
            Body::Source(source) => {
                // On a running machine whoever fetches says why it could not.
                if moment != Moment::Running {
                    self.warnings
                        .push(format!("{}: not fetched: {}", file.path, source.url));
                }
                return Ok(());
            }
        };
        let uid = number(&file.owner.user).or_else(|| accounts.uid(&file.owner.user));
        let gid = number(&file.owner.group).or_else(|| accounts.gid(&file.owner.group));
        match (uid, gid) {
            (Some(uid), Some(gid)) => {
                self.own.insert(
                    path,
                    Node::File {
                        content,
                        mode: file.mode,
                        uid,
                        gid,
                    },
                );
            }
            (None, _) => self.refuse_owner(file, "user", &file.owner.user),
            (_, None) => self.refuse_owner(file, "group", &file.owner.group),
        }
        Ok(())
    }

    fn refuse_owner(&mut self, file: &FileSpec, kind: &str, name: &str) {
        self.refusals
            .push(format!("{}: the {kind} {name} does not exist", file.path));
    }
}

/// What is there before the plan.
struct Disk<'a> {
    root: &'a Root,
    earlier: &'a Written,
}

impl Disk<'_> {
    /// What the path holds without the configs of this boot, or is going to hold.
    fn current(&self, tree: &Tree, path: &Path) -> Result<Option<Vec<u8>>> {
        if let Some(Node::File { content, .. }) = tree.get(path) {
            return Ok(Some(content.clone()));
        }
        let is_ours = path.starts_with("/etc") && self.earlier.has(path);
        if is_ours && written::has_image(self.root) {
            return Ok(match written::of_image(self.root, path) {
                Some(Node::File { content, .. }) => Some(content),
                _ => None,
            });
        }
        match self.root.read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // A parent that is a file is the pre-flight's to report.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }
}

/// A number stands for itself, and root is 0 whatever the tables say.
fn number(name: &str) -> Option<u32> {
    if name == "root" {
        Some(0)
    } else {
        name.parse().ok()
    }
}

fn to_user(spec: &UserSpec) -> accounts::User {
    accounts::User {
        name: spec.name.clone(),
        password: spec.passwd.clone(),
        gecos: spec.gecos.clone(),
        home: spec.home.clone(),
        shell: spec.shell.clone(),
        primary_group: spec.primary_group.clone(),
        groups: spec.groups.clone(),
        own_group: if spec.own_group {
            OwnGroup::Made
        } else {
            OwnGroup::None
        },
        class: if spec.system {
            Class::System
        } else {
            Class::Ordinary
        },
    }
}
