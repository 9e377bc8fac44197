//! A machine whose config lies in the network: what is in force before PID 1, what the network
//! phase makes of it, and what is left when a source is silent or sends something else.

mod cloud;
mod machine;
mod web;

use cloud::{Cloud, Network, text};
use machine::is_root;
use strake_agent::apply::jobs::Occasion;
use strake_agent::config::network::Contact;
use strake_agent::fetch::Pin;
use web::Reply;

const FIRST: &str = "#cloud-config\nwrite_files: [{path: /etc/app, content: first}]\n";
const SECOND: &str = "#cloud-config\nwrite_files: [{path: /etc/app, content: second}]\n";
const BROKEN: &str = "#cloud-config\nwrite_files: [{path: app, content: third}]\n";

#[test]
fn the_first_boot_gets_everything_in_the_network_phase_and_the_next_starts_with_it() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    let machine = cloud.booted();
    assert_eq!(cloud.web.lines(), [""; 0], "nobody is asked before PID 1");
    assert_eq!(machine.record()["outcome"], "default");
    let waiting = machine.path("run/strake/config/waiting-for-network");
    assert!(waiting.exists());
    let link = machine.path("run/systemd/system/multi-user.target.wants/strake-config.service");
    assert!(link.is_symlink(), "the boot has a network phase");

    let run = machine.network();
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(machine.read("etc/app"), "first");
    assert_eq!(machine.read("etc/hostname"), "droplet\n");
    let keys = machine.read("etc/ssh/authorized_keys.d/core");
    assert_eq!(keys, "ssh-ed25519 AAAA cloud\n");
    let record = machine.record();
    assert_eq!(
        (&record["outcome"], &record["source"]),
        (&"applied".into(), &"digitalocean:user-data".into())
    );
    assert_eq!(machine.mode("state/config/remote.json"), 0o600);
    assert_eq!(
        machine.read("state/config/pending"),
        FIRST,
        "it is on trial"
    );
    assert!(waiting.exists(), "the service may be started again");

    machine.restart();
    assert_eq!(machine.read("etc/app"), "first", "before the network is up");
    assert_eq!(machine.read("etc/hostname"), "droplet\n");
    assert_eq!(machine.record()["outcome"], "applied");
    // The addresses in /etc/environment.
    assert_eq!(machine.network().code, 0);
    let run = machine.network();
    assert_eq!(run.code, 3, "nothing to do: {}", run.err);
}

#[test]
fn what_changed_at_the_source_is_applied_and_kept() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    let machine = cloud.booted();
    let report = machine.hasty_network();
    let applied = report.applied.expect("applied");
    assert_eq!(applied.occasion, Occasion::Arrived);
    cloud.says(Reply::text(SECOND));
    machine.restart();
    assert_eq!(machine.read("etc/app"), "first");
    assert_eq!(machine.network().code, 0);
    assert_eq!(machine.read("etc/app"), "second");
    machine.restart();
    assert_eq!(machine.read("etc/app"), "second");
    let applied = machine.hasty_network().applied.expect("applied");
    assert!(matches!(applied.occasion, Occasion::Boot { .. }));
    let applied = machine.hasty_network().applied.expect("applied");
    assert!(!applied.changes_machine());

    cloud.says(Reply::text(&SECOND.replace("/etc/app", "/etc/other")));
    assert_eq!(machine.network().code, 0);
    assert_eq!(machine.read("etc/other"), "second");
    assert!(!machine.path("etc/app").exists(), "no config has it now");
    assert_eq!(machine.network().code, 3);
    cloud.says(Reply::text(SECOND));
    assert_eq!(machine.network().code, 0);

    cloud.says(Reply::Status(404));
    assert_eq!(
        machine.network().code,
        3,
        "what was written stays for this boot"
    );
    assert_eq!(machine.record()["outcome"], "default");
    machine.restart();
    assert!(!machine.path("etc/app").exists());
}

