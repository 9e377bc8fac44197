use std::collections::HashSet;

use super::UserSpec;
use crate::config::{Config, User};
use crate::substitution::restore;

const CORE: &str = "core";

/// The users in their order; keys given for the machine are keys of `core`.
pub(super) fn users(config: &Config) -> Vec<UserSpec> {
    let mut users: Vec<UserSpec> = config.users.iter().map(spec).collect();
    if config.ssh_authorized_keys.is_empty() {
        return users;
    }
    let index = users
        .iter()
        .position(|user| user.name == CORE)
        .unwrap_or_else(|| {
            users.insert(
                0,
                spec(&User {
                    name: CORE.to_owned(),
                    ..User::default()
                }),
            );
            0
        });
    let core = &mut users[index];
    let own = std::mem::take(&mut core.ssh_authorized_keys);
    let all = config
        .ssh_authorized_keys
        .iter()
        .map(|key| restore(key).into_owned())
        .chain(own);
    let mut known = HashSet::new();
    core.ssh_authorized_keys = all.filter(|key| known.insert(key.clone())).collect();
    users
}

fn spec(user: &User) -> UserSpec {
    let text = |text: &String| restore(text).into_owned();
    UserSpec {
        name: user.name.clone(),
        passwd: user.passwd.clone(),
        gecos: user.gecos.as_ref().map(text),
        home: user.homedir.as_ref().map(text),
        create_home: !user.no_create_home,
        primary_group: user.primary_group.clone(),
        groups: user.groups.clone(),
        own_group: !user.no_user_group,
        system: user.system,
        shell: user.shell.as_ref().map(text),
        ssh_authorized_keys: user.ssh_authorized_keys.iter().map(text).collect(),
        key_imports: user.key_imports.clone(),
    }
}
