//! `strake config apply --before-boot` and `--after-var`, as strake-init and systemd run them.

mod machine;

use machine::{Machine, is_root};
use strake_agent::config::trial;
use strake_agent::root::Root;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF7kC2tqfzXVdq3CBkhXNmMCvZ5xPVUKMXpPFMkZbf5K a@b";

fn full() -> String {
    format!(
        r##"#cloud-config
hostname: node-1
ssh_authorized_keys: ["{KEY}"]
users:
  - name: anna
    passwd: "$6$salt$hash"
    groups: [sudo]
    ssh_authorized_keys: ["{KEY}"]
write_files:
  - path: /etc/app/app.conf
    content: "x = 1"
    permissions: "0640"
    owner: anna:sudo
  - path: /home/anna/notes
    content: later
    owner: anna:anna
coreos:
  update: {{group: beta, reboot_strategy: "off"}}
  units:
    - name: docker.service
      enable: true
      drop_ins: [{{name: 10-x.conf, content: "[Service]\nEnvironment=A=b\n"}}]
    - name: app.service
      command: start
      content: "[Service]\nExecStart=/opt/bin/app\n"
    - name: old.service
      mask: true
    - name: 00-lan.network
      content: "[Match]\nName=eth1\n[Network]\nDHCP=yes\n"
"##
    )
}

#[test]
fn everything_is_in_place_before_systemd_starts() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config(&full());
    let run = machine.boot();
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    assert!(
        run.err
            .starts_with("strake: cloud-config: /config/user_data in force"),
        "{}",
        run.err
    );

    assert_eq!(machine.read("etc/hostname"), "node-1\n");
    assert!(
        machine
            .read("etc/passwd")
            .ends_with("anna:x:1000:1000::/home/anna:/bin/bash\n")
    );
    assert!(
        machine
            .read("etc/shadow")
            .ends_with("anna:$6$salt$hash:::::::\n")
    );
    assert!(machine.read("etc/group").contains("\nsudo:x:27:anna\n"));
    assert_eq!(
        machine.read("etc/ssh/authorized_keys.d/core"),
        format!("{KEY}\n")
    );
    assert_eq!(machine.mode("etc/ssh/authorized_keys.d/anna"), 0o644);
    assert_eq!(machine.owner("etc/ssh/authorized_keys.d/anna"), (0, 0));
    assert_eq!(machine.mode("etc/app/app.conf"), 0o640);
    assert_eq!(machine.owner("etc/app/app.conf"), (1000, 27));
    let tmpfiles = machine.read("etc/tmpfiles.d/strake-users.conf");
    assert_eq!(tmpfiles, "d \"/var/home/anna\" 0750 1000 1000 -\n");
    assert_eq!(
        machine.read("etc/coreos/update.conf"),
        "GROUP=beta\nREBOOT_STRATEGY=off\n"
    );
    let docker = machine.link("etc/systemd/system/multi-user.target.wants/docker.service");
    assert_eq!(docker, "/usr/lib/systemd/system/docker.service");
    let app = machine.link("run/systemd/system/multi-user.target.wants/app.service");
    assert_eq!(app, "/etc/systemd/system/app.service");
    assert_eq!(machine.link("etc/systemd/system/old.service"), "/dev/null");
    assert!(
        machine
            .path("etc/systemd/system/docker.service.d/10-x.conf")
            .exists()
    );
    assert!(machine.path("etc/systemd/network/00-lan.network").exists());
    assert!(
        !machine.path("var/home/anna/notes").exists(),
        "/var is not mounted yet"
    );
    assert_eq!(machine.record()["outcome"], "applied");
    assert_eq!(machine.mode("run/strake/config/user-data"), 0o600);
}

#[test]
fn the_network_holds_up_a_boot_only_when_something_waits_for_it() {
    if !is_root() {
        return;
    }
    let plain = "write_files:\n  - path: /etc/a\n    content: b\n";
    let waiting = "write_files:\n  - path: /etc/a\n    content: $private_ipv4\n";
    for (config, held_up) in [(plain, false), (waiting, true)] {
        let machine = Machine::with_config(&format!("#cloud-config\n{config}"));
        machine.boot();
        let link = |puller: &str| {
            let path = format!("run/systemd/system/{puller}.wants/strake-config.service");
            machine.path(&path).is_symlink()
        };
        assert_eq!(link("multi-user.target"), held_up, "{config}");
        assert_eq!(link("systemd-networkd.service"), !held_up, "{config}");
    }
}