#[test]
fn a_silent_source_leaves_its_last_answer_in_force_and_is_told() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    let machine = cloud.booted();
    assert_eq!(machine.network().code, 0);
    for fault in [
        Reply::Status(500),
        Reply::Hang,
        Reply::Truncated,
        Reply::Endless,
    ] {
        cloud.says(fault.clone());
        machine.restart();
        let before = machine.read("state/config/remote.json");
        let report = machine.hasty_network();
        assert_eq!(report.contact, Contact::Made, "{fault:?}");
        assert_eq!(machine.read("etc/app"), "first", "{fault:?}");
        assert_eq!(machine.read("state/config/remote.json"), before);
        assert_eq!(machine.record()["outcome"], "applied");
        let problems = machine.problems();
        assert!(
            problems[0].starts_with("digitalocean:user-data: fetching http://127.0.0.1")
                && problems[0].ends_with("; what it said last stays in force"),
            "{problems:?}"
        );
        let status = machine.strake(&["status"]).out;
        assert!(
            status.contains("what it said last stays in force"),
            "{status}"
        );
    }
}

#[test]
fn a_dead_source_takes_a_quarter_of_the_time_to_become_healthy_at_most() {
    if !is_root() {
        return;
    }
    let health = "strake: {health: {for: 1s, deadline: 8s}}";
    let cloud = Cloud::new(&format!("{FIRST}{health}\n"), &[]);
    let machine = cloud.booted();
    assert_eq!(machine.network().code, 0);
    machine.restart();
    cloud.says(Reply::Hang);
    let start = std::time::Instant::now();
    let run = machine.network();
    let lasted = start.elapsed();
    assert!(lasted.as_secs_f64() < 4.0, "{lasted:?}");
    assert!(
        run.err.contains("what it said last stays in force"),
        "{}",
        run.err
    );
    assert_eq!(machine.read("etc/app"), "first");
    let console = machine.read("dev/console");
    assert!(console.contains("no answer, or no more of it, in time"));
}

#[test]
fn a_first_contact_that_fails_is_a_failure_unless_there_is_a_config() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    cloud.says(Reply::Status(500));
    let machine = cloud.booted();
    assert_eq!(machine.hasty_network().contact, Contact::Missing);
    assert!(machine.problems()[0].ends_with("there is no earlier answer"));
    machine.put("config/user_data", FIRST);
    machine.restart();
    assert_eq!(machine.hasty_network().contact, Contact::Made);
    assert_eq!(machine.read("etc/app"), "first");
}

#[test]
fn a_config_that_cannot_be_used_changes_nothing_and_is_not_kept() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    let machine = cloud.booted();
    assert_eq!(machine.network().code, 0);
    let digest = machine.record()["digest"].clone();
    for reply in [Reply::text(BROKEN), Reply::Page] {
        machine.put("dev/console", "");
        cloud.says(reply);
        machine.restart();
        let run = machine.network();
        assert_eq!(run.code, 0, "{}", run.err);
        assert_eq!(machine.read("etc/app"), "first");
        let record = machine.record();
        assert_eq!(
            (&record["outcome"], &record["digest"]),
            (&"applied".into(), &digest)
        );
        let problem = &record["problems"][0];
        assert_eq!(
            (&problem["source"], &problem["level"]),
            (&"digitalocean:user-data".into(), &"error".into())
        );
        let console = machine.read("dev/console");
        assert!(console.contains(text(&problem["message"])), "{console}");
    }
    machine.restart();
    assert_eq!(
        machine.read("etc/app"),
        "first",
        "the cache has the usable one"
    );
}

#[test]
fn metadata_counts_even_when_the_user_data_does_not() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(BROKEN, &[]);
    let machine = cloud.booted();
    let run = machine.network();
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(machine.read("etc/hostname"), "droplet\n");
    assert!(run.err.contains("digitalocean:user-data:2:"), "{}", run.err);
    machine.restart();
    assert_eq!(machine.read("etc/hostname"), "droplet\n");
    assert_eq!(
        machine.record()["outcome"],
        "default",
        "the cache has no user-data"
    );
}

