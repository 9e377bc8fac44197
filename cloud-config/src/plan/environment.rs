//! `/etc/environment`: the address variables every unit may read, merged into what is there.

use serde::Serialize;

use super::FileSpec;
use super::update_conf::merge_lines;
use crate::config::{Config, Unit, UnitGroup, Written};
use crate::context::{Address, Addresses, Variable};
use crate::substitution::waits;
use crate::unit_file::UnitFile;

pub(super) const PATH: &str = "/etc/environment";

/// The variables with a value. Order and comments of the file stay; new ones go to the end,
/// sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    values: Vec<(&'static str, String)>,
}

impl Environment {
    pub fn of(addresses: &Addresses) -> Self {
        let mut values: Vec<_> = Variable::ALL
            .into_iter()
            .filter_map(|variable| {
                let value = addresses.text(variable)?;
                (!value.is_empty()).then(|| (variable.environment(), value))
            })
            .collect();
        values.sort_unstable();
        Self { values }
    }

    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
    }

    pub fn merge(&self, existing: &str) -> String {
        merge_lines(existing, &self.values)
    }

    /// Whether a later phase can add to it.
    pub fn is_complete(addresses: &Addresses) -> bool {
        !matches!(addresses.public_ipv4, Address::Unknown)
            && !matches!(addresses.private_ipv4, Address::Unknown)
            && !matches!(addresses.public_ipv6, Address::Unknown)
            && !matches!(addresses.private_ipv6, Address::Unknown)
    }
}

/// What happens to units that read the file: they wait until the network phase has written the
/// addresses into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    Wait,
    /// The user writes the file himself, and needs no address for it.
    Start,
}

const WAIT: &str = "[Unit]\nWants=strake-config.service\nAfter=strake-config.service\n";
/// What the network phase itself comes after.
const EARLY: [&str; 6] = [
    "network",
    "systemd-networkd",
    "sysinit.target",
    "basic.target",
    "local-fs",
    "strake-config",
];

impl Readers {
    pub(super) fn of(config: &Config) -> Readers {
        let mut files = config.write_files.iter();
        match files.rfind(|file| file.path == PATH) {
            Some(file) => match &file.written {
                Written::Content(bytes) | Written::Append(bytes) if !waits(bytes) => Readers::Start,
                _ => Readers::Wait,
            },
            None => Readers::Wait,
        }
    }

    /// The drop-in that makes a unit wait. A unit that comes before the network cannot.
    pub(super) fn wait(self, name: &str, unit: &Unit, text: &str) -> Option<FileSpec> {
        let may = self == Readers::Wait && unit.group() == UnitGroup::System && !unit.mask;
        if !may {
            return None;
        }
        let file = UnitFile::parse(text);
        (reads(&file) && !is_early(&file)).then(|| {
            let path = format!("/run/systemd/system/{name}.d/10-strake-addresses.conf");
            FileSpec::text(path, WAIT, "addresses")
        })
    }
}

fn reads(file: &UnitFile<'_>) -> bool {
    let files = file.values("Service", "EnvironmentFile");
    files.fold(false, |reads, value| {
        // An empty value takes back all before it.
        !value.is_empty() && (reads || value.trim_start_matches('-') == PATH)
    })
}

fn is_early(file: &UnitFile<'_>) -> bool {
    let alone = file.values("Unit", "DefaultDependencies").last();
    let of_network = [
        ("Unit", "Before"),
        ("Install", "WantedBy"),
        ("Install", "RequiredBy"),
    ];
    let mut units = of_network
        .into_iter()
        .flat_map(|(section, key)| file.values(section, key))
        .flat_map(str::split_whitespace);
    alone.is_some_and(|value| matches!(value, "no" | "false" | "off" | "0"))
        || units.any(|unit| EARLY.iter().any(|early| unit.starts_with(early)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, check, plan};

    /// Whether `a.service` with this text waits for the network phase.
    fn waiting(config: &str) -> bool {
        let text = format!("#cloud-config\n{config}");
        let config = check(text.as_bytes(), &Context::default()).config;
        let plan = plan(&config.expect("valid"), &Context::default());
        let path = "/run/systemd/system/a.service.d/10-strake-addresses.conf";
        plan.files.iter().any(|file| file.path == path)
    }

    #[test]
    fn units_that_read_the_file_wait_for_it_and_no_others() {
        let cases = [
            ("EnvironmentFile=/etc/environment", "", true),
            ("EnvironmentFile=-/etc/environment", "", true),
            (
                "EnvironmentFile=/etc/environment\nEnvironmentFile=/etc/a",
                "",
                true,
            ),
            (
                "EnvironmentFile=/etc/environment\nEnvironmentFile=",
                "",
                false,
            ),
            ("EnvironmentFile=/etc/other", "", false),
            ("# EnvironmentFile=/etc/environment", "", false),
            (
                "EnvironmentFile=/etc/environment",
                "DefaultDependencies=no",
                false,
            ),
            (
                "EnvironmentFile=/etc/environment",
                "Before=network-pre.target",
                false,
            ),
            ("EnvironmentFile=/etc/environment", "Before=b.service", true),
        ];
        for (service, unit, expected) in cases {
            let content = format!("[Unit]\n{unit}\n[Service]\nExecStart=/x\n{service}\n");
            let content = serde_json::Value::from(content);
            let config = format!("coreos: {{units: [{{name: a.service, content: {content}}}]}}\n");
            assert_eq!(waiting(&config), expected, "{content}");
            let mine = "write_files: [{path: /etc/environment, content: A=b}]\n";
            assert!(!waiting(&format!("{config}{mine}")));
            let with_address = mine.replace("A=b", "A=$private_ipv4");
            assert_eq!(waiting(&format!("{config}{with_address}")), expected);
        }
        let drop_in = "coreos: {units: [{name: a.service, drop_ins: [{name: x.conf, \
                       content: \"[Service]\\nEnvironmentFile=/etc/environment\"}]}]}";
        assert!(waiting(drop_in));
    }

    #[test]
    fn only_variables_with_a_value_are_written_and_the_rest_stays() {
        let addresses = Addresses {
            public_ipv4: Address::Known([192, 0, 2, 1].into()),
            private_ipv4: Address::Known([10, 0, 0, 1].into()),
            public_ipv6: Address::Absent,
            private_ipv6: Address::Unknown,
        };
        assert_eq!(
            Environment::of(&addresses).merge("# mine\nCOREOS_PUBLIC_IPV4=1.1.1.1\nA=b\n"),
            "# mine\nCOREOS_PUBLIC_IPV4=192.0.2.1\nA=b\nCOREOS_PRIVATE_IPV4=10.0.0.1\n"
        );
        assert!(!Environment::is_complete(&addresses));
        assert!(Environment::is_complete(&addresses.settled()));
    }
}