#[test]
fn files_below_var_follow_once_it_is_mounted() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config(&full());
    machine.boot();
    assert!(machine.path("run/strake/config/waiting-for-var").exists());
    let run = machine.strake(&["config", "apply", "--after-var"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "missing  /home/anna/notes\n"),
        "{}",
        run.err
    );
    assert_eq!(machine.owner("var/home/anna/notes"), (1000, 1000));
    assert_eq!(
        machine.strake(&["config", "apply", "--after-var"]).code,
        3,
        "nothing to do"
    );
}

#[test]
fn applying_twice_touches_nothing() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config(&full());
    machine.boot();
    let before = machine.snapshot();
    assert_eq!(machine.boot().code, 0);
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn ids_once_given_are_given_again() {
    if !is_root() {
        return;
    }
    let users = |names: &str| format!("#cloud-config\nusers: [{names}]\n");
    let machine = Machine::with_config(&users("{name: anna}, {name: bert}"));
    machine.boot();
    assert!(machine.read("etc/passwd").contains("bert:x:1001:1001:"));
    machine.reboot();
    machine.put("config/user_data", users("{name: carl}, {name: bert}"));
    machine.boot();
    let passwd = machine.read("etc/passwd");
    assert!(passwd.contains("bert:x:1001:1001:"), "{passwd}");
    assert!(
        passwd.contains("carl:x:1002:1002:"),
        "1000 stays anna's: {passwd}"
    );
}

#[test]
fn without_a_config_a_machine_boots_with_defaults() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let run = machine.boot();
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(machine.record()["outcome"], "default");
    assert!(!machine.path("state/config/pending").exists());
}

#[test]
fn a_bad_config_is_reported_and_the_last_good_one_is_in_force() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config("#cloud-config\nhostname: good\n");
    machine.boot();
    let pending = machine.path("state/config/pending");
    std::fs::rename(pending, machine.path("state/config/last-good")).expect("passed");
    machine.reboot();
    machine.put("config/user_data", "#cloud-config\nhostname: [bad]\n");
    let run = machine.boot();
    assert_eq!(run.code, 0, "{}", run.err);
    let problem = "strake: cloud-config /config/user_data:2:11: error: incorrect type";
    assert!(run.err.starts_with(problem), "{}", run.err);
    assert!(
        run.err
            .contains("/config/user_data NOT in force, the last good config is\n")
    );
    assert_eq!(machine.read("etc/hostname"), "good\n");
    let record = machine.record();
    assert_eq!(
        (&record["outcome"], &record["source"]),
        (&"last-good".into(), &"last good config".into())
    );
    assert_eq!(record["problems"][0]["line"], 2);
    assert!(
        !machine.path("state/config/pending").exists(),
        "it is good already"
    );
}

#[test]
fn a_config_the_machine_cannot_take_gives_way_as_a_whole() {
    if !is_root() {
        return;
    }
    let text = "#cloud-config\nhostname: x\nwrite_files: [{path: /etc/a, content: x, owner: 'who:root'}]\n";
    let machine = Machine::with_config(text);
    let run = machine.boot();
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(
        run.err
            .contains("error: /etc/a: the user who does not exist"),
        "{}",
        run.err
    );
    assert_eq!(machine.record()["outcome"], "rejected");
    assert!(!machine.path("etc/hostname").exists());
}

#[test]
fn a_config_whose_boot_was_not_healthy_gives_way_to_the_last_good_one() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config("#cloud-config\nhostname: new\n");
    machine.boot();
    let digest = machine.record()["digest"].clone();
    machine.put("state/config/last-good", "#cloud-config\nhostname: good\n");
    let failed = serde_json::json!({"digest": digest, "reason": "app.service: failed"});
    machine.put("state/config/failed.json", failed.to_string());
    machine.reboot();
    let run = machine.boot();
    assert_eq!(machine.read("etc/hostname"), "good\n");
    let reason =
        "/config/user_data: error: the last boot with it was not healthy: app.service: failed";
    assert!(run.err.contains(reason), "{}", run.err);
    machine.put("config/user_data", "#cloud-config\nhostname: newer\n");
    machine.reboot();
    machine.boot();
    assert_eq!(
        machine.read("etc/hostname"),
        "newer\n",
        "another config gets its own trial"
    );
}