#[test]
fn a_config_whose_boot_was_not_healthy_is_not_fetched_into_force_again() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    let machine = cloud.booted();
    assert_eq!(machine.network().code, 0);
    machine.put("state/config/last-good", FIRST);
    cloud.says(Reply::text(SECOND));
    assert_eq!(machine.network().code, 0);
    let digest = machine.record()["digest"].clone();
    let failed = serde_json::json!({"digest": digest, "reason": "app.service: failed"});
    machine.put("state/config/failed.json", failed.to_string());
    machine.restart();
    assert_eq!(machine.record()["outcome"], "last-good");
    assert_eq!(machine.network().code, 0);
    assert_eq!(machine.read("etc/app"), "first");
    assert_eq!(machine.record()["outcome"], "last-good");
    assert!(machine.problems()[0].ends_with("not healthy: app.service: failed"));
    cloud.says(Reply::text(&SECOND.replace("second", "mended")));
    assert_eq!(machine.network().code, 0);
    assert_eq!(machine.read("etc/app"), "mended");
}

#[test]
fn a_url_goes_before_the_config_partition_and_that_before_the_cloud() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[("/mine", SECOND)]);
    let machine = cloud.booted();
    machine.put("config/user_data", FIRST.replace("first", "partition"));
    machine.restart();
    assert_eq!(machine.network().code, 0, "the metadata is new");
    assert_eq!(machine.read("etc/app"), "partition");
    assert_eq!(machine.read("etc/hostname"), "droplet\n");
    let line = machine.read("proc/cmdline");
    let pin = Pin::of(SECOND.as_bytes());
    let url = cloud.web.url("mine");
    let option = format!("cloud-config-url={url} strake.config.sha256={pin}");
    machine.put("proc/cmdline", format!("{} {option}", line.trim()));
    machine.restart();
    assert_eq!(
        machine.read("etc/app"),
        "partition",
        "the URL was never fetched"
    );
    assert_eq!(machine.network().code, 0);
    assert_eq!(machine.read("etc/app"), "second");
    assert_eq!(machine.record()["source"], url.as_str());
    machine.restart();
    assert_eq!(machine.read("etc/app"), "second");
    machine.put("proc/cmdline", line);
    machine.restart();
    assert_eq!(
        machine.read("etc/app"),
        "partition",
        "the URL is not asked for any more"
    );
}

#[test]
fn a_url_that_is_not_there_is_told_on_the_console() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    let machine = cloud.machine();
    let url = cloud.web.url("gone?token=secret");
    machine.put("sys/class/dmi/id/sys_vendor", "QEMU\n");
    machine.put("proc/cmdline", format!("cloud-config-url={url}\n"));
    machine.boot();
    let run = machine.network();
    assert_eq!(run.code, 0, "to be refused is an answer: {}", run.err);
    let console = machine.read("dev/console");
    let shown = cloud.web.url("gone");
    let expected = format!("strake: cloud-config {shown}: error: fetching {shown}");
    assert!(console.starts_with(&expected), "{console}");
    assert!(!(run.err + &console).contains("secret"));
}

#[test]
fn a_copied_disk_does_not_bring_the_config_of_another_machine() {
    if !is_root() {
        return;
    }
    let cloud = Cloud::new(FIRST, &[]);
    let machine = cloud.booted();
    assert_eq!(machine.network().code, 0);
    machine.put("sys/class/dmi/id/product_uuid", "machine-2\n");
    machine.restart();
    assert!(!machine.path("etc/app").exists());
    assert_eq!(machine.record()["outcome"], "default");
}

#[test]
fn address_variables_come_from_the_metadata() {
    if !is_root() {
        return;
    }
    let text = "#cloud-config\nwrite_files:\n\
                - {path: /etc/public, content: $public_ipv4}\n\
                - {path: /etc/private, content: '<$private_ipv4>'}\n";
    let cloud = Cloud::new(text, &[]);
    let machine = cloud.booted();
    assert_eq!(machine.network().code, 0);
    assert_eq!(machine.read("etc/public"), "192.0.2.7");
    assert_eq!(machine.read("etc/private"), "<>", "the cloud names none");
    assert_eq!(machine.network().code, 3);
    assert_eq!(machine.strake(&["config", "diff"]).code, 0);
}
