//! A machine in Azure: custom data of the provisioning disc, and user data that goes before it.

mod machine;
mod web;

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machine::{Machine, is_root};
use web::{Reply, Web};

const CUSTOM: &str = "#cloud-config\nwrite_files: [{path: /etc/app, content: custom}]\n";
const USER: &str = "#cloud-config\nwrite_files: [{path: /etc/app, content: user}]\n";

/// As a boot with the disc in the drive leaves it in STATE.
fn kept(machine: &str) -> String {
    let xml = format!(
        "<?xml version=\"1.0\"?><Environment xmlns:wa=\"x\"><wa:Set><HostName>disc</HostName>\
         <CustomData>{}</CustomData></wa:Set></Environment>",
        STANDARD.encode(CUSTOM)
    );
    serde_json::json!({"machine": machine, "document": STANDARD.encode(xml)}).to_string()
}

fn machine(web: &Web) -> Machine {
    let machine = Machine::new();
    let tag = "7783-7084-3265-9085-8269-3286-77\n";
    machine.put("sys/class/dmi/id/chassis_asset_tag", tag);
    machine.put("sys/class/dmi/id/product_uuid", "machine-1\n");
    machine.put("dev/console", "");
    let line = format!("strake.metadata.url={}\n", web.url(""));
    machine.put("proc/cmdline", line);
    machine.put("state/config/azure-disc.json", kept("machine-1"));
    machine
}

#[test]
fn custom_data_is_in_force_before_the_network_and_user_data_replaces_it() {
    if !is_root() {
        return;
    }
    let user = Arc::new(Mutex::new(Reply::Status(404)));
    let served = Arc::clone(&user);
    let web = Web::new(move |asked| match asked.path.split('?').next() {
        Some("/metadata/instance/compute/userData") => served.lock().expect("sound").clone(),
        Some("/metadata/instance") => Reply::text(r#"{"compute": {"name": "service"}}"#),
        _ => Reply::Status(404),
    });
    let machine = machine(&web);
    let run = machine.boot();
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(machine.read("etc/app"), "custom");
    assert_eq!(machine.read("etc/hostname"), "disc\n");
    assert_eq!(machine.record()["source"], "azure-disc:ovf-env.xml");
    assert_eq!(machine.mode("state/config/azure-disc.json"), 0o600);
    let run = machine.strake(&["config", "run"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(machine.read("etc/app"), "custom");
    assert_eq!(machine.read("etc/hostname"), "service\n");

    *user.lock().expect("sound") = Reply::text(&STANDARD.encode(USER));
    assert_eq!(machine.strake(&["config", "run"]).code, 0);
    assert_eq!(machine.read("etc/app"), "user");
    machine.reboot();
    assert_eq!(machine.boot().code, 0);
    assert_eq!(machine.read("etc/app"), "user", "from the start");
}

#[test]
fn the_disc_of_another_machine_or_a_damaged_one_is_not_used() {
    if !is_root() {
        return;
    }
    let web = Web::with(&[]);
    let machine = machine(&web);
    machine.put("sys/class/dmi/id/product_uuid", "machine-2\n");
    assert_eq!(machine.boot().code, 0);
    assert_eq!(machine.record()["outcome"], "default");
    let damaged = serde_json::json!({"machine": "machine-2", "document": STANDARD.encode("<a>")});
    machine.put("state/config/azure-disc.json", damaged.to_string());
    machine.reboot();
    let run = machine.boot();
    assert_eq!(run.code, 0);
    assert!(
        run.err.contains("reading ovf-env.xml as XML"),
        "{}",
        run.err
    );
}
