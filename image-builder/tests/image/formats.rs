//! The formats made in Rust, against the programs that define them.

use std::fs;
use std::path::PathBuf;

use crate::site::{Site, release};
use serde_json::Value;
use strake_image_builder::uki;

struct Image {
    site: Site,
    release: Value,
    out: PathBuf,
}

impl Image {
    fn new() -> Self {
        let site = Site::warm();
        let release = release(
            site.build("agent")
                .args(["--format", "raw", "--version", "1"]),
        );
        let out = site.path("images/1");
        Self { site, release, out }
    }

    fn file(&self, name: &str) -> String {
        self.out.join(name).to_str().unwrap().to_owned()
    }

    /// The content of a partition, as a file of its own.
    fn partition(&self, number: u32) -> String {
        let disk = self.file("strake_1.raw");
        let text = self
            .site
            .tool("sgdisk", &["-i", &number.to_string(), &disk]);
        let field = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(2).unwrap().parse().unwrap()
        };
        let (first, last) = (field("First sector"), field("Last sector"));
        let target = self
            .site
            .path(&format!("partition{number}"))
            .to_str()
            .unwrap()
            .to_owned();
        let script =
            "dd if=\"$1\" of=\"$2\" bs=1M skip=\"$3\" count=\"$4\" conv=sparse status=none";
        let (skip, count) = (first / 2048, (last + 1 - first) / 2048);
        let words = [
            "-euc",
            script,
            "sh",
            &disk,
            &target,
            &skip.to_string(),
            &count.to_string(),
        ];
        self.site.tool("sh", &words);
        target
    }
}

#[test]
fn every_format_is_what_its_own_programs_make_and_accept() {
    require_tools!();
    let image = Image::new();
    partition_table(&image);
    fat_volumes(&image);
    ext4_volumes(&image);
    hash_tree(&image);
    unified_kernel_image(&image);
}

fn partition_table(image: &Image) {
    let disk = image.file("strake_1.raw");
    let said = image.site.tool("sgdisk", &["-v", &disk]);
    assert!(said.contains("No problems found"), "{said}");
    let table = image.site.tool("sgdisk", &["-p", &disk]);
    let labels: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("Number"))
        .skip(1)
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    let expected = [
        "EFI-SYSTEM",
        "USR-A",
        "USR-A-VERITY",
        "USR-B",
        "USR-B-VERITY",
        "OEM",
        "CONFIG",
        "STATE",
        "DATA",
    ];
    assert_eq!(labels, expected);
}

fn fat_volumes(image: &Image) {
    let (esp, config) = (image.partition(1), image.partition(7));
    for volume in [&esp, &config] {
        let said = image.site.tool("fsck.vfat", &["-n", "-v", volume]);
        assert!(
            said.contains("files,") && !said.contains("Free cluster summary wrong"),
            "{said}"
        );
    }
    let listed = image.site.tool("mdir", &["-i", &esp, "-/", "-b", "::"]);
    for name in [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/Linux/strake_1+3.efi",
        "loader/loader.conf",
    ] {
        assert!(listed.contains(name), "{listed}");
    }
    let copy = image.site.path("copy").to_str().unwrap().to_owned();
    image.site.tool(
        "mcopy",
        &["-n", "-i", &esp, "::EFI/Linux/strake_1+3.efi", &copy],
    );
    assert!(fs::read(&copy).unwrap() == fs::read(image.file("strake_1.efi")).unwrap());
    // A machine's owner puts the configuration there by hand.
    fs::write(&copy, "#cloud-config\n").unwrap();
    image
        .site
        .tool("mcopy", &["-i", &config, &copy, "::user_data"]);
    assert!(
        image
            .site
            .tool("mdir", &["-i", &config, "-b", "::"])
            .contains("user_data")
    );
    image.site.tool("fsck.vfat", &["-n", &config]);
}

fn ext4_volumes(image: &Image) {
    for (number, label) in [(6, "OEM"), (8, "STATE"), (9, "DATA")] {
        let volume = image.partition(number);
        image.site.tool("e2fsck", &["-f", "-n", &volume]);
        assert_eq!(image.site.tool("e2label", &[&volume]).trim(), label);
        if label == "DATA" {
            // The same way that the first boot grows it, to a large disk.
            fs::File::options()
                .write(true)
                .open(&volume)
                .unwrap()
                .set_len(64 << 30)
                .unwrap();
            image.site.tool("resize2fs", &[&volume]);
            image.site.tool("e2fsck", &["-f", "-n", &volume]);
        }
    }
}

fn hash_tree(image: &Image) {
    let field = |name: &str| image.release[name].as_str().unwrap();
    let reference = image.site.path("reference").to_str().unwrap().to_owned();
    let said = image.site.tool(
        "veritysetup",
        &[
            "format",
            &format!("--salt={}", field("salt")),
            &format!("--uuid={}", field("verity_uuid")),
            &image.file("usr.erofs"),
            &reference,
        ],
    );
    assert!(said.contains(field("root_hash")), "{said}");
    let bytes = fs::read(image.file("usr.verity")).unwrap();
    assert!(
        bytes == fs::read(reference).unwrap(),
        "the tree is that of veritysetup"
    );
}

fn unified_kernel_image(image: &Image) {
    let bytes = fs::read(image.file("strake_1.efi")).unwrap();
    let own = uki::read(&bytes).unwrap();
    let section = |name: &str| {
        let found = own.iter().find(|section| section.name == name).unwrap();
        &bytes[found.offset as usize..][..found.size as usize]
    };
    let mut arguments = vec!["build".to_owned()];
    for (name, option) in [
        (".osrel", "os-release"),
        (".cmdline", "cmdline"),
        (".linux", "linux"),
        (".initrd", "initrd"),
    ] {
        let path = image.site.path(option);
        fs::write(&path, section(name)).unwrap();
        let at = if matches!(option, "os-release" | "cmdline") {
            "@"
        } else {
            ""
        };
        arguments.push(format!("--{option}={at}{}", path.display()));
    }
    arguments.push(format!(
        "--uname={}",
        String::from_utf8_lossy(section(".uname"))
    ));
    let reference = image.site.path("reference.efi");
    arguments.push(format!("--output={}", reference.display()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    image.site.tool("ukify", &arguments);
    let reference_bytes = fs::read(reference).unwrap();
    let theirs = uki::read(&reference_bytes).unwrap();
    // ukify adds revocation data for secure boot, and orders sections its own way.
    for section in theirs.iter().filter(|section| section.name != ".sbat") {
        let ours = own.iter().find(|other| other.name == section.name);
        let ours = ours.unwrap_or_else(|| panic!("{} is missing", section.name));
        let content = |bytes: &[u8], section: &uki::Found| {
            bytes[section.offset as usize..][..section.size as usize].to_vec()
        };
        assert!(
            content(&bytes, ours) == content(&reference_bytes, section),
            "{} differs",
            section.name
        );
    }

    let initrd = image.site.path("initrd").to_str().unwrap().to_owned();
    let listed = image.site.tool(
        "sh",
        &["-euc", "zstd -dc \"$1\" | cpio -itv --quiet", "sh", &initrd],
    );
    for name in ["init", "sysroot", "etc/strake-init/modules"] {
        assert!(
            listed
                .lines()
                .any(|line| line.ends_with(&format!(" {name}"))),
            "{listed}"
        );
    }
    let root = listed.lines().all(|line| line.contains("root     root"));
    assert!(root && listed.contains("virtio_blk.ko"), "{listed}");
    assert!(fs::metadata(&initrd).unwrap().len() < 4_000_000);
}
