//! Which sources the flags name, and what the first one that answers says.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::flags::Flags;
use crate::cli::config::read;
use crate::cli::runtime::on_one_thread;
use crate::config::running::Running;
use crate::fetch::Policy;
use crate::root::Root;
use crate::source::described::{Described, Kind};
use crate::source::remote::facts::Facts;
use crate::source::remote::{Place, Remote, platform};
use crate::source::{Text, drive};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    Drive(PathBuf),
    Remote(Remote),
    CommandLine,
}

/// What one source said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) user: Option<Text>,
    pub(super) metadata: Option<Described>,
}

const LINK_LOCAL: &str = "http://169.254.169.254/";
const GCE: &str = "http://metadata.google.internal/";
const DRIVE: &str = "/media/configdrive";

/// In the order they were named, those of `-oem` last.
pub(super) fn named(flags: &Flags) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for (name, value) in flags.iter() {
        sources.extend(source(name, value)?);
    }
    if let Some(name) = flags.value("oem") {
        sources.extend(of_oem(name)?);
    }
    let conversion = flags.value("convert-netconf");
    if let Some(kind) = conversion.filter(|kind| *kind != "debian") {
        return Err(format!(
            "-convert-netconf={kind}: only debian is known; the network of DigitalOcean, OpenStack \
             and NoCloud is converted where the machine boots from them"
        ));
    }
    if conversion.is_some()
        && !sources
            .iter()
            .any(|source| matches!(source, Source::Drive(_)))
    {
        return Err("-convert-netconf=debian: use it with -from-configdrive".to_string());
    }
    if sources.is_empty() {
        return Err("name a source: -from-file, -from-url or another of the list".to_string());
    }
    Ok(sources)
}

fn source(flag: &str, value: &str) -> Result<Option<Source>, String> {
    let service = |kind| remote(flag, Place::Service(kind), value).map(Some);
    match flag {
        "from-file" => Ok(Some(Source::File(value.into()))),
        "from-configdrive" => Ok(Some(Source::Drive(value.into()))),
        "from-url" => remote(flag, Place::File { pin: None }, value).map(Some),
        "from-ec2-metadata" | "from-metadata-service" => service(Kind::Ec2),
        "from-gce-metadata" => service(Kind::Gce),
        "from-digitalocean-metadata" => service(Kind::DigitalOcean),
        "from-proc-cmdline" if value == "true" => Ok(Some(Source::CommandLine)),
        _ => Ok(None),
    }
}

fn of_oem(name: &str) -> Result<Vec<Source>, String> {
    let service = |kind, url| remote("oem", Place::Service(kind), url);
    Ok(match name {
        "digitalocean" => vec![service(Kind::DigitalOcean, LINK_LOCAL)?],
        "ec2-compat" => vec![Source::Drive(DRIVE.into()), service(Kind::Ec2, LINK_LOCAL)?],
        "gce" => vec![service(Kind::Gce, GCE)?],
        "azure" => vec![service(Kind::Azure, LINK_LOCAL)?],
        "rackspace-onmetal" => vec![Source::Drive(DRIVE.into())],
        "cloudsigma" | "packet" | "vmware" => {
            return Err(format!("-oem={name}: Strake does not read its metadata"));
        }
        _ => return Err(format!("-oem={name}: there is no such platform")),
    })
}

fn remote(flag: &str, place: Place, text: &str) -> Result<Source, String> {
    let slash = match place {
        Place::Service(_) if !text.ends_with('/') => "/",
        _ => "",
    };
    let url = platform::web(&format!("{text}{slash}"))
        .ok_or_else(|| format!("-{flag}={text} is not an http or https URL"))?;
    Ok(Source::Remote(Remote { place, url }))
}

/// What the first of them says that can be reached; why none can otherwise.
pub(super) fn ask(root: &Root, sources: &[Source], flags: &Flags) -> Result<Said> {
    let mut failures = Vec::new();
    for source in sources {
        match said(root, source) {
            Ok(mut said) => {
                if let (Source::Drive(_), Some(metadata)) = (source, &mut said.metadata) {
                    keep_network(metadata, flags);
                }
                return Ok(said);
            }
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    Err(anyhow!("no source can be read: {}", failures.join("; ")))
}

/// Only what was asked for changes the network of a running machine.
fn keep_network(metadata: &mut Described, flags: &Flags) {
    let wanted = flags.value("convert-netconf").map(|_| "network");
    let all = ["network", "network_data.json", "network-config"];
    for name in all.into_iter().filter(|name| Some(*name) != wanted) {
        metadata.documents.remove(name);
    }
}

fn said(root: &Root, source: &Source) -> Result<Said> {
    match source {
        Source::File(path) => Ok(Said {
            user: Some(read(path)?),
            metadata: None,
        }),
        Source::Drive(at) => {
            let answer = drive::mounted_at(at)
                .with_context(|| format!("reading the config drive {}", at.display()))?;
            Ok(Said {
                user: drive::user_data(&answer),
                metadata: answer.metadata,
            })
        }
        Source::Remote(remote) => answer(root, remote),
        Source::CommandLine => {
            let line = Facts {
                command_line: Facts::read(root).command_line,
                ..Facts::default()
            };
            let found = platform::find(&line);
            let file = |remote: &&Remote| matches!(remote.place, Place::File { .. });
            let problem = || anyhow!("{}", found.problems.join("; "));
            match found.remotes.iter().find(file) {
                Some(remote) => answer(root, remote),
                None if found.problems.is_empty() => Err(anyhow!(
                    "the kernel's command line has no cloud-config-url="
                )),
                None => Err(problem()),
            }
        }
    }
}

fn answer(root: &Root, remote: &Remote) -> Result<Said> {
    let access = Running::access(root);
    let answer = on_one_thread(remote.ask(&Policy::default(), &access))??;
    Ok(Said {
        user: remote.user_data(&answer),
        metadata: answer.metadata,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn sources(args: &[&str]) -> Result<Vec<Source>, String> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        named(&Flags::parse(&args)?)
    }

    #[test]
    fn sources_are_asked_in_the_order_they_are_named_and_presets_last() {
        let found = sources(&[
            "-oem=ec2-compat",
            "-from-gce-metadata=http://10.0.0.1",
            "-from-file=/x",
        ]);
        let shown: Vec<String> = found
            .expect("usable")
            .iter()
            .map(|source| match source {
                Source::Remote(remote) => remote.id(),
                other => format!("{other:?}"),
            })
            .collect();
        let expected = [
            "gce http://10.0.0.1/",
            "File(\"/x\")",
            "Drive(\"/media/configdrive\")",
            "ec2 http://169.254.169.254/",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_cannot_be_a_source_is_told() {
        let cases: [(&[&str], &str); 6] = [
            (&[], "name a source"),
            (&["-from-url=ftp://x"], "not an http or https URL"),
            (&["-oem=vmware"], "does not read its metadata"),
            (&["-oem=moon"], "no such platform"),
            (
                &["-from-configdrive=/d", "-convert-netconf=vmware"],
                "only debian",
            ),
            (
                &["-from-file=/d", "-convert-netconf=debian"],
                "with -from-configdrive",
            ),
        ];
        for (args, expected) in cases {
            let message = sources(args).expect_err("refused");
            assert!(message.contains(expected), "{args:?}: {message}");
        }
    }
}
