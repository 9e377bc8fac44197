//! `users`.

use std::collections::HashSet;

use super::findings::{Findings, Path, shown};
use super::view::View;
use crate::config::{KeyImport, User};
use crate::problem::{Level, Rule};

pub(super) fn read(root: View<'_>, out: &mut Findings<'_>) -> Vec<User> {
    let path = Path::Root.key("users");
    let mut users = Vec::new();
    let mut names = HashSet::new();
    for (index, view) in root.views("users") {
        let Some(user) = read_one(view) else { continue };
        let path = path.index(index);
        let place = view.get("name").map_or(0..1, |node| node.span.clone());
        if !names.insert(user.name.clone()) {
            let message = format!("the user {} is given twice", shown(&user.name));
            out.add(
                (Level::Error, Rule::DuplicateEntry),
                &place,
                &path.key("name"),
                message,
            )
            .hint("join the two entries");
            continue;
        }
        if user.no_user_group && user.primary_group.is_none() {
            let message =
                "without a group of its own and without primary_group the user's group is users";
            out.add((Level::Info, Rule::NoEffect), &place, &path, message);
        }
        users.push(user);
    }
    users
}

fn read_one(view: View<'_>) -> Option<User> {
    let name = view.string("name")?;
    Some(User {
        passwd: view.string("passwd"),
        gecos: view.string("gecos"),
        homedir: view.string("homedir"),
        no_create_home: view.flag("no_create_home").unwrap_or_default(),
        primary_group: view.string("primary_group"),
        groups: view.strings("groups"),
        no_user_group: view.flag("no_user_group").unwrap_or_default(),
        system: view.flag("system").unwrap_or_default(),
        no_log_init: view.flag("no_log_init").unwrap_or_default(),
        shell: view.string("shell"),
        ssh_authorized_keys: keys(view),
        key_imports: imports(view, &name),
        name,
    })
}

/// Public keys, without the line break that a block scalar leaves at the end.
pub(super) fn keys(view: View<'_>) -> Vec<String> {
    let keys = view.strings("ssh_authorized_keys").into_iter();
    keys.map(|key| key.trim().to_owned())
        .filter(|key| !key.is_empty())
        .collect()
}

fn imports(view: View<'_>, user: &str) -> Vec<KeyImport> {
    let mut names = view.strings("coreos_ssh_import_github_users");
    names.splice(0..0, view.string("coreos_ssh_import_github"));
    let github = names.into_iter().map(|name| KeyImport {
        url: format!("https://api.github.com/users/{name}/keys"),
        key_set: format!("github-{name}"),
    });
    let url = view.string("coreos_ssh_import_url");
    let url = url.map(|url| KeyImport {
        url,
        key_set: format!("coreos-cloudinit-{user}"),
    });
    github.chain(url).collect()
}
