//! From what is known of the machine to the sources it has in the network. Pure: no source is
//! asked to find out whether it is there.

use url::Url;

use super::facts::Facts;
use super::{Place, Remote};
use crate::fetch::Pin;
use crate::source::described::Kind;

/// Where every cloud here serves its metadata.
const LINK_LOCAL: &str = "http://169.254.169.254/";
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The one whose user-data wins comes first.
    pub remotes: Vec<Remote>,
    /// Sources that are named, but not in a way that can be used.
    pub problems: Vec<String>,
}

pub fn find(facts: &Facts) -> Found {
    let mut found = Found::default();
    let options = Options::parse(&facts.command_line);
    let config = options.config(&mut found.problems);
    found.remotes.extend(config);
    let seeds = [options.seed.as_deref(), Some(&*facts.product_serial)];
    if let Some(text) = seeds.into_iter().flatten().find_map(seed_of) {
        let remote = base(text).map(|url| Remote {
            place: Place::Service(Kind::NoCloud),
            url,
        });
        found.take(remote, &format!("ds=nocloud: {text:?}"));
        return found;
    }
    if let Some(kind) = cloud(facts) {
        let text = options.metadata.as_deref().unwrap_or(LINK_LOCAL);
        let remote = base(text).map(|url| Remote {
            place: Place::Service(kind),
            url,
        });
        found.take(remote, &format!("strake.metadata.url={text}"));
    }
    found
}

impl Found {
    fn take(&mut self, remote: Option<Remote>, text: &str) {
        match remote {
            Some(remote) => self.remotes.push(remote),
            None => self
                .problems
                .push(format!("{text} is not an http or https URL")),
        }
    }
}

fn cloud(facts: &Facts) -> Option<Kind> {
    let vendor = facts.sys_vendor.as_str();
    let uuid = facts.product_uuid.to_ascii_lowercase();
    let is_ec2 = [vendor, &facts.bios_vendor].contains(&"Amazon EC2")
        || (vendor == "Xen" && uuid.starts_with("ec2"));
    let is_openstack = vendor == "OpenStack Foundation"
        || ["OpenStack Nova", "OpenStack Compute"].contains(&&*facts.product_name)
        || ["OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"]
            .contains(&&*facts.chassis_asset_tag);
    match () {
        () if is_ec2 => Some(Kind::Ec2),
        () if facts.product_name == "Google Compute Engine" => Some(Kind::Gce),
        () if facts.chassis_asset_tag == AZURE_ASSET_TAG => Some(Kind::Azure),
        () if vendor == "DigitalOcean" => Some(Kind::DigitalOcean),
        () if vendor == "Hetzner" => Some(Kind::Hetzner),
        () if is_openstack => Some(Kind::OpenStack),
        () => None,
    }
}

/// The URL in `ds=nocloud;s=URL` or `ds=nocloud-net;seedfrom=URL`.
fn seed_of(text: &str) -> Option<&str> {
    let mut parts = text.strip_prefix("ds=")?.split(';');
    if !matches!(parts.next()?, "nocloud" | "nocloud-net") {
        return None;
    }
    let seed = parts.find_map(|part| {
        part.strip_prefix("s=")
            .or_else(|| part.strip_prefix("seedfrom="))
    })?;
    // A directory or the drive with the label: not in the network.
    (!seed.starts_with('/') && !seed.starts_with("file:")).then_some(seed)
}

/// A URL that names are put behind.
fn base(text: &str) -> Option<Url> {
    let slash = if text.ends_with('/') { "" } else { "/" };
    web(&format!("{text}{slash}"))
}

