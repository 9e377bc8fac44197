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
        let (ca, key) = Authority::create(&self.name, SystemTime::now())?;
        let secret = JoinSecret::generate().context("asking the kernel for random bytes")?;
        let sealed = secret.seal(&key).context("sealing the authority's key")?;
        let seeds: Vec<String> = self
            .seeds
            .iter()
            .map(|seed| format!("\"{seed}\""))
            .collect();
        let ca: String = ca.lines().map(|line| format!("      {line}\n")).collect();
        print(&format!(
            "strake:\n  cluster:\n    name: {name}\n    seeds: [{seeds}]\n    ca: |\n{ca}    \
             ca_key: {sealed}\n    join_secret: {secret}\n",
            name = self.name,
            seeds = seeds.join(", "),
        ));
        eprintln!(
            "Put this into the cloud-config of all machines. Who has join_secret and ca_key \
             together can vouch for any\nmachine, for ever: keep them as you keep a root \
             password. Once the cluster has formed, leave ca_key out of the\nconfig of machines \
             that come later; members keep the key on their own disks."
        );
        Ok(Exit::Done)
    }
}
