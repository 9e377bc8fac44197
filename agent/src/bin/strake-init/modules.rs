//! Kernel modules: the listed ones and what they need, in the order modules.dep implies. Missing
//! hardware, and modules that are already there, are no error. Compressed modules are refused by
//! the kernel and become warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Condvar, Mutex};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::timeline::Timeline;

const LIST: &str = "/etc/strake-init/modules";

pub(crate) fn load_listed(timeline: &mut Timeline) -> Result<()> {
    let system = nix::sys::utsname::uname().context("asking for the kernel's release")?;
    let directory = Path::new("/usr/lib/modules").join(system.release());
    let dependencies = directory.join("modules.dep");
    let dependencies = fs::read_to_string(&dependencies)
        .with_context(|| format!("reading {}", dependencies.display()))?;
    let list = fs::read_to_string(LIST).with_context(|| format!("reading {LIST}"))?;
    let order = Order::of(&dependencies, &list);
    for name in &order.absent {
        timeline.debug(format_args!(
            "{name} is not in modules.dep: taken as built in"
        ));
    }
    for warning in load_all(&order, |file| load(&directory.join(file))) {
        timeline.warn(warning);
    }
    Ok(())
}

/// Two at once, since most of the time goes into one processor's work for one module; each after
/// those it needs. Says what went wrong.
fn load_all(order: &Order<'_>, load: impl Fn(&str) -> Result<Loaded> + Sync) -> Vec<String> {
    let progress = Mutex::new(Progress::default());
    let changed = Condvar::new();
    let work = || {
        let mut state = progress.lock().expect("no loader panics");
        while state.started.len() < order.files.len() {
            let Some(file) = state.next(order) else {
                state = changed.wait(state).expect("no loader panics");
                continue;
            };
            state.started.insert(file);
            // It would fail too, with a screenful of unknown symbols from the kernel.
            let in_vain = order.needs(file).any(|need| state.useless.contains(need));
            drop(state);
            let loaded = match in_vain {
                true => Ok(Loaded::NoHardware),
                false => load(file),
            };
            state = progress.lock().expect("no loader panics");
            state.done.insert(file);
            match loaded {
                Ok(Loaded::Yes) => {}
                Ok(Loaded::NoHardware) => drop(state.useless.insert(file)),
                Err(error) => state.warnings.push(format!("loading {file}: {error:#}")),
            }
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    progress.into_inner().expect("no loader panics").warnings
}

#[derive(Default)]
struct Progress<'a> {
    started: BTreeSet<&'a str>,
    done: BTreeSet<&'a str>,
    /// Found no hardware, or need one that did not.
    useless: BTreeSet<&'a str>,
    warnings: Vec<String>,
}

impl<'a> Progress<'a> {
    /// The first that waits for nothing. While some are being loaded there may be none; with none
    /// being loaded there is one, because each file stands behind those it needs.
    fn next(&self, order: &Order<'a>) -> Option<&'a str> {
        let idle = self.started.len() == self.done.len();
        let ready = |file: &str| order.needs(file).all(|need| self.is_settled(order, need));
        let waiting = || {
            order
                .files
                .iter()
                .filter(|file| !self.started.contains(*file))
        };
        let found = waiting().find(|file| ready(file));
        // A cycle in modules.dep: the kernel decides.
        found.or_else(|| waiting().next().filter(|_| idle)).copied()
    }

    fn is_settled(&self, order: &Order<'a>, need: &str) -> bool {
        self.done.contains(need) || !order.files.contains(&need)
    }
}

enum Loaded {
    Yes,
    NoHardware,
}

fn load(path: &Path) -> Result<Loaded> {
    let file = File::open(path)?;
    match finit_module(file, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(Loaded::Yes),
        Err(Errno::ENODEV) => Ok(Loaded::NoHardware),
        Err(error) => Err(error.into()),
    }
}

/// What to load, each file after those it needs, and the names modules.dep does not know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order<'a> {
    files: Vec<&'a str>,
    absent: Vec<&'a str>,
    needs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Order<'a> {
    fn of(dependencies: &'a str, list: &'a str) -> Order<'a> {
        let needs: BTreeMap<&str, &str> = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .collect();
        let by_name: BTreeMap<String, &str> = needs
            .keys()
            .map(|file| (module_name(file), *file))
            .collect();
        let mut order = Order::default();
        let mut seen = BTreeSet::new();
        for name in list.lines().map(str::trim) {
            if name.is_empty() || name.starts_with('#') {
                continue;
            }
            match by_name.get(&module_name(name)) {
                Some(file) => order.add(file, &needs, &mut seen),
                None => order.absent.push(name),
            }
        }
        order.needs = needs;
        order
    }

    /// The files that modules.dep names for one.
    fn needs(&self, file: &str) -> impl Iterator<Item = &'a str> {
        let needed = self.needs.get(file).copied().unwrap_or_default();
        needed.split_whitespace()
    }

    /// A file is marked as seen before what it needs, so a cycle ends instead of recurring.
    fn add(
        &mut self,
        file: &'a str,
        needs: &BTreeMap<&'a str, &'a str>,
        seen: &mut BTreeSet<&'a str>,
    ) {
        if !seen.insert(file) {
            return;
        }
        // depmod writes the nearest need first and the innermost last.
        for needed in needs
            .get(file)
            .copied()
            .unwrap_or_default()
            .split_whitespace()
            .rev()
        {
            self.add(needed, needs, seen);
        }
        self.files.push(file);
    }
}