/// An http or https URL.
pub fn web(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

/// The options on the kernel's command line that are ours; of each the last one wins.
#[derive(Debug, Default)]
struct Options {
    config: Option<String>,
    sha256: Option<String>,
    metadata: Option<String>,
    seed: Option<String>,
}

impl Options {
    fn parse(command_line: &str) -> Options {
        let mut options = Options::default();
        for word in words(command_line) {
            let Some((name, value)) = word.split_once('=') else {
                continue;
            };
            let place = match name {
                "cloud-config-url" | "cloud_config_url" | "strake.config.url" => {
                    &mut options.config
                }
                "strake.config.sha256" => &mut options.sha256,
                "strake.metadata.url" => &mut options.metadata,
                "ds" => {
                    options.seed = Some(word);
                    continue;
                }
                _ => continue,
            };
            *place = Some(value.to_string());
        }
        options
    }

    fn config(&self, problems: &mut Vec<String>) -> Option<Remote> {
        let text = self.config.as_deref().filter(|text| !text.is_empty())?;
        let Some(url) = web(text) else {
            problems.push(format!(
                "cloud-config-url={text} is not an http or https URL"
            ));
            return None;
        };
        let pin = match self.sha256.as_deref().map(str::parse::<Pin>) {
            Some(Err(error)) => {
                problems.push(format!(
                    "strake.config.sha256: {error}; the config is not fetched"
                ));
                return None;
            }
            Some(Ok(pin)) => Some(pin),
            None => None,
        };
        Some(Remote {
            place: Place::File { pin },
            url,
        })
    }
}

/// Words of a command line as the kernel splits it: double quotes keep spaces, and go.
fn words(command_line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in command_line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' | '\t' | '\n' if !quoted => words.push(String::new()),
            letter => {
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(facts: &Facts, remotes: &[&str], problems: &[&str]) {
        let found = find(facts);
        let ids: Vec<String> = found.remotes.iter().map(Remote::id).collect();
        assert_eq!((ids, found.problems), (to_vec(remotes), to_vec(problems)));
    }

    fn to_vec(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn booted_with(command_line: &str) -> Facts {
        Facts {
            command_line: command_line.to_string(),
            ..Facts::default()
        }
    }

    /// In the order vendor, product, uuid, asset tag, BIOS vendor.
    fn machine(dmi: [&str; 5]) -> Facts {
        let [vendor, product, uuid, tag, bios] = dmi.map(str::to_string);
        Facts {
            sys_vendor: vendor,
            product_name: product,
            product_uuid: uuid,
            chassis_asset_tag: tag,
            bios_vendor: bios,
            ..Facts::default()
        }
    }

    #[test]
    fn clouds_are_known_by_their_firmware() {
        let cases = [
            (["Amazon EC2", "t3.micro", "", "", "Amazon EC2"], "ec2"),
            (["Xen", "HVM domU", "EC2B5A22-1", "", "Xen"], "ec2"),
            (["Google", "Google Compute Engine", "", "", "Google"], "gce"),
            (
                [
                    "Microsoft Corporation",
                    "Virtual Machine",
                    "",
                    AZURE_ASSET_TAG,
                    "",
                ],
                "azure",
            ),
            (
                ["OpenStack Foundation", "OpenStack Nova", "", "", ""],
                "openstack",
            ),
            (["QEMU", "OpenStack Compute", "", "", ""], "openstack"),
            (["T-Systems", "x", "", "OpenTelekomCloud", ""], "openstack"),
            (["DigitalOcean", "Droplet", "", "", ""], "digitalocean"),
            (["Hetzner", "vServer", "", "", ""], "hetzner"),
        ];
        for (dmi, kind) in cases {
            check(&machine(dmi), &[&format!("{kind} {LINK_LOCAL}")], &[]);
        }
        let nowhere = [
            ["QEMU", "Standard PC (Q35 + ICH9, 2009)", "", "", "EDK II"],
            [
                "Microsoft Corporation",
                "Virtual Machine",
                "",
                "1234-5678",
                "",
            ],
            ["Xen", "HVM domU", "ab12cd34", "", "Xen"],
            ["Dell Inc.", "ec2", "EC2B5A22", "", "Dell Inc."],
            ["", "", "", "", ""],
        ];
        for dmi in nowhere {
            check(&machine(dmi), &[], &[]);
        }
    }

    #[test]
    fn the_last_url_on_the_command_line_wins() {
        let pin = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let pinned = format!("strake.config.url=https://c/x strake.config.sha256={pin}");
        let cases: [(&str, &[&str]); 6] = [
            ("quiet cloud-config-url=http://a/1", &["url http://a/1"]),
            (
                "cloud-config-url=http://a/1 cloud_config_url=http://b/2\n",
                &["url http://b/2"],
            ),
            (&pinned, &[&format!("url https://c/x {pin}")]),
            ("x=\"a cloud-config-url=http://a/\" y", &[]),
            ("cloud-config-url=", &[]),
            ("cloud-config-url", &[]),
        ];
        for (command_line, expected) in cases {
            check(&booted_with(command_line), expected, &[]);
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_told() {
        check(
            &booted_with("cloud-config-url=ftp://a/1"),
            &[],
            &["cloud-config-url=ftp://a/1 is not an http or https URL"],
        );
        check(
            &booted_with("cloud-config-url=http://a/1 strake.config.sha256=12"),
            &[],
            &[
                "strake.config.sha256: a SHA-256 digest has 64 hexadecimal digits; \
               the config is not fetched",
            ],
        );
        check(
            &booted_with("ds=nocloud;s=tftp://a"),
            &[],
            &["ds=nocloud: \"tftp://a\" is not an http or https URL"],
        );
    }

    #[test]
    fn nocloud_is_named_by_the_command_line_or_the_serial_number() {
        let seed = "nocloud http://10.0.0.1/n1/";
        check(
            &booted_with("ds=nocloud;s=http://10.0.0.1/n1/"),
            &[seed],
            &[],
        );
        check(
            &booted_with("ds=nocloud-net;h=n1;seedfrom=http://10.0.0.1/n1"),
            &[seed],
            &[],
        );
        let mut facts = machine(["Hetzner", "", "", "", ""]);
        facts.product_serial = "ds=nocloud;s=http://10.0.0.1/n1/".to_string();
        check(&facts, &[seed], &[]);
        for local in [
            "ds=nocloud",
            "ds=nocloud;s=/seed/",
            "ds=nocloud;s=file:///x",
            "ds=ec2",
        ] {
            check(&booted_with(local), &[], &[]);
        }
    }

    #[test]
    fn a_url_comes_before_the_cloud_and_the_clouds_place_can_be_moved_for_tests() {
        let mut facts = machine(["DigitalOcean", "", "", "", ""]);
        facts.command_line =
            "cloud-config-url=http://a/ strake.metadata.url=http://10.0.2.2:81".into();
        check(
            &facts,
            &["url http://a/", "digitalocean http://10.0.2.2:81/"],
            &[],
        );
        facts.command_line = "strake.metadata.url=x".into();
        check(
            &facts,
            &[],
            &["strake.metadata.url=x is not an http or https URL"],
        );
        check(
            &booted_with("strake.metadata.url=http://10.0.2.2/"),
            &[],
            &[],
        );
    }
}
