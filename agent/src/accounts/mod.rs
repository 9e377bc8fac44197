//! Users and groups: the four account files as text, changed without NSS or shadow-utils.
//!
//! Pure: the caller reads the files and writes what comes out.

pub mod ids;
pub mod table;

use std::collections::BTreeSet;

use ids::{Ids, Range};
use table::Table;

/// A user that has to exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// A crypt(3) hash; `*` (no password works) when there is none.
    pub password: Option<String>,
    pub gecos: Option<String>,
    pub home: Option<String>,
    pub shell: Option<String>,
    pub primary_group: Option<String>,
    pub groups: Vec<String>,
    pub own_group: OwnGroup,
    pub class: Class,
}

/// Whether a new user gets a group of its own name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OwnGroup {
    #[default]
    Made,
    /// The group `users` is the primary one instead.
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Class {
    #[default]
    Ordinary,
    System,
}

/// Ids of a user that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("user {user}: the group {group} does not exist")]
    NoGroup { user: String, group: String },
    #[error("{name}: no free id is left")]
    NoId { name: String },
}

const DEFAULT_SHELL: &str = "/bin/bash";
const NO_PASSWORD: &str = "*";

/// Text of the account files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    pub passwd: Table,
    pub shadow: Table,
    pub group: Table,
    pub gshadow: Table,
    pub ids: Ids,
}

impl Accounts {
    /// Makes the user, or changes an existing one: of a user that is in the image only the
    /// password and further groups are taken, as the CoreOS tool did for the password. A further
    /// group that does not exist is passed over: see [`Accounts::missing_groups`].
    pub fn ensure(&mut self, user: &User) -> Result<Owner, Refused> {
        if self.passwd.contains(&user.name) {
            if let Some(hash) = &user.password {
                self.change_password(&user.name, hash);
            }
        } else {
            self.add(user)?;
        }
        for group in &user.groups {
            self.group.add_member(group, 3, &user.name);
            self.gshadow.add_member(group, 3, &user.name);
        }
        self.owner(&user.name).ok_or_else(|| Refused::NoId {
            name: user.name.clone(),
        })
    }

    /// Takes a user that a config made out again, with the group of its name if that was made too.
    /// Its numbers stay reserved: files in DATA still are its own.
    pub fn remove(&mut self, name: &str) {
        if !self.ids.users.contains_key(name) {
            return;
        }
        self.passwd.remove(name);
        self.shadow.remove(name);
        if self.ids.groups.contains_key(name) {
            self.group.remove(name);
            self.gshadow.remove(name);
        }
        self.group.remove_member(3, name);
        self.gshadow.remove_member(3, name);
    }

    pub fn missing_groups<'a>(&self, user: &'a User) -> Vec<&'a str> {
        let groups = user
            .groups
            .iter()
            .filter(|group| !self.group.contains(group));
        groups.map(String::as_str).collect()
    }

    pub fn owner(&self, name: &str) -> Option<Owner> {
        Some(Owner {
            uid: self.passwd.field(name, 2)?.parse().ok()?,
            gid: self.passwd.field(name, 3)?.parse().ok()?,
            home: self.passwd.field(name, 5)?.to_string(),
        })
    }

    pub fn uid(&self, name: &str) -> Option<u32> {
        self.passwd.field(name, 2)?.parse().ok()
    }

    /// A group's number by name.
    pub fn gid(&self, group: &str) -> Option<u32> {
        self.group.field(group, 2)?.parse().ok()
    }

    /// A group with this name and no members, made when missing.
    pub fn ensure_group(&mut self, name: &str, class: Class) -> Result<u32, Refused> {
        match self.gid(name) {
            Some(gid) => Ok(gid),
            None => self.add_group(name, None, class),
        }
    }

    fn add(&mut self, user: &User) -> Result<(), Refused> {
        let named_group = user.primary_group.as_deref().or(match user.own_group {
            OwnGroup::None => Some("users"),
            OwnGroup::Made => None,
        });
        let named_gid = match named_group {
            Some(group) => Some(self.gid(group).ok_or_else(|| Refused::NoGroup {
                user: user.name.clone(),
                group: group.to_string(),
            })?),
            None => self.gid(&user.name),
        };
        let taken = numbers(&self.passwd);
        let uid = ids::choose(
            &mut self.ids.users,
            &taken,
            &user.name,
            None,
            user.class.range(),
        )
        .ok_or_else(|| Refused::NoId {
            name: user.name.clone(),
        })?;
        let gid = match named_gid {
            Some(gid) => gid,
            None => self.add_group(&user.name, Some(uid), user.class)?,
        };
        let home = user
            .home
            .clone()
            .unwrap_or_else(|| format!("/home/{}", user.name));
        self.passwd.push(&[
            &user.name,
            "x",
            &uid.to_string(),
            &gid.to_string(),
            user.gecos.as_deref().unwrap_or_default(),
            &home,
            user.shell.as_deref().unwrap_or(DEFAULT_SHELL),
        ]);
        self.shadow.push(&[
            &user.name,
            user.password.as_deref().unwrap_or(NO_PASSWORD),
            "",
            "",
            "",
            "",
            "",
            "",
            "",
        ]);
        Ok(())
    }

    fn add_group(&mut self, name: &str, wanted: Option<u32>, class: Class) -> Result<u32, Refused> {
        let taken = numbers(&self.group);
        let gid = ids::choose(&mut self.ids.groups, &taken, name, wanted, class.range())
            .ok_or_else(|| Refused::NoId {
                name: name.to_string(),
            })?;
        self.group.push(&[name, "x", &gid.to_string(), ""]);
        self.gshadow.push(&[name, "!", "", ""]);
        Ok(gid)
    }

    fn change_password(&mut self, name: &str, hash: &str) {
        if self.shadow.contains(name) {
            self.shadow.change(name, 1, hash);
        } else {
            self.shadow.push(&[name, hash, "", "", "", "", "", "", ""]);
        }
    }
}

