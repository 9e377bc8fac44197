//! The applet `coreos-cloudinit`: flags, line format, exit codes; and on a machine of its own, what
//! it applies.

mod machine;
mod web;

use std::path::{Path, PathBuf};
use std::process::Command;

use machine::{Run, is_root, run};
use web::Web;

const PROBLEMS: &str =
    "#cloud-config\nhostnam: a\nwrite_files:\n  - path: /usr/a\n    content: x\n";
const LINES: &str = "line 2: warning: unrecognized key \"hostnam\"\n\
                     line 4: error: file cannot be written to a read-only filesystem\n";

struct Applet {
    dir: tempfile::TempDir,
}

impl Applet {
    fn new() -> Applet {
        let applet = Applet {
            dir: tempfile::tempdir().expect("temp dir"),
        };
        let target = env!("CARGO_BIN_EXE_strake");
        std::os::unix::fs::symlink(target, applet.path("coreos-cloudinit")).expect("link");
        applet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    }

    fn run(&self, args: &[&str]) -> Run {
        run(Command::new(self.path("coreos-cloudinit")).args(args))
    }
}

#[test]
fn each_source_it_has_is_checked_with_that_programs_lines_and_exit_codes() {
    let web = Web::with(&[
        ("/user.yaml", PROBLEMS),
        ("/2009-04-04/user-data", PROBLEMS),
        ("/2009-04-04/meta-data/instance-id", "i-1"),
        (
            "/computeMetadata/v1/instance/attributes/user-data",
            PROBLEMS,
        ),
        ("/computeMetadata/v1/instance/?recursive=true", "{}"),
        ("/metadata/v1/user-data", PROBLEMS),
        ("/metadata/v1.json", "{}"),
    ]);
    let applet = Applet::new();
    let file = applet.put("user.yaml", PROBLEMS);
    applet.put("drive/openstack/latest/user_data", PROBLEMS);
    let drive = applet.path("drive").display().to_string();
    let base = web.url("").to_string();
    let sources = [
        ("-from-file", file.clone()),
        ("-from-url", web.url("user.yaml").to_string()),
        ("-from-configdrive", drive),
        ("-from-ec2-metadata", base.clone()),
        ("-from-metadata-service", base.clone()),
        ("-from-gce-metadata", base.clone()),
        ("-from-digitalocean-metadata", base),
    ];
    for (flag, value) in sources {
        let run = applet.run(&["-validate", &format!("{flag}={value}")]);
        assert_eq!(
            (run.code, run.out.as_str()),
            (1, LINES),
            "{flag}: {}",
            run.err
        );
    }
    let run = applet.run(&["-validate", "-from-file", &file, "-ignore-failure"]);
    assert_eq!((run.code, run.out.as_str()), (0, LINES));
    let good = applet.put("good.yaml", "#cloud-config\nhostname: a\n");
    let run = applet.run(&["--validate", "--from-file", &good]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
}

#[test]
fn what_it_does_not_have_is_a_usage_error_that_says_why() {
    let applet = Applet::new();
    let cases: [(&[&str], &str); 5] = [
        (
            &["-from-vmware-guestinfo"],
            "does not read this cloud's metadata",
        ),
        (&["-from-waagent=/var/lib/waagent"], "use -oem=azure"),
        (&["-oem=packet"], "Strake does not read its metadata"),
        (&["-validate"], "name a source"),
        (&["-nonsense"], "flag provided but not defined: -nonsense"),
    ];
    for (args, expected) in cases {
        let run = applet.run(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.err);
        assert!(run.err.contains(expected), "{}", run.err);
        assert!(
            run.err.contains("Usage of coreos-cloudinit:"),
            "{}",
            run.err
        );
    }
    let version = applet.run(&["-version"]);
    assert!(version.out.starts_with("coreos-cloudinit (strake) "));
    let gone = applet.run(&["-validate", "-from-file=/nonexistent/x"]);
    assert_eq!(gone.code, 1, "{}", gone.err);
    let elsewhere = applet.run(&["-from-file=/etc/hostname"]);
    assert_eq!(elsewhere.code, 2, "this is no Strake machine");
}

/// The host's root with an `/etc` and a `/run` of its own that says it is Strake; the files are
/// shown once the applet has run.
fn on_a_machine(applet: &Applet, setup: &str, args: &str, shown: &str) -> Option<Run> {
    let program = applet.path("coreos-cloudinit");
    let bin = Path::new(env!("CARGO_BIN_EXE_strake")).parent()?;
    let script = format!(
        "set -e; mount --make-rprivate /; mount -t tmpfs tmpfs /mnt\n\
         mkdir /mnt/u /mnt/w /mnt/r; mount -t overlay overlay \
         -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r || exit 77\n\
         cd /mnt/r; mkdir -p .{bin} .{dir}; mount --bind {bin} .{bin}; mount --bind {dir} .{dir}\n\
         echo ID=strake > usr/lib/os-release; {setup}\n\
         set +e; chroot /mnt/r {program} {args}; code=$?; cat {shown} >&2; exit $code",
        bin = bin.display(),
        dir = applet.dir.path().display(),
        program = program.display(),
    );
    let run = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
    if run.code == 77 {
        println!("SKIPPED: no overlay here: {}", run.err);
        return None;
    }
    Some(run)
}

#[test]
fn on_a_machine_it_adds_to_what_is_there() {
    if !is_root() {
        return;
    }
    let applet = Applet::new();
    let file = applet.put(
        "user.yaml",
        "#cloud-config\nwrite_files: [{path: /etc/added/here, content: \"text\\n\"}]\n",
    );
    let setup = "echo mine > etc/kept";
    let shown = "etc/added/here etc/kept";
    let args = format!("-from-file={file} -workspace=/var/lib/x -ssh-key-name=y");
    let Some(run) = on_a_machine(&applet, setup, &args, shown) else {
        return;
    };
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.err.ends_with("text\nmine\n"), "{}", run.err);
}

#[test]
fn a_bad_config_is_not_applied_and_the_metadata_is() {
    if !is_root() {
        return;
    }
    let applet = Applet::new();
    applet.put("drive/openstack/latest/user_data", PROBLEMS);
    applet.put(
        "drive/openstack/latest/meta_data.json",
        r#"{"public_keys": {"a": "ssh-ed25519 AAAA drive"},
            "network_config": {"content_path": "/content/7"}}"#,
    );
    applet.put("drive/openstack/content/7", "iface eth7 inet dhcp\n");
    let drive = applet.path("drive").display().to_string();
    let setup = "echo core:x:500:500::/home/core:/bin/bash >> etc/passwd";
    let shown = "run/systemd/network/10-eth7.network etc/ssh/authorized_keys.d/core";
    for (args, converted) in [("", false), ("-convert-netconf=debian", true)] {
        let args = format!("-from-configdrive={drive} {args}");
        let Some(run) = on_a_machine(&applet, setup, &args, shown) else {
            return;
        };
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.ends_with("ssh-ed25519 AAAA drive\n"), "{}", run.err);
        assert_eq!(run.err.contains("Name=eth7"), converted, "{}", run.err);
        let told = "the user-data is not applied, the metadata is";
        assert!(run.err.contains(told), "{}", run.err);
    }
}
