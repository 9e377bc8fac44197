use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unit {
    pub name: String,
    /// Below `/run` instead of `/etc`.
    pub runtime: bool,
    pub content: Option<String>,
    pub drop_ins: Vec<DropIn>,
    pub mask: bool,
    /// `None` when the key is absent.
    pub enable: Option<bool>,
    pub command: Option<Command>,
}

impl Unit {
    pub fn group(&self) -> UnitGroup {
        UnitGroup::of(&self.name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DropIn {
    pub name: String,
    pub content: String,
}

/// Which manager reads the unit, hence which directory it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitGroup {
    System,
    Network,
}

impl UnitGroup {
    pub fn of(name: &str) -> Self {
        match name.rsplit_once('.') {
            Some((_, "network" | "netdev" | "link")) => Self::Network,
            _ => Self::System,
        }
    }

    pub fn directory(self) -> &'static str {
        match self {
            Self::System => "systemd/system",
            Self::Network => "systemd/network",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    Start,
    Stop,
    Restart,
    Reload,
    TryRestart,
    ReloadOrRestart,
    ReloadOrTryRestart,
}

impl Command {
    pub const NAMES: &'static [&'static str] = &[
        "start",
        "stop",
        "restart",
        "reload",
        "try-restart",
        "reload-or-restart",
        "reload-or-try-restart",
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "restart" => Self::Restart,
            "reload" => Self::Reload,
            "try-restart" => Self::TryRestart,
            "reload-or-restart" => Self::ReloadOrRestart,
            "reload-or-try-restart" => Self::ReloadOrTryRestart,
            _ => return None,
        })
    }

    /// Whether a unit that does not run is started by it, which is what counts at boot.
    pub fn starts(self) -> bool {
        matches!(self, Self::Start | Self::Restart | Self::ReloadOrRestart)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::TryRestart => "try-restart",
            Self::ReloadOrRestart => "reload-or-restart",
            Self::ReloadOrTryRestart => "reload-or-try-restart",
        })
    }
}

impl Unit {
    /// Adds what another entry for the same unit says; what both say is the other's.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.runtime |= other.runtime;
        self.mask |= other.mask;
        self.content = other.content.or(self.content.take());
        self.enable = other.enable.or(self.enable);
        self.command = other.command.or(self.command);
        for drop_in in other.drop_ins {
            match self
                .drop_ins
                .iter_mut()
                .find(|known| known.name == drop_in.name)
            {
                Some(known) => *known = drop_in,
                None => self.drop_ins.push(drop_in),
            }
        }
    }
}
