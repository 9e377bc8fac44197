//! The kernel of the image: which version it is, its modules decompressed and indexed, and the
//! dependency closure that the initrd needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::program;
use crate::tools::Tools;
use crate::tree::{Patterns, Tree, read_directory, write_directory};

pub const MODULES: &str = "usr/lib/modules";

/// Files of packages beside the modules that no running machine reads.
const BESIDE: [&str; 3] = ["vmlinuz", "System.map", "config"];

/// Version and path of the one kernel in the tree; packages have it in `boot`, newer ones beside
/// its modules.
pub fn image(tree: &Tree) -> Result<(String, String)> {
    let old = tree.below("boot").filter_map(|(name, _)| {
        let version = name.strip_prefix("vmlinuz-")?;
        Some((version.to_owned(), format!("boot/{name}")))
    });
    let new = tree.below(MODULES).filter_map(|(name, _)| {
        let version = name.strip_suffix("/vmlinuz")?;
        Some((version.to_owned(), format!("{MODULES}/{name}")))
    });
    let mut kernels: Vec<_> = old.chain(new).collect();
    match (kernels.pop(), kernels.is_empty()) {
        (Some(kernel), true) => Ok(kernel),
        (None, _) => {
            bail!("no package of the recipe has a kernel (boot/vmlinuz-*, {MODULES}/*/vmlinuz)")
        }
        (Some(last), false) => {
            kernels.push(last);
            let versions: Vec<String> = kernels.into_iter().map(|kernel| kernel.0).collect();
            bail!("the packages have several kernels: {}", versions.join(", "))
        }
    }
}

/// Modules as plain `.ko`, with indexes. Deltas between releases and the boot want no compression.
pub fn plain_modules(
    tools: &Tools,
    packages: &Tree,
    version: &str,
    dropped: &Patterns,
    scratch: &Path,
) -> Result<Tree> {
    let directory = format!("{MODULES}/{version}");
    let mut modules = packages.moved(&directory, "");
    modules.trim(dropped);
    BESIDE.iter().for_each(|name| modules.remove(name));
    write_directory(&modules.moved_below(&directory), scratch)?;
    // depmod looks below lib/modules.
    std::os::unix::fs::symlink("usr/lib", scratch.join("lib")).context("linking lib")?;
    let mut command = tools.command("sh");
    let script = "find \"$0\" -name '*.ko.xz' -print0 | xargs -0 -r -n 16 -P \"$(nproc)\" xz -d; \
                  depmod -b \"$0\" \"$1\"";
    command.args(["-euc", script]).arg(scratch).arg(version);
    program::run(&mut command).context("decompressing and indexing the kernel's modules")?;
    fs::remove_file(scratch.join("lib")).context("removing the link lib")?;
    let mut plain = read_directory(scratch)?;
    plain.normalize_modes();
    Ok(plain)
}

/// `modules.dep`: each module's file and the files that it needs.
#[derive(Debug, Default)]
pub struct Dependencies {
    needs: BTreeMap<String, Vec<String>>,
    by_name: BTreeMap<String, String>,
    builtin: BTreeSet<String>,
}

impl Dependencies {
    pub fn parse(modules_dep: &str, modules_builtin: &str) -> Self {
        let mut parsed = Self::default();
        for line in modules_dep.lines() {
            if let Some((file, needs)) = line.split_once(':') {
                parsed.by_name.insert(name(file), file.to_owned());
                let needs = needs.split_whitespace().map(str::to_owned).collect();
                parsed.needs.insert(file.to_owned(), needs);
            }
        }
        parsed.builtin = modules_builtin.lines().map(name).collect();
        parsed
    }

    /// Files of the named modules and of what they need. A name that the kernel has neither as a
    /// module nor built in is a mistake in the list.
    pub fn closure(&self, names: &[String]) -> Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        let mut unknown = Vec::new();
        for wanted in names {
            let wanted = wanted.replace('-', "_");
            match self.by_name.get(&wanted) {
                Some(file) => {
                    files.insert(file.clone());
                    files.extend(self.needs[file].iter().cloned());
                }
                None if self.builtin.contains(&wanted) => {}
                None => unknown.push(wanted),
            }
        }
        if unknown.is_empty() {
            return Ok(files);
        }
        bail!(
            "initrd-modules.txt: the kernel has no {}",
            unknown.join(", ")
        )
    }

    /// The part of `modules.dep` that is about these files.
    pub fn restricted(&self, files: &BTreeSet<String>) -> String {
        let line = |file: &String| {
            let needs: Vec<&str> = self.needs[file].iter().map(String::as_str).collect();
            format!("{}\n", format!("{file}: {}", needs.join(" ")).trim_end())
        };
        files
            .iter()
            .filter(|file| self.needs.contains_key(*file))
            .map(line)
            .collect()
    }
}

/// The module's name: without directories and suffixes, `_` for `-`.
fn name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split('.').next().unwrap_or(base).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    const DEP: &str = "kernel/a/dm-verity.ko: kernel/a/dm-bufio.ko kernel/a/dm-mod.ko\n\
                       kernel/a/dm-bufio.ko: kernel/a/dm-mod.ko\nkernel/a/dm-mod.ko:\n\
                       kernel/fs/xfs.ko:\n";

    #[test]
    fn the_closure_has_what_a_module_needs_and_no_more() {
        let dependencies = Dependencies::parse(DEP, "kernel/fs/ext4.ko\n");
        let files = dependencies
            .closure(&["dm_verity".into(), "ext4".into()])
            .unwrap();
        assert_eq!(
            dependencies.restricted(&files),
            "kernel/a/dm-bufio.ko: kernel/a/dm-mod.ko\nkernel/a/dm-mod.ko:\n\
             kernel/a/dm-verity.ko: kernel/a/dm-bufio.ko kernel/a/dm-mod.ko\n"
        );
    }

    #[test]
    fn the_one_kernel_is_found_in_boot_or_beside_its_modules() {
        let tree = |paths: &[&str]| {
            let mut tree = Tree::default();
            for path in paths {
                tree.insert(path, Node::file(0o644, *b"kernel"));
            }
            image(&tree).map_err(|error| error.to_string())
        };
        let found = |version: &str, path: &str| Ok((version.to_owned(), path.to_owned()));
        let new = "usr/lib/modules/7.2/vmlinuz";
        assert_eq!(
            tree(&["boot/vmlinuz-6.12"]),
            found("6.12", "boot/vmlinuz-6.12")
        );
        assert_eq!(tree(&[new]), found("7.2", new));
        assert!(
            tree(&["boot/config-6.12"])
                .unwrap_err()
                .contains("no package")
        );
        let both = tree(&["boot/vmlinuz-6.12", new]).unwrap_err();
        assert!(both.ends_with("several kernels: 6.12, 7.2"), "{both}");
    }

    #[test]
    fn a_module_that_does_not_exist_is_a_mistake() {
        let dependencies = Dependencies::parse(DEP, "");
        let error = dependencies.closure(&["virtio_blkk".into()]).unwrap_err();
        assert!(error.to_string().contains("virtio_blkk"));
    }
}
