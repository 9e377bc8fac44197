//! `strake cluster init`: the one place where the authority's key is made.

use std::net::IpAddr;
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::Args;

use crate::cli::output::print;
use crate::cluster::authority::Authority;
use crate::cluster::secret::JoinSecret;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    /// Name of the cluster: letters, digits and hyphens
    #[arg(long, default_value = "default", value_parser = name)]
    name: String,
    /// Addresses of the members: one, three, five or seven
    #[arg(long, value_delimiter = ',', required = true)]
    seeds: Vec<IpAddr>,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let holds = (1..=63).contains(&text.len()) && text.chars().all(plain);
    let edges = !text.starts_with('-') && !text.ends_with('-');
    match holds && edges {
        true => Ok(text.to_string()),
        false => Err("up to 63 letters, digits and hyphens".to_string()),
    }
}

impl Init {
    pub(super) fn run(&self) -> Result<Exit> {
        let mut sorted = self.seeds.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != self.seeds.len() || self.seeds.len() > 7 {
            eprintln!("strake: error: name each seed once, and at most seven");
            return Ok(Exit::BadInput);
        }
        if self.seeds.len().is_multiple_of(2) {
            eprintln!(
                "strake: warning: an even number of members survives no more failures than one less"
            );
        }
        print(&self.part(SystemTime::now())?);
        eprintln!(
            "Put this into the cloud-config of all machines. Who has join_secret and ca_key \
             together can vouch for any\nmachine, for ever: keep them as you keep a root \
             password. Once the cluster has formed, leave ca_key out of the\nconfig of machines \
             that come later; members keep the key on their own disks."
        );
        Ok(Exit::Done)
    }

    /// The part of the cloud-config.
    fn part(&self, now: SystemTime) -> Result<String> {
        let (ca, key) = Authority::create(&self.name, now)?;
        let secret = JoinSecret::generate().context("asking the kernel for random bytes")?;
        let sealed = secret.seal(&key).context("sealing the authority's key")?;
        let seeds = self.seeds.iter().map(|seed| format!("\"{seed}\""));
        let ca: String = ca.lines().map(|line| format!("      {line}\n")).collect();
        Ok(format!(
            "strake:\n  cluster:\n    name: {name}\n    seeds: [{seeds}]\n    ca: |\n{ca}    \
             ca_key: {sealed}\n    join_secret: {secret}\n",
            name = self.name,
            seeds = seeds.collect::<Vec<_>>().join(", "),
        ))
    }
}

#[cfg(test)]
mod tests {
    use strake_cloud_config::{Context, check};

    use super::*;
    use crate::cluster::identity;
    use crate::cluster::settings::{PATH, Settings};
    use crate::root::Root;

    #[test]
    fn what_is_printed_is_a_config_that_sets_up_a_member() {
        let seeds = ["10.9.0.11", "fd00::2", "10.9.0.13"];
        let init = Init {
            name: "lab".to_string(),
            seeds: seeds.map(|seed| seed.parse().expect("an address")).to_vec(),
        };
        let part = init.part(SystemTime::now()).expect("a part");
        let text = format!("#cloud-config\n{part}");
        let context = Context::default();
        let checked = check(text.as_bytes(), &context);
        assert_eq!(checked.problems, [], "{text}");
        let config = checked.config.expect("a config");
        let plan = strake_cloud_config::plan(&config, &context);
        let file = plan.files.iter().find(|file| file.path == PATH);
        let file = file.expect("the settings are written");
        assert_eq!(file.mode, 0o600);
        let strake_cloud_config::plan::Body::Content(content) = &file.body else {
            panic!("{file:?}");
        };
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir_all(dir.path().join("etc/strake")).expect("dir");
        std::fs::write(dir.path().join(&PATH[1..]), content).expect("file");
        let root = Root::new(dir.path());
        let settings = Settings::load(&root).expect("settings");
        assert_eq!(settings.seeds, init.seeds);
        let authority = identity::authority(&root, &settings).expect("the sealed key");
        assert!(authority.is_some());
    }
}
