//! A plan as text: one line for each thing to be done. `{:#}` adds what the files hold.

use std::fmt;

use super::{Body, Enable, FileSpec, Plan, UnitSpec, UserSpec};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hostname) = &self.hostname {
            writeln!(f, "{:<11} hostname {}", hostname.phase, hostname.name)?;
        }
        for user in &self.users {
            writeln!(f, "{:<11} user {user}", "before-boot")?;
        }
        for file in &self.files {
            writeln!(f, "{:<11} {file}", file.phase)?;
            if f.alternate() {
                write_content(f, &file.body)?;
            }
        }
        for unit in &self.units {
            writeln!(f, "{:<11} unit {unit}", unit.phase)?;
        }
        for script in &self.scripts {
            writeln!(
                f,
                "{:<11} run script, {} bytes",
                script.phase,
                script.text.len()
            )?;
        }
        Ok(())
    }
}

fn write_content(f: &mut fmt::Formatter<'_>, body: &Body) -> fmt::Result {
    let (Body::Content(bytes) | Body::Append(bytes)) = body else {
        return Ok(());
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => text
            .split_inclusive('\n')
            .try_for_each(|line| match line.strip_suffix('\n') {
                Some(line) => writeln!(f, "    | {line}"),
                None => writeln!(f, "    | {line} (no line break)"),
            }),
        Err(_) => writeln!(f, "    ({} bytes that are no text)", bytes.len()),
    }
}

impl fmt::Display for FileSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path, mode, owner, ..
        } = self;
        match &self.body {
            Body::Content(bytes) => {
                write!(f, "write {path} {mode:04o} {owner}, {} bytes", bytes.len())
            }
            Body::Append(bytes) => {
                write!(
                    f,
                    "append to {path} {mode:04o} {owner}, {} bytes",
                    bytes.len()
                )
            }
            Body::Symlink(target) => write!(f, "link {path} -> {target}"),
            Body::Source(source) => {
                write!(f, "fetch {path} {mode:04o} {owner} from {}", source.url)
            }
            Body::UpdateConf(values) => write_values(f, path, values.values()),
            Body::Environment(values) => write_values(f, path, values.values()),
        }
    }
}

fn write_values<'v>(
    f: &mut fmt::Formatter<'_>,
    path: &str,
    values: impl Iterator<Item = (&'v str, &'v str)>,
) -> fmt::Result {
    write!(f, "set in {path}:")?;
    for (name, value) in values {
        write!(f, " {name}={value}")?;
    }
    Ok(())
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(group) = &self.primary_group {
            write!(f, ", group {group}")?;
        }
        if !self.groups.is_empty() {
            write!(f, ", groups {}", self.groups.join(" "))?;
        }
        if let Some(home) = &self.home {
            write!(f, ", home {home}")?;
        }
        if let Some(shell) = &self.shell {
            write!(f, ", shell {shell}")?;
        }
        if self.system {
            f.write_str(", system")?;
        }
        if self.passwd.is_some() {
            f.write_str(", password")?;
        }
        match self.ssh_authorized_keys.len() {
            0 => Ok(()),
            1 => f.write_str(", 1 key"),
            keys => write!(f, ", {keys} keys"),
        }?;
        self.key_imports
            .iter()
            .try_for_each(|import| write!(f, ", keys from {}", import.url))
    }
}

impl fmt::Display for UnitSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let mut comma = ":";
        let mut say = |f: &mut fmt::Formatter<'_>, text: &str| {
            write!(f, "{} {text}", std::mem::replace(&mut comma, ","))
        };
        if self.mask {
            say(f, "mask")?;
        }
        if self.enable != Enable::Keep {
            say(f, "enable")?;
        }
        match self.command {
            Some(command) => say(f, &command.to_string())?,
            None if self.changes_files => say(f, "files changed")?,
            None => {}
        }
        Ok(())
    }
}
