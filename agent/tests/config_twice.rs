//! Any accepted config applied twice equals once: the second time nothing is touched.

mod machine;

use machine::{Machine, is_root};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use strake_agent::apply::written::Leftovers;
use strake_agent::apply::{self, Moment};
use strake_agent::config::running::Running;
use strake_agent::config::{boot, context};
use strake_agent::root::Root;
use strake_agent::source;
use strake_cloud_config::{Address, Addresses, Context, check};

/// Parts of a config, each a key of its own at the top or below `coreos`.
const TOP: [&str; 16] = [
    "hostname: $private_ipv4\n",
    "ssh_authorized_keys: [ssh-ed25519 AAAA a, ssh-ed25519 AAAA b]\n",
    "users: [{name: anna, groups: [sudo]}, {name: bert, system: true, no_user_group: true}, {name: core, passwd: '*'}]\n",
    "manage_etc_hosts: localhost\n",
    "ntp: {servers: [a]}\n",
    "timezone: Europe/Berlin\n",
    "ca_certs: [\"-----BEGIN CERTIFICATE-----\\nTUE=\\n-----END CERTIFICATE-----\"]\n",
    "sysctl: {vm.swappiness: 10}\n",
    "kernel_modules: [bonding mode=1]\n",
    "mounts: [{what: 'h:/e', path: /var/n}]\n",
    "swap: {size: 1G}\n",
    "proxy: {http: 'http://p:1', no_proxy: [a]}\n",
    "registry_mirrors: {docker.io: ['https://m']}\n",
    "insecure_registries: ['r:5000']\n",
    "strake: {health: {for: 1s}, update: {bandwidth: 1M}, cluster: {seeds: [10.0.0.1]}}\n",
    "write_files: [{path: /etc/motd, content: \"$private_ipv4\\n\", append: true}, \
     {path: /etc/motd, content: \"b\\n\", append: true}, {path: /etc/coreos/update.conf, content: \"X=y\\n\"}, \
     {path: /home/core/x, content: x, owner: 'core:core'}, {path: /etc/b, content: y, permissions: 4755}]\n",
];
const COREOS: [&str; 8] = [
    "oem: {id: i}",
    "update: {group: beta, reboot_strategy: off}",
    "locksmith: {window_start: '04:00'}",
    "fleet: {metadata: a=b}",
    "flannel: {interface: eth1}",
    "etcd2: {name: $private_ipv4}",
    "units: [{name: docker.service, enable: true, command: start}, {name: gone.service, mask: true}]",
    "units: [{name: a.service, command: start, content: \"[Service]\\nExecStart=/x $private_ipv4\\n\
     EnvironmentFile=/etc/environment\\n\"}, {name: 1.network, runtime: true, content: \"[Match]\\nName=a\\n\"}]",
];

fn config() -> impl Strategy<Value = String> {
    let top = proptest::sample::subsequence(TOP.to_vec(), 0..=TOP.len());
    // Two entries for units would be one key given twice.
    let coreos = (
        proptest::sample::subsequence(COREOS[..6].to_vec(), 0..=6),
        proptest::sample::select(COREOS[6..].to_vec()),
    );
    (top, coreos).prop_map(|(top, (coreos, units))| {
        let coreos = [coreos, vec![units]].concat().join(", ");
        format!("#cloud-config\n{}coreos: {{{coreos}}}\n", top.concat())
    })
}

/// All phases of a boot, as they come, in this process.
fn apply_all(root: &Root) {
    boot::apply(root, &source::gather(root)).expect("before PID 1");
    let running = Running::load(root).expect("recorded");
    assert!(
        running.record.source.is_some(),
        "the user's own config is in force"
    );
    let known = Addresses {
        private_ipv4: Address::Known([10, 0, 0, 7].into()),
        ..Addresses::default()
    };
    let later = [
        (Moment::AfterVar, Addresses::default()),
        (Moment::Running, known.settled()),
    ];
    for (moment, addresses) in later {
        let plan = running
            .check(context(root, addresses))
            .plan()
            .expect("checked");
        let prepared = apply::prepare(root, &plan, moment, Leftovers::Go).expect("prepared");
        assert_eq!(prepared.refusals, Vec::<String>::new());
        prepared.write(root).expect("written");
    }
}

#[test]
fn any_accepted_config_applied_twice_equals_once() {
    if !is_root() {
        return;
    }
    let mut runner = TestRunner::new(Config::with_cases(24));
    let result = runner.run(&config(), |text| {
        let checked = check(text.as_bytes(), &Context::default());
        prop_assert!(checked.config.is_some(), "{text}\n{:?}", checked.problems);
        let machine = Machine::with_config(&text);
        for path in ["etc/motd", "usr/share/strake/etc/motd"] {
            machine.put(path, "image\n");
        }
        let root = Root::new(machine.root());
        apply_all(&root);
        let once = machine.snapshot();
        let plan = Running::load(&root).expect("recorded");
        let addresses = Addresses {
            private_ipv4: Address::Known([10, 0, 0, 7].into()),
            ..Addresses::default()
        };
        let plan = plan
            .check(context(&root, addresses.settled()))
            .plan()
            .expect("checked");
        let again = apply::prepare(&root, &plan, Moment::Running, Leftovers::Go).expect("prepared");
        let changes = again.write(&root).expect("written");
        prop_assert_eq!(changes, Vec::new(), "{}", text);
        prop_assert_eq!(&machine.snapshot(), &once, "{}", text);
        // And the boot itself, from its beginning.
        machine.reboot();
        machine.put("etc/motd", "image\n");
        apply_all(&root);
        let names = |snapshot: &std::collections::BTreeMap<_, String>| {
            let content = |text: &String| text.rsplit(") ").next().unwrap_or_default().to_string();
            snapshot
                .iter()
                .map(|(path, text)| (std::path::PathBuf::clone(path), content(text)))
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&machine.snapshot()), names(&once), "{}", text);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
