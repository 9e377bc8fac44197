//! The stages that make the other partitions: the EFI system partition with the UKI, and the file
//! systems that are the same in every release.

use std::fs;

use anyhow::{Context, Result};

use super::stages::{Modules, Usr};
use super::{Order, Site};
use crate::cache::Entry;
use crate::digest::{Digest, Inputs};
use crate::identity::Uuid;
use crate::layout::{CONFIG_SIZE, DATA_SIZE, ESP_SIZE, OEM_SIZE, STATE_SIZE};
use crate::tree::{Node, Tree};
use crate::uki::{self, Section};
use crate::{ext4, fat, root};

const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// No menu and no waiting; the newest entry that is not known to be bad is booted.
const LOADER_CONF: &str = "timeout 0\nconsole-mode keep\neditor no\n";
/// As `strake_updates::entry::TRIES`: one number is not worth what that member depends on.
const TRIES: u32 = 3;

/// Partitions whose content never changes.
pub(super) fn filesystems(site: &Site<'_>) -> Result<Entry> {
    let shape = |label, size, journal_mib, grows_to| ext4::Shape {
        label,
        size,
        journal_mib,
        grows_to,
    };
    let shapes = [
        shape("OEM", OEM_SIZE, 4, None),
        shape("STATE", STATE_SIZE, 16, None),
        shape("DATA", DATA_SIZE, 64, Some(i32::MAX.cast_unsigned())),
    ];
    site.cache.stage(
        site.progress,
        "filesystems",
        &Inputs::new("filesystems 2"),
        |directory| {
            for shape in &shapes {
                ext4::make(site.tools, &directory.join(shape.label), shape)?;
            }
            let config = directory.join("CONFIG");
            fat::create(
                &config,
                CONFIG_SIZE,
                "CONFIG",
                volume_id("CONFIG"),
                &Tree::default(),
            )
            .context("making the file system CONFIG")
        },
    )
}

/// The UKI and the EFI system partition around it.
pub(super) fn boot(
    site: &Site<'_>,
    order: &Order,
    modules: &Modules,
    initrd: &Entry,
    usr: &Usr,
) -> Result<Entry> {
    let version = order.version.as_str();
    let cmdline = order.kernel_options.appended_to(format!(
        "usrhash={} {}",
        usr.facts.root_hash, order.recipe.cmdline
    ));
    let tool = |path: &str| {
        let path = site.tools.tree().join(path);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let (stub, loader) = (tool(STUB)?, tool(LOADER)?);
    let mut inputs = Inputs::new("boot 2");
    inputs
        .add(modules.entry.key())
        .add(initrd.key())
        .add(version)
        .add(&cmdline);
    inputs.add(Digest::of(&stub)).add(Digest::of(&loader));
    site.cache
        .stage(site.progress, "boot", &inputs, |directory| {
            let initrd = fs::read(initrd.path("initrd")).context("reading the initrd")?;
            let kernel = fs::read(modules.image()).context("reading the kernel")?;
            let os_release = root::os_release(version);
            let sections = [
                Section {
                    name: ".osrel",
                    data: os_release.as_bytes(),
                },
                Section {
                    name: ".cmdline",
                    data: cmdline.as_bytes(),
                },
                Section {
                    name: ".uname",
                    data: modules.kernel.as_bytes(),
                },
                Section {
                    name: ".initrd",
                    data: &initrd,
                },
                Section {
                    name: ".linux",
                    data: &kernel,
                },
            ];
            let uki = uki::append(&stub, &sections).context("making the UKI")?;
            fs::write(directory.join("uki"), &uki).context("writing the UKI")?;
            let mut esp = Tree::default();
            esp.insert("EFI/BOOT/BOOTX64.EFI", Node::file(0o644, loader.clone()));
            esp.insert("EFI/systemd/systemd-bootx64.efi", Node::file(0o644, loader));
            esp.insert(
                "loader/loader.conf",
                Node::file(0o644, LOADER_CONF.as_bytes()),
            );
            esp.insert(
                &format!("EFI/Linux/strake_{version}+{TRIES}.efi"),
                Node::file(0o644, uki),
            );
            let id = volume_id("EFI-SYSTEM");
            fat::create(&directory.join("esp"), ESP_SIZE, "EFI-SYSTEM", id, &esp)
                .context("making the EFI system partition")
        })
}

fn volume_id(label: &str) -> u32 {
    let uuid = Uuid::named(&format!("fat {label}"));
    u32::from_le_bytes(uuid.bytes()[..4].try_into().expect("4 of 16 bytes"))
}
