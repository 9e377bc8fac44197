//! Text in, checked config and every problem out.

mod coreos;
mod files;
mod findings;
mod host;
mod overlay;
mod overlay_networks;
mod strake;
mod unit_content;
mod unit_settings;
mod unit_whole;
mod units;
mod users;
mod view;
mod walk;

use serde::Serialize;

use crate::config::{Config, EtcHosts, Script};
use crate::context::Context;
use crate::document::{self, Node, Value};
use crate::merge::merge;
use crate::problem::{Level, Problem, Rule};
use crate::schema::ROOT;
use crate::source::Source;
use crate::substitution::{DoubtKind, find_marker, substitute};
use crate::user_data::{Kind, Part, open};
use findings::{Findings, Path};
pub(crate) use view::{View, flag};

/// What became of a user-data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    pub kind: Kind,
    /// `None` exactly when there is a problem of level error.
    pub config: Option<Config>,
    /// In the order of their places.
    pub problems: Vec<Problem>,
}

impl Checked {
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}

/// Checks user-data of any kind. The parts of a multipart text are merged in their order.
pub fn check(bytes: &[u8], context: &Context) -> Checked {
    let opened = open(bytes);
    let mut problems = opened.problems;
    let mut configs = Vec::new();
    for part in &opened.parts {
        let (config, mut found) = check_part(part, context);
        configs.push(config);
        problems.append(&mut found);
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let config = (!problems.iter().any(Problem::is_error)).then(|| merge(configs));
    Checked {
        kind: opened.kind,
        config,
        problems,
    }
}

fn check_part(part: &Part<'_>, context: &Context) -> (Config, Vec<Problem>) {
    let text = part.text.strip_prefix('\u{FEFF}').unwrap_or(&part.text);
    let substituted = substitute(text, &context.addresses);
    let source = Source::new(text, part.lines_before, part.number);
    let mut out = Findings::new(&source, &substituted);
    if let Some(at) = find_marker(text) {
        let message = "the text holds a character that Unicode reserves".to_owned();
        out.add_original(Level::Error, Rule::Encoding, at..at + 1, message);
        return (Config::default(), out.into_problems());
    }
    for doubt in &substituted.doubts {
        let message = match &doubt.kind {
            DoubtKind::Longer { found, variable } => {
                format!(
                    "{} is not a variable and is left as it is; {} is one",
                    findings::shown(found),
                    variable.name()
                )
            }
            DoubtKind::Absent(variable) => {
                format!(
                    "{} has no value on this machine and is left out",
                    variable.name()
                )
            }
        };
        out.add_original(Level::Warning, Rule::Variable, doubt.place.clone(), message);
    }
    let config = if part.kind == Kind::Script {
        let script = Script {
            text: substituted.text.clone().into_owned(),
        };
        Config {
            scripts: vec![script],
            ..Config::default()
        }
    } else {
        check_document(&substituted.text, &mut out)
    };
    (config, out.into_problems())
}

fn check_document(text: &str, out: &mut Findings<'_>) -> Config {
    let document = document::parse(text);
    for fault in &document.faults {
        let finding = out.add(
            (Level::Error, fault.rule),
            &fault.place,
            &Path::Root,
            fault.message.clone(),
        );
        if let Some(hint) = fault.hint {
            finding.hint(hint);
        }
    }
    match &document.root {
        None => Config::default(),
        Some(root) if matches!(root.value, Value::Map(_)) => {
            walk::walk(root, &ROOT, &Path::Root, out);
            read(View::new(root), out)
        }
        Some(Node {
            value: Value::Null, ..
        }) => Config::default(),
        Some(root) => {
            let place = root.span.start..root.span.start + 1;
            let message = "the document must be a mapping of keys to values";
            out.add(
                (Level::Error, Rule::WrongType),
                &place,
                &Path::Root,
                message,
            )
            .hint("begin with a key, such as hostname: name");
            Config::default()
        }
    }
}

fn read(root: View<'_>, out: &mut Findings<'_>) -> Config {
    let mut config = Config {
        hostname: root.string("hostname"),
        ssh_authorized_keys: users::keys(root),
        users: users::read(root, out),
        write_files: files::read(root, out),
        manage_etc_hosts: root.text("manage_etc_hosts").map(|_| EtcHosts::Localhost),
        ntp: host::ntp(root),
        timezone: root.string("timezone"),
        ca_certs: host::ca_certs(root),
        sysctl: host::sysctl(root),
        kernel_modules: host::kernel_modules(root),
        mounts: host::mounts(root, out),
        swap: host::swap(root, out),
        proxy: host::proxy(root),
        registry_mirrors: host::registry_mirrors(root),
        insecure_registries: root.strings("insecure_registries"),
        strake: strake::read(root, out),
        ..Config::default()
    };
    if let Some(coreos) = root.map("coreos") {
        config.oem = coreos::oem(coreos);
        config.update = coreos::update(coreos);
        config.daemons = coreos::daemons(coreos);
        config.units = units::read(coreos, &Path::Root.key("coreos"), out);
    }
    files::check_clashes(root, &config, out);
    config
}

/// Words other than true and false that a flag may be.
pub(crate) const FLAG_WORDS: &[&str] = &["yes", "no", "on", "off"];
