//! Enables and masks units by the links that `systemctl` would make in the default /etc, and takes
//! orderings out of the packages' units, which no drop-in can.

use anyhow::{Context, Result};

use crate::BadInput;
use crate::recipe::UnitRule;
use crate::tree::{Node, Tree};

const OWN: &str = "etc/systemd/system";
const VENDOR: &str = "usr/lib/systemd/system";

/// What an `[Install]` section asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    /// Directories of links and who they belong to: (`multi-user.target`, `wants`).
    pulled_by: Vec<(String, &'static str)>,
    aliases: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

pub(super) fn apply(tree: &mut Tree, rules: &[UnitRule]) -> Result<()> {
    for rule in rules {
        match rule {
            UnitRule::Enable(name) => enable(tree, name, &mut Vec::new())?,
            UnitRule::Mask(name) => {
                tree.insert(&format!("{OWN}/{name}"), Node::symlink("/dev/null"));
            }
            UnitRule::Default(name) => {
                let file = find(tree, name)?;
                tree.insert(
                    &format!("{OWN}/default.target"),
                    Node::symlink(&format!("/{file}")),
                );
            }
            UnitRule::Unorder(name, later) => unorder(tree, name, later)?,
        }
    }
    Ok(())
}

fn unorder(tree: &mut Tree, name: &str, later: &str) -> Result<()> {
    let file = find(tree, name)?;
    let text = tree
        .read(&file)
        .with_context(|| format!("reading {file}"))?;
    let text = String::from_utf8_lossy(&text);
    let mut found = false;
    let mut keep = |word: &&str| {
        found |= *word == later;
        *word != later
    };
    let mut edited = String::with_capacity(text.len());
    for line in text.lines() {
        match line.strip_prefix("Before=") {
            Some(words) => {
                let kept: Vec<&str> = words.split_whitespace().filter(&mut keep).collect();
                edited.extend(["Before=", &kept.join(" ")]);
            }
            None => edited.push_str(line),
        }
        edited.push('\n');
    }
    if !found {
        let text = format!("units.txt: {name} is not ordered before {later}");
        return Err(BadInput(text).into());
    }
    tree.insert(&file, Node::file(0o644, edited.as_bytes()));
    Ok(())
}

fn enable(tree: &mut Tree, name: &str, done: &mut Vec<String>) -> Result<()> {
    if done.iter().any(|other| other == name) {
        return Ok(());
    }
    done.push(name.to_owned());
    let file = find(tree, name)?;
    let text = tree
        .read(&file)
        .with_context(|| format!("reading {file}"))?;
    let install = parse(&String::from_utf8_lossy(&text));
    if install == Install::default() {
        let text = format!("units.txt: {name} has no [Install] section to enable it by");
        return Err(BadInput(text).into());
    }
    let target = format!("/{file}");
    let instance = match (&install.default_instance, name.split_once("@.")) {
        (Some(instance), Some((stem, kind))) => format!("{stem}@{instance}.{kind}"),
        _ => name.to_owned(),
    };
    for (parent, kind) in &install.pulled_by {
        tree.insert(
            &format!("{OWN}/{parent}.{kind}/{instance}"),
            Node::symlink(&target),
        );
    }
    for alias in &install.aliases {
        tree.insert(&format!("{OWN}/{alias}"), Node::symlink(&target));
    }
    install
        .also
        .iter()
        .try_for_each(|also| enable(tree, also, done))
}

/// The file of a unit, or of its template.
fn find(tree: &Tree, name: &str) -> Result<String> {
    let template = name.split_once('@').and_then(|(stem, rest)| {
        rest.rsplit_once('.')
            .map(|(_, kind)| format!("{stem}@.{kind}"))
    });
    let names = [Some(name.to_owned()), template];
    let mut places = names
        .iter()
        .flatten()
        .flat_map(|name| [OWN, VENDOR].map(|directory| format!("{directory}/{name}")));
    let found = places.find(|path| tree.node(path).and_then(Node::content).is_some());
    found.ok_or_else(|| BadInput(format!("units.txt: the image has no unit {name}")).into())
}

fn parse(text: &str) -> Install {
    let mut install = Install::default();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        let words = || value.split_whitespace().map(str::to_owned);
        match key.trim() {
            "WantedBy" => install
                .pulled_by
                .extend(words().map(|name| (name, "wants"))),
            "RequiredBy" => install
                .pulled_by
                .extend(words().map(|name| (name, "requires"))),
            "UpheldBy" => install
                .pulled_by
                .extend(words().map(|name| (name, "upholds"))),
            "Alias" => install.aliases.extend(words()),
            "Also" => install.also.extend(words()),
            "DefaultInstance" => install.default_instance = words().next(),
            _ => {}
        }
    }
    install
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let mut unit = |name: &str, text: &str| {
            tree.insert(
                &format!("{VENDOR}/{name}"),
                Node::file(0o644, text.as_bytes()),
            );
        };
        unit(
            "a.service",
            "[Install]\nWantedBy=multi-user.target\nAlias=b.service\nAlso=a.socket\n",
        );
        unit(
            "a.socket",
            "[Install]\nWantedBy = sockets.target\nAlso=a.service\n",
        );
        unit(
            "t@.service",
            "[Install]\nWantedBy=multi-user.target\nDefaultInstance=one\n",
        );
        unit("static.service", "[Service]\nWantedBy=not.here\n");
        unit("multi-user.target", "");
        tree
    }

    #[track_caller]
    fn check(rule: UnitRule, expected: &[(&str, &str)]) {
        let mut tree = tree();
        apply(&mut tree, &[rule]).unwrap();
        let links: Vec<(&str, &str)> = tree
            .below(OWN)
            .filter_map(|(path, node)| match &node.kind {
                Kind::Symlink(target) => Some((path, target.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(links, expected);
    }

    #[test]
    fn a_unit_is_enabled_as_its_install_section_says() {
        check(
            UnitRule::Enable("a.service".into()),
            &[
                ("b.service", "/usr/lib/systemd/system/a.service"),
                (
                    "multi-user.target.wants/a.service",
                    "/usr/lib/systemd/system/a.service",
                ),
                (
                    "sockets.target.wants/a.socket",
                    "/usr/lib/systemd/system/a.socket",
                ),
            ],
        );
        let template = "/usr/lib/systemd/system/t@.service";
        let link = "multi-user.target.wants/t@";
        check(
            UnitRule::Enable("t@.service".into()),
            &[(&format!("{link}one.service"), template)],
        );
        check(
            UnitRule::Enable("t@x.service".into()),
            &[(&format!("{link}x.service"), template)],
        );
    }

    #[test]
    fn units_are_masked_and_the_default_is_set() {
        check(
            UnitRule::Mask("x.service".into()),
            &[("x.service", "/dev/null")],
        );
        let target = "/usr/lib/systemd/system/multi-user.target";
        check(
            UnitRule::Default("multi-user.target".into()),
            &[("default.target", target)],
        );
    }

    #[test]
    fn an_ordering_is_taken_out_and_nothing_else() {
        let mut tree = tree();
        let path = format!("{VENDOR}/slow.service");
        let text = "[Unit]\nBefore=a.target b.target\nAfter=a.target\n";
        tree.insert(&path, Node::file(0o644, text.as_bytes()));
        let rule = |later: &str| UnitRule::Unorder("slow.service".into(), later.into());
        apply(&mut tree, &[rule("a.target")]).unwrap();
        let edited = tree.read(&path).unwrap();
        assert_eq!(edited, b"[Unit]\nBefore=b.target\nAfter=a.target\n");
        let error = apply(&mut tree, &[rule("a.target")]).unwrap_err();
        assert!(error.is::<BadInput>(), "{error:#}");
    }

    #[test]
    fn a_unit_that_is_missing_or_static_is_refused() {
        for name in ["none.service", "static.service"] {
            let error = apply(&mut tree(), &[UnitRule::Enable(name.into())]).unwrap_err();
            assert!(
                error.is::<BadInput>() && error.to_string().contains(name),
                "{error:#}"
            );
        }
    }
}