impl Class {
    fn range(self) -> Range {
        match self {
            Class::Ordinary => Range::Ordinary,
            Class::System => Range::System,
        }
    }
}

fn numbers(table: &Table) -> BTreeSet<u32> {
    table
        .column(2)
        .filter_map(|(_, id)| id.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Accounts {
        Accounts {
            passwd: Table::parse(
                "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500::/home/core:/bin/bash\n",
            ),
            shadow: Table::parse("root:*:::::::\ncore:*:::::::\n"),
            group: Table::parse("root:x:0:\nsudo:x:27:core\nusers:x:100:\ncore:x:500:\n"),
            gshadow: Table::parse("root:*::\nsudo:*::core\nusers:*::\ncore:!::\n"),
            ids: Ids::default(),
        }
    }

    fn named(name: &str) -> User {
        User {
            name: name.to_string(),
            ..User::default()
        }
    }

    #[test]
    fn a_new_user_gets_a_group_of_its_own_bash_and_no_password() {
        let mut accounts = image();
        let anna = User {
            groups: vec!["sudo".into()],
            ..named("anna")
        };
        let owner = accounts.ensure(&anna).expect("made");
        assert_eq!(
            owner,
            Owner {
                uid: 1000,
                gid: 1000,
                home: "/home/anna".into()
            }
        );
        let tail = |table: &Table| table.to_string().lines().last().unwrap_or("").to_string();
        assert_eq!(
            tail(&accounts.passwd),
            "anna:x:1000:1000::/home/anna:/bin/bash"
        );
        assert_eq!(tail(&accounts.shadow), "anna:*:::::::");
        assert_eq!(tail(&accounts.group), "anna:x:1000:");
        assert_eq!(tail(&accounts.gshadow), "anna:!::");
        assert_eq!(accounts.group.field("sudo", 3), Some("core,anna"));
        assert_eq!(accounts.gshadow.field("sudo", 3), Some("core,anna"));
    }

    #[test]
    fn ensuring_twice_changes_nothing_more() {
        let mut once = image();
        let user = User {
            password: Some("$6$x".into()),
            ..named("anna")
        };
        once.ensure(&user).expect("made");
        let mut twice = once.clone();
        twice.ensure(&user).expect("there");
        assert_eq!(once, twice);
    }

    #[test]
    fn of_an_existing_user_only_password_and_groups_change() {
        let mut accounts = image();
        let core = User {
            password: Some("$6$hash".into()),
            shell: Some("/bin/zsh".into()),
            groups: vec!["users".into()],
            ..named("core")
        };
        accounts.ensure(&core).expect("there");
        assert_eq!(accounts.passwd, image().passwd);
        assert_eq!(accounts.shadow.field("core", 1), Some("$6$hash"));
        assert_eq!(accounts.group.field("users", 3), Some("core"));
    }

    #[test]
    fn an_unknown_group_is_passed_over_and_an_unknown_primary_one_refused() {
        let mut accounts = image();
        let groups = vec!["sudo".to_string(), "wheel".to_string()];
        let user = User {
            groups,
            ..named("anna")
        };
        assert_eq!(accounts.missing_groups(&user), ["wheel"]);
        accounts.ensure(&user).expect("made");
        assert_eq!(accounts.group.field("sudo", 3), Some("core,anna"));
        let before = accounts.clone();
        let user = User {
            primary_group: Some("wheel".into()),
            ..named("bert")
        };
        let refused = Refused::NoGroup {
            user: "bert".into(),
            group: "wheel".into(),
        };
        assert_eq!(accounts.ensure(&user), Err(refused));
        assert_eq!(accounts, before);
    }

    #[test]
    fn kinds_of_primary_group() {
        let mut accounts = image();
        let with = |name: &str, primary: Option<&str>, own_group, class| User {
            primary_group: primary.map(str::to_string),
            own_group,
            class,
            ..named(name)
        };
        let cases = [
            (
                with("a", Some("sudo"), OwnGroup::Made, Class::Ordinary),
                (1000, 27),
            ),
            (
                with("b", None, OwnGroup::None, Class::Ordinary),
                (1001, 100),
            ),
            (with("c", None, OwnGroup::Made, Class::System), (999, 999)),
        ];
        for (user, (uid, gid)) in cases {
            let owner = accounts.ensure(&user).expect("made");
            assert_eq!((owner.uid, owner.gid), (uid, gid), "{}", user.name);
        }
    }
}
