//! Home directories of users: made by systemd-tmpfiles once DATA is mounted. Pure.

use std::fmt::Write;

use crate::accounts::Owner;

pub const TMPFILES: &str = "/etc/tmpfiles.d/strake-users.conf";

#[derive(Debug, Default)]
pub struct Homes {
    lines: String,
}

impl Homes {
    pub fn add(&mut self, owner: &Owner) {
        // `/home` is a link to `/var/home`; tmpfiles is given the real place.
        let home = match owner.home.strip_prefix("/home/") {
            Some(name) => format!("/var/home/{name}"),
            None => owner.home.clone(),
        };
        let quoted = home
            .replace('%', "%%")
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        let _ = writeln!(
            self.lines,
            "d \"{quoted}\" 0750 {} {} -",
            owner.uid, owner.gid
        );
    }

    pub fn tmpfiles(self) -> Option<String> {
        (!self.lines.is_empty()).then_some(self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_below_home_are_made_in_var() {
        let mut homes = Homes::default();
        for home in ["/home/anna", "/var/lib/app", "/srv/100% \"x\""] {
            homes.add(&Owner {
                uid: 1000,
                gid: 27,
                home: home.into(),
            });
        }
        let expected = "d \"/var/home/anna\" 0750 1000 27 -\n\
                        d \"/var/lib/app\" 0750 1000 27 -\n\
                        d \"/srv/100%% \\\"x\\\"\" 0750 1000 27 -\n";
        assert_eq!(homes.tmpfiles().as_deref(), Some(expected));
    }
}
