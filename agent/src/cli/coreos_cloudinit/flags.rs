//! The flags of coreos-cloudinit, in Go's syntax: one dash or two, `-flag=value` or `-flag value`,
//! of a flag given twice the last.

use std::ffi::OsString;

/// In the order of `-help`.
const KNOWN: &[Flag] = &[
    Flag::value("from-file", "user-data in this file"),
    Flag::value("from-url", "user-data at this URL"),
    Flag::value("from-configdrive", "config drive mounted at this directory"),
    Flag::value("from-ec2-metadata", "EC2's metadata service at this URL"),
    Flag::value("from-metadata-service", "the same (deprecated)"),
    Flag::value("from-gce-metadata", "GCE's metadata service at this URL"),
    Flag::value(
        "from-digitalocean-metadata",
        "DigitalOcean's metadata service at this URL",
    ),
    Flag::switch(
        "from-proc-cmdline",
        "URL in cloud-config-url= on the kernel's command line",
    ),
    Flag::value(
        "oem",
        "sources of digitalocean, ec2-compat, gce, azure or rackspace-onmetal",
    ),
    Flag::value(
        "convert-netconf",
        "debian: network of the config drive to networkd files",
    ),
    Flag::value(
        "workspace",
        "taken and not needed: scripts lie in /run/strake/scripts",
    ),
    Flag::value(
        "ssh-key-name",
        "taken and not needed: each user has one set of keys",
    ),
    Flag::switch("ignore-failure", "exit code 0 whatever happens"),
    Flag::switch("validate", "check the user-data and apply nothing"),
    Flag::switch("version", "print the version"),
    Flag::switch("help", "print this"),
];

/// Flags of sources that Strake does not have, and what to use instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "from-waagent",
        "there is no Azure agent here; use -oem=azure, which asks Azure itself",
    ),
    ("from-packet-metadata", ELSEWHERE),
    ("from-cloudsigma-metadata", ELSEWHERE),
    ("from-vmware-guestinfo", ELSEWHERE),
    ("from-vmware-ovf-env", ELSEWHERE),
];

const ELSEWHERE: &str = "Strake does not read this cloud's metadata; give the config on the \
                         partition CONFIG, on a config drive or at a URL";

#[derive(Debug)]
struct Flag {
    name: &'static str,
    takes_value: bool,
    doc: &'static str,
}

impl Flag {
    const fn value(name: &'static str, doc: &'static str) -> Flag {
        Flag {
            name,
            takes_value: true,
            doc,
        }
    }

    const fn switch(name: &'static str, doc: &'static str) -> Flag {
        Flag {
            name,
            takes_value: false,
            doc,
        }
    }
}

/// What was given, in order of the command line; of a switch "true" or "false".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    pub(super) fn parse(args: &[OsString]) -> Result<Flags, String> {
        let mut flags = Flags::default();
        let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                return Err(format!("unexpected argument {arg}"));
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (flag, None),
            };
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
                return Err(format!("-{name}: {why}"));
            }
            let name = if name == "h" { "help" } else { name };
            let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
                return Err(format!("flag provided but not defined: -{name}"));
            };
            let value = match known.takes_value {
                true => value
                    .or_else(|| args.next())
                    .ok_or_else(|| format!("flag needs an argument: -{name}"))?,
                false => truth(name, value)?,
            };
            flags.0.retain(|(earlier, _)| *earlier != known.name);
            flags.0.push((known.name, value));
        }
        Ok(flags)
    }

    pub(super) fn has(&self, switch: &str) -> bool {
        self.value(switch) == Some("true")
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

pub(super) fn usage() -> String {
    let rows = KNOWN
        .iter()
        .map(|flag| format!("  -{:<28} {}\n", flag.name, flag.doc));
    format!("Usage of coreos-cloudinit:\n{}", rows.collect::<String>())
}

fn truth(name: &str, value: Option<String>) -> Result<String, String> {
    let truth = match value.as_deref() {
        None | Some("true" | "TRUE" | "True" | "1" | "t" | "T") => "true",
        Some("false" | "FALSE" | "False" | "0" | "f" | "F") => "false",
        Some(value) => return Err(format!("invalid boolean value {value:?} for -{name}")),
    };
    Ok(truth.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Flags, String> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Flags::parse(&args)
    }

    #[test]
    fn both_ways_of_giving_a_value_are_read_and_the_last_one_counts() {
        let cases: [&[&str]; 3] = [
            &["-from-file=a.yaml", "-validate"],
            &["--from-file", "a.yaml", "--validate=true"],
            &[
                "-from-file=b",
                "-from-file=a.yaml",
                "-validate=0",
                "-validate",
            ],
        ];
        for args in cases {
            let flags = parse(args).expect("usable");
            assert_eq!(flags.value("from-file"), Some("a.yaml"), "{args:?}");
            assert!(flags.has("validate") && !flags.has("version"), "{args:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_with_a_reason() {
        let cases = [
            ("-from-file", "flag needs an argument: -from-file"),
            ("-nonsense", "flag provided but not defined: -nonsense"),
            ("file", "unexpected argument file"),
            (
                "-validate=maybe",
                "invalid boolean value \"maybe\" for -validate",
            ),
            ("-from-waagent=/var/lib/waagent", "use -oem=azure"),
            (
                "-from-vmware-guestinfo",
                "does not read this cloud's metadata",
            ),
            (
                "-from-packet-metadata=http://x",
                "does not read this cloud's metadata",
            ),
        ];
        for (arg, expected) in cases {
            let message = parse(&[arg]).expect_err(arg);
            assert!(message.contains(expected), "{message}");
        }
    }
}
