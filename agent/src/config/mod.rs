//! The machine's configuration: which texts are in force, and what they come to.
//!
//! `strake-cloud-config` checks and plans; here the layers are put together, a bad user config
//! gives way to the last good one, and what was decided is recorded for everybody else.

pub mod addresses;
pub mod boot;
pub mod fetched;
pub mod network;
pub mod record;
pub mod running;
pub mod trial;

use serde::Serialize;
use strake_cloud_config::{Addresses, Config, Context, Plan, Problem, check, merge, plan};

use crate::root::Root;
use crate::source::Text;
use crate::source::described::Described;

/// What is known of this machine when its config is read.
pub fn context(root: &Root, addresses: Addresses) -> Context {
    let hostname = root
        .read_text("/etc/hostname")
        .ok()
        .map(|text| text.trim().to_string());
    Context {
        addresses,
        hostname: hostname.filter(|name| !name.is_empty()),
    }
}

/// A problem and the text it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub source: String,
    #[serde(flatten)]
    pub problem: Problem,
}

/// `SOURCE:LINE:COLUMN: error: MESSAGE (HINT)`
impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Problem {
            line,
            column,
            level,
            message,
            hint,
            ..
        } = &self.problem;
        write!(f, "{}:{line}:{column}: {level}: {message}", self.source)?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// The texts one configuration is made of, weakest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layers<'a> {
    pub oem: Option<&'a Text>,
    pub metadata: Option<&'a Described>,
    pub user: Option<&'a Text>,
}

#[derive(Debug)]
pub struct Checked {
    /// None when the user's text has an error. A vendor's text with an error is left out.
    pub config: Option<Config>,
    pub findings: Vec<Finding>,
    pub context: Context,
}

impl Checked {
    pub fn plan(&self) -> Option<Plan> {
        self.config
            .as_ref()
            .map(|config| plan(config, &self.context))
    }

    /// Findings grouped by the text they are in.
    pub fn by_source(&self) -> Vec<(&str, Vec<Problem>)> {
        let mut groups: Vec<(&str, Vec<Problem>)> = Vec::new();
        for Finding { source, problem } in &self.findings {
            match groups.iter_mut().find(|(name, _)| name == source) {
                Some((_, problems)) => problems.push(problem.clone()),
                None => groups.push((source, vec![problem.clone()])),
            }
        }
        groups
    }
}

impl Layers<'_> {
    pub fn check(&self, context: Context) -> Checked {
        let mut findings = Vec::new();
        let mut checked = |text: Option<&Text>| -> Option<Config> {
            let Some(text) = text else {
                return Some(Config::default());
            };
            let checked = check(&text.bytes, &context);
            findings.extend(checked.problems.into_iter().map(|problem| Finding {
                source: text.name.clone(),
                problem,
            }));
            checked.config
        };
        let oem = checked(self.oem).unwrap_or_default();
        let user = checked(self.user);
        let metadata = self.metadata.map(|described| described.read().0);
        let metadata = metadata.map(|found| found.to_config()).unwrap_or_default();
        let config = user.map(|user| merge(vec![oem, metadata, user]));
        Checked {
            config,
            findings,
            context,
        }
    }
}
