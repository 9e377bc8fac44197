//! fleetctl's flags: one dash or two, `--flag=value` or `--flag value`, before or behind the verb,
//! or `FLEETCTL_FLAG` in the environment.

use std::collections::BTreeMap;

/// Name, default, what it does. A default of nothing: a switch.
pub(super) const FLAGS: [(&str, Option<&str>, &str); 28] = [
    (
        "endpoint",
        Some("unix:///var/run/fleet.sock"),
        "where the API is",
    ),
    (
        "request-timeout",
        Some("3"),
        "seconds to wait for an answer",
    ),
    ("ssh-username", Some("core"), "user for ssh"),
    ("ssh-timeout", Some("10"), "seconds to wait for ssh"),
    ("ssh-port", Some("22"), "port of ssh"),
    (
        "strict-host-key-checking",
        Some("true"),
        "check host keys with ssh",
    ),
    (
        "known-hosts-file",
        Some("~/.fleetctl/known_hosts"),
        "host keys for ssh",
    ),
    ("driver", Some("API"), "taken; there is the API only"),
    ("etcd-key-prefix", Some(""), "taken and not needed"),
    ("ca-file", Some(""), "the cluster's authority, for https"),
    ("cert-file", Some(""), "your certificate, for https"),
    ("key-file", Some(""), "its key, for https"),
    (
        "tunnel",
        Some(""),
        "refused: log in there, or use `strake unit`",
    ),
    ("debug", None, "taken and not needed"),
    ("version", None, "print the version"),
    ("help", None, "print this"),
    ("replace", None, "give known units the new content"),
    ("sign", None, "taken; units were never signed"),
    ("no-block", None, "do not wait until it is so"),
    (
        "block-attempts",
        Some("0"),
        "wait so many times 2 seconds; 0: for as long as it takes",
    ),
    ("full", None, "whole ids and hashes"),
    ("no-legend", None, "no heading"),
    ("fields", Some(""), "columns, with commas between"),
    ("lines", Some("10"), "lines of the journal"),
    ("follow", None, "go on printing the journal"),
    ("output", Some("short"), "format of the journal"),
    ("sudo", None, "read the journal with sudo"),
    ("forward-agent", None, "forward the ssh agent"),
];
/// Values too, but of `ssh` only.
const TARGETS: [&str; 2] = ["machine", "unit"];
const SHORT: [(&str, &str); 5] = [
    ("f", "follow"),
    ("l", "full"),
    ("n", "lines"),
    ("h", "help"),
    ("A", "forward-agent"),
];

#[derive(Debug, Default)]
pub(super) struct Flags {
    given: BTreeMap<String, String>,
    pub(super) verb: Option<String>,
    pub(super) words: Vec<String>,
}

impl Flags {
    pub(super) fn parse(
        words: impl IntoIterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Flags, String> {
        let mut flags = Flags::default();
        for (name, ..) in FLAGS {
            let variable = format!("FLEETCTL_{}", name.to_uppercase().replace('-', "_"));
            if let Some(value) = environment(&variable).filter(|value| !value.is_empty()) {
                flags.given.insert(name.to_string(), value);
            }
        }
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            match flag {
                // What follows is another program's.
                Some("") => {
                    flags.words.extend(words);
                    break;
                }
                Some(flag) => flags.take(flag, &mut words)?,
                None if flags.verb.is_none() => flags.verb = Some(word),
                // ssh's command has flags of its own.
                None if flags.verb.as_deref() == Some("ssh") => {
                    flags.words.push(word);
                    flags.words.extend(words);
                    break;
                }
                None => flags.words.push(word),
            }
        }
        Ok(flags)
    }

    fn take(&mut self, flag: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (flag, None),
        };
        let short = SHORT.iter().find(|(short, _)| *short == name);
        let name = short.map_or(name, |(_, long)| long);
        let known = FLAGS.iter().find(|(known, ..)| *known == name);
        let takes_value = match known {
            Some((_, default, _)) => default.is_some(),
            None if TARGETS.contains(&name) => true,
            None => return Err(format!("unknown flag: --{name}")),
        };
        let value = match (takes_value, value) {
            (_, Some(value)) => value,
            (false, None) => "true".to_string(),
            (true, None) => words
                .next()
                .ok_or_else(|| format!("flag needs an argument: --{name}"))?,
        };
        self.given.insert(name.to_string(), value);
        Ok(())
    }

    pub(super) fn value(&self, name: &str) -> &str {
        let default = FLAGS.iter().find(|(known, ..)| *known == name);
        let default = default.and_then(|(_, default, _)| *default);
        let given = self.given.get(name).map(String::as_str);
        given.or(default).unwrap_or_default()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.value(name) == "true"
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, String> {
        let value = self.value(name);
        // Go's default was written as 3.0 in places.
        let whole = value.strip_suffix(".0").unwrap_or(value);
        whole
            .parse()
            .map_err(|_| format!("--{name}: {value:?} is no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        let words = line.split_whitespace().map(str::to_string);
        Flags::parse(words, |name| {
            (name == "FLEETCTL_SSH_PORT").then(|| "2222".to_string())
        })
    }

    #[test]
    fn flags_stand_before_or_behind_the_verb_and_the_last_one_counts() {
        let flags = parse("--endpoint unix:///a start --no-block a b -endpoint=unix:///b");
        let flags = flags.expect("flags");
        assert_eq!(flags.verb.as_deref(), Some("start"));
        assert_eq!(flags.words, ["a", "b"]);
        assert_eq!(flags.value("endpoint"), "unix:///b");
        assert!(flags.is_set("no-block") && !flags.is_set("replace"));
        assert_eq!(flags.value("ssh-port"), "2222");
        assert_eq!(flags.number("lines"), Ok(10));
    }

    #[test]
    fn the_command_of_ssh_keeps_its_flags() {
        let flags = parse("ssh -A --unit web.service ls -l /").expect("flags");
        assert_eq!(flags.words, ["ls", "-l", "/"]);
        assert_eq!(flags.value("unit"), "web.service");
        assert!(flags.is_set("forward-agent"));
        assert_eq!(
            parse("ssh m1 -- ls -l").expect("flags").words,
            ["m1", "--", "ls", "-l"]
        );
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        assert!(parse("--nonsense list-units").is_err());
        assert!(parse("journal --lines").is_err());
        assert!(
            parse("journal --lines=x a")
                .expect("flags")
                .number("lines")
                .is_err()
        );
    }
}
