//! What the host lacks, and installing it.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::tools::run;

/// Something a package brings, by which its absence shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Program(&'static str),
    File(&'static str),
}

#[derive(Debug, Clone, Copy)]
struct Need {
    package: &'static str,
    sign: Sign,
    purpose: &'static str,
    who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Everyone,
    /// Root needs no help to unpack a Debian root.
    NotRoot,
}

const NEEDS: [Need; 10] = [
    Need {
        package: "mmdebstrap",
        sign: Sign::Program("mmdebstrap"),
        purpose: "makes the tools tree and the image's root",
        who: Who::Everyone,
    },
    Need {
        package: "debian-archive-keyring",
        sign: Sign::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        purpose: "checks Debian's signatures",
        who: Who::Everyone,
    },
    Need {
        package: "protobuf-compiler",
        sign: Sign::Program("protoc"),
        purpose: "builds the etcd client",
        who: Who::Everyone,
    },
    Need {
        package: "libprotobuf-dev",
        sign: Sign::File("/usr/include/google/protobuf/descriptor.proto"),
        purpose: "builds the etcd client",
        who: Who::Everyone,
    },
    Need {
        package: "gcc",
        sign: Sign::Program("cc"),
        purpose: "links programs",
        who: Who::Everyone,
    },
    Need {
        package: "libc6-dev",
        sign: Sign::File("/usr/include/stdio.h"),
        purpose: "links programs",
        who: Who::Everyone,
    },
    Need {
        package: "iproute2",
        sign: Sign::Program("ip"),
        purpose: "makes the overlay network's tests their machines",
        who: Who::Everyone,
    },
    Need {
        package: "nftables",
        sign: Sign::Program("nft"),
        purpose: "proves the overlay network's masquerading",
        who: Who::Everyone,
    },
    Need {
        package: "iperf3",
        sign: Sign::Program("iperf3"),
        purpose: "measures the overlay network",
        who: Who::Everyone,
    },
    Need {
        package: "uidmap",
        sign: Sign::Program("newuidmap"),
        purpose: "lets mmdebstrap work without root",
        who: Who::NotRoot,
    },
];

/// Installs the missing packages, saying which and why.
pub fn prepare(progress: &Progress) -> Result<()> {
    let who = if rustix::process::geteuid().is_root() {
        Who::Everyone
    } else {
        Who::NotRoot
    };
    let missing = missing(who, is_there);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !is_there(Sign::Program("apt-get")) {
        bail!(
            "this machine lacks {}; strake-lab can install them on Debian and Ubuntu only. \
             Install what brings {:?} and try again",
            packages.join(", "),
            missing.iter().map(|need| need.sign).collect::<Vec<_>>()
        );
    }
    for need in &missing {
        progress.say(&format!("installing {}: {}", need.package, need.purpose));
    }
    progress.stage("packages", || {
        run(apt_get(who).arg("update"))?;
        run(apt_get(who)
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages))
    })?;
    Ok(())
}

fn apt_get(who: Who) -> Command {
    let settings = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"];
    let mut command = match who {
        Who::Everyone => Command::new("env"),
        Who::NotRoot => {
            let mut sudo = Command::new("sudo");
            sudo.arg("env");
            sudo
        }
    };
    command.args(settings);
    command
}

fn missing(who: Who, is_there: impl Fn(Sign) -> bool) -> Vec<Need> {
    let mut missing = NEEDS.to_vec();
    missing.retain(|need| (need.who == Who::Everyone || need.who == who) && !is_there(need.sign));
    missing
}

fn is_there(sign: Sign) -> bool {
    match sign {
        Sign::File(path) => Path::new(path).exists(),
        Sign::Program(name) => {
            let path = env::var_os("PATH").unwrap_or_default();
            // An ordinary user's path often lacks these two, which hold such programs.
            env::split_paths(&path)
                .chain(["/usr/sbin".into(), "/sbin".into()])
                .any(|directory| directory.join(name).is_file())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(who: Who, present: &[Sign]) -> Vec<&'static str> {
        missing(who, |sign| present.contains(&sign))
            .iter()
            .map(|need| need.package)
            .collect()
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        let everything: Vec<Sign> = NEEDS.iter().map(|need| need.sign).collect();
        assert!(packages(Who::NotRoot, &everything).is_empty());
        assert_eq!(packages(Who::Everyone, &everything[1..]), ["mmdebstrap"]);
    }

    #[test]
    fn root_needs_no_id_maps() {
        assert!(packages(Who::NotRoot, &[]).contains(&"uidmap"));
        assert!(!packages(Who::Everyone, &[]).contains(&"uidmap"));
    }
}
