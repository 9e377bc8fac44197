//! Loading one kernel module with what it depends on, without modprobe.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

pub fn load(name: &str) -> Result<()> {
    let uname = nix::sys::utsname::uname().context("asking for the kernel's release")?;
    let dir = Path::new("/usr/lib/modules").join(uname.release());
    let table = std::fs::read_to_string(dir.join("modules.dep")).context("reading modules.dep")?;
    let files =
        in_order(&table, name).with_context(|| format!("this kernel has no module {name}"))?;
    for path in files {
        let file = File::open(dir.join(path)).with_context(|| format!("opening {path}"))?;
        match finit_module(file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("loading {path}")),
        }
    }
    Ok(())
}

/// Paths of the module and of what it needs, dependencies first.
fn in_order<'a>(modules_dep: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let (path, needs) = modules_dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(path, _)| module_name(path) == name)?;
    // depmod lists the nearest dependency first.
    let mut files: Vec<&str> = needs.split_whitespace().rev().collect();
    files.push(path);
    Some(files)
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first() {
        let table = "kernel/fs/isofs/isofs.ko: kernel/b.ko kernel/a.ko\nkernel/b.ko: kernel/a.ko\n";
        let expected = vec!["kernel/a.ko", "kernel/b.ko", "kernel/fs/isofs/isofs.ko"];
        assert_eq!(in_order(table, "isofs"), Some(expected));
        assert_eq!(in_order(table, "missing"), None);
    }
}