#[test]
fn a_config_found_unhealthy_on_its_boot_gives_way_on_the_next() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config("#cloud-config\nhostname: good\n");
    let root = Root::new(machine.root());
    machine.boot();
    trial::passed(&root).expect("kept");
    machine.put("config/user_data", "#cloud-config\nhostname: new\n");
    machine.reboot();
    machine.boot();
    assert_eq!(machine.read("etc/hostname"), "new\n");
    trial::did_not_pass(&root, "multi-user.target: not reached").expect("noted");
    for _ in 0..2 {
        machine.reboot();
        let run = machine.boot();
        assert_eq!(machine.read("etc/hostname"), "good\n");
        let said = "not healthy: multi-user.target: not reached";
        assert!(run.err.contains(said), "{}", run.err);
        assert_eq!(machine.record()["outcome"], "last-good");
    }
    assert!(machine.strake(&["status"]).out.contains("not healthy"));
}

#[test]
fn a_config_of_which_nobody_can_tell_gives_way_after_three_boots() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config("#cloud-config\nhostname: good\n");
    machine.boot();
    trial::passed(&Root::new(machine.root())).expect("kept");
    machine.put("config/user_data", "#cloud-config\nhostname: new\n");
    for (boot, expected) in (1..).zip(["new\n", "new\n", "new\n", "good\n", "good\n"]) {
        machine.reboot();
        let run = machine.boot();
        assert_eq!(machine.read("etc/hostname"), expected, "boot {boot}");
        let said = run.err.contains("3 boots with it ended before");
        assert_eq!(said, boot > 3, "boot {boot}: {}", run.err);
    }
    machine.put("config/user_data", "#cloud-config\nhostname: newer\n");
    machine.reboot();
    machine.boot();
    assert_eq!(
        machine.read("etc/hostname"),
        "newer\n",
        "it has its own trial"
    );
}

#[test]
fn the_vendor_config_lies_below_the_users() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config("#cloud-config\nhostname: user\n");
    let oem = "#cloud-config\nhostname: vendor\ncoreos: {update: {group: vendor}}\n";
    machine.put("oem/cloud-config.yml", oem);
    machine.boot();
    assert_eq!(machine.read("etc/hostname"), "user\n");
    assert_eq!(machine.read("etc/coreos/update.conf"), "GROUP=vendor\n");
}

#[test]
fn stop_keeps_a_unit_of_the_image_from_starting_at_this_boot() {
    if !is_root() {
        return;
    }
    let text = "#cloud-config\ncoreos: {units: [{name: docker.service, command: stop}]}\n";
    let machine = Machine::with_config(text);
    let wants = machine.path("usr/lib/systemd/system/multi-user.target.wants");
    std::fs::create_dir_all(&wants).expect("dir");
    std::os::unix::fs::symlink("../docker.service", wants.join("docker.service")).expect("link");
    machine.boot();
    let mask = machine.link("etc/systemd/system/multi-user.target.wants/docker.service");
    assert_eq!(mask, "/dev/null");
}

#[test]
fn also_names_units_that_are_enabled_with_it() {
    if !is_root() {
        return;
    }
    let text = "#cloud-config\ncoreos: {units: [{name: a.service, enable: true}]}\n";
    let machine = Machine::with_config(text);
    let units = "usr/lib/systemd/system";
    machine.put(
        &format!("{units}/a.service"),
        "[Install]\nAlso=a.socket b@x.service\n",
    );
    machine.put(
        &format!("{units}/a.socket"),
        "[Install]\nWantedBy=sockets.target\nAlso=a.service\n",
    );
    machine.put(
        &format!("{units}/b@.service"),
        "[Install]\nWantedBy=multi-user.target\n",
    );
    let run = machine.boot();
    assert_eq!(run.code, 0, "{}", run.err);
    let wants = "etc/systemd/system";
    let socket = machine.link(&format!("{wants}/sockets.target.wants/a.socket"));
    assert_eq!(socket, "/usr/lib/systemd/system/a.socket");
    let instance = machine.link(&format!("{wants}/multi-user.target.wants/b@x.service"));
    assert_eq!(instance, "/usr/lib/systemd/system/b@.service");
}