/// The kernel's name of a module, which knows no difference between `-` and `_`.
fn module_name(file: &str) -> String {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "\
kernel/md/dm-mod.ko:
kernel/md/dm-bufio.ko: kernel/md/dm-mod.ko
kernel/md/dm-verity.ko: kernel/md/dm-bufio.ko kernel/md/dm-mod.ko
kernel/fs/erofs.ko: kernel/lib/lz4.ko
kernel/lib/lz4.ko:
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/c.ko
kernel/c.ko: kernel/a.ko
kernel/self.ko: kernel/self.ko
no colon here
";

    #[track_caller]
    fn check(list: &str, files: &str, absent: &str) {
        let order = Order::of(DEPENDENCIES, list);
        let names: Vec<String> = order.files.iter().map(|file| module_name(file)).collect();
        assert_eq!(names.join(" "), files);
        assert_eq!(order.absent.join(" "), absent);
    }

    #[test]
    fn a_module_comes_after_all_it_needs_and_only_once() {
        check("dm-verity", "dm_mod dm_bufio dm_verity", "");
        check(
            "dm_verity\nerofs\ndm-mod\n",
            "dm_mod dm_bufio dm_verity lz4 erofs",
            "",
        );
        check("erofs\n\n# comment\n  dm_mod  \n", "lz4 erofs dm_mod", "");
    }

    #[test]
    fn names_that_are_built_in_are_set_aside() {
        check("ext4\nerofs\nvirtio_pci", "lz4 erofs", "ext4 virtio_pci");
        check("", "", "");
    }

    #[track_caller]
    fn check_loading(list: &str, useless: &[&str]) -> Vec<String> {
        let order = Order::of(DEPENDENCIES, list);
        let log = Mutex::new(Vec::new());
        let warnings = load_all(&order, |file| {
            let name = module_name(file);
            log.lock().unwrap().push(name.clone());
            match useless.contains(&name.as_str()) {
                true => Ok(Loaded::NoHardware),
                false => Ok(Loaded::Yes),
            }
        });
        assert_eq!(warnings, [""; 0]);
        log.into_inner().unwrap()
    }

    #[test]
    fn two_loaders_keep_what_is_needed_before_what_needs_it() {
        for _ in 0..200 {
            let log = check_loading("dm-verity\nerofs", &[]);
            let place = |name: &str| log.iter().position(|other| other == name).unwrap();
            assert_eq!(log.len(), 5);
            assert!(place("dm_mod") < place("dm_bufio") && place("dm_bufio") < place("dm_verity"));
            assert!(place("lz4") < place("erofs"));
        }
    }

    #[test]
    fn what_needs_a_module_without_hardware_is_not_tried() {
        assert_eq!(
            check_loading("dm-verity", &["dm_bufio"]),
            ["dm_mod", "dm_bufio"]
        );
    }

    #[test]
    fn loading_ends_with_a_cycle_too() {
        assert_eq!(check_loading("a\nself", &[]).len(), 4);
    }

    #[test]
    fn what_a_file_needs_is_known_afterwards() {
        let order = Order::of(DEPENDENCIES, "dm-verity");
        let needs: Vec<&str> = order.needs("kernel/md/dm-verity.ko").collect();
        assert_eq!(needs, ["kernel/md/dm-bufio.ko", "kernel/md/dm-mod.ko"]);
        assert_eq!(order.needs("kernel/md/dm-mod.ko").count(), 0);
    }

    #[test]
    fn cycles_end() {
        check("a", "c b a", "");
        check("self\nb", "self a c b", "");
    }

    #[test]
    fn what_a_file_needs_may_be_missing_from_the_table() {
        let order = Order::of("x/a.ko: x/b.ko\n", "a");
        assert_eq!(order.files, ["x/b.ko", "x/a.ko"]);
    }
}
