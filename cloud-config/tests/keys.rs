//! Key by key: the file it makes, with just this text. `daemons.yaml` and `etcd.yaml` in
//! `fixtures/valid` hold every key of the daemons, out of order and with zeros.

use strake_cloud_config::plan::{Body, FileSpec};
use strake_cloud_config::{Context, check, plan};

/// What a file is, as one text.
fn shown(file: &FileSpec) -> String {
    match &file.body {
        Body::Content(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::Append(bytes) => format!("+{}", String::from_utf8_lossy(bytes)),
        Body::Symlink(target) => format!("-> {target}"),
        Body::Source(source) => format!("<- {} {}", source.url, source.sha256),
        Body::UpdateConf(update) => update.merge(""),
        Body::Environment(_) => "addresses".to_owned(),
    }
}

#[track_caller]
fn makes(config: &str, files: &[(&str, &str)]) {
    let context = Context {
        hostname: Some("kernel".into()),
        ..Context::default()
    };
    let checked = check(format!("#cloud-config\n{config}\n").as_bytes(), &context);
    let config = checked
        .config
        .unwrap_or_else(|| panic!("{config}: {:?}", checked.problems));
    let plan = plan(&config, &context);
    let found: Vec<(String, String)> = plan
        .files
        .iter()
        .filter(|file| !matches!(file.body, Body::Environment(_)))
        .map(|file| (file.path.clone(), shown(file)))
        .collect();
    let expected: Vec<(String, String)> = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

const LOCKSMITH: &str = "/run/systemd/system/strake-reboot.service.d/20-cloudinit.conf";
const FLEET: &str = "/run/systemd/system/strake-scheduler.service.d/20-cloudinit.conf";
const ETCD: &str = "/run/systemd/system/etcd.service.d/20-cloudinit.conf";
const FLANNEL: &str = "/run/flannel/options.env";
const UPDATE: &str = "/etc/coreos/update.conf";

#[test]
fn coreos_keys_make_the_files_that_services_read() {
    makes(
        "coreos: {oem: {bug-report-url: 'https://b', home-url: 'https://h', version-id: 1.2, name: N, id: i}}",
        &[(
            "/etc/oem-release",
            "ID=i\nVERSION_ID=1.2\nNAME=\"N\"\nHOME_URL=\"https://h\"\nBUG_REPORT_URL=\"https://b\"\n",
        )],
    );
    makes("coreos: {oem: {name: only}}", &[]);
    makes(
        "coreos: {update: {group: beta}}",
        &[(UPDATE, "GROUP=beta\n")],
    );
    makes(
        "coreos: {update: {server: 'https://u.example.com', reboot-strategy: etcd-lock}}",
        &[(
            UPDATE,
            "REBOOT_STRATEGY=etcd-lock\nSERVER=https://u.example.com\n",
        )],
    );
    makes(
        "coreos: {update: {reboot_strategy: off}}",
        &[
            (UPDATE, "REBOOT_STRATEGY=off\n"),
            ("/run/systemd/system/strake-reboot.service", "-> /dev/null"),
        ],
    );
    let drop_in = |variable: &str| format!("[Service]\nEnvironment=\"{variable}\"\n");
    makes(
        "coreos: {locksmith: {window_start: 'Thu 04:00'}}",
        &[(LOCKSMITH, &drop_in("REBOOT_WINDOW_START=Thu 04:00"))],
    );
    makes(
        "coreos: {fleet: {metadata: 'a=b'}}",
        &[(FLEET, &drop_in("FLEET_METADATA=a=b"))],
    );
    makes(
        "coreos: {etcd2: {name: n}}",
        &[(ETCD, &drop_in("ETCD_NAME=n"))],
    );
    makes(
        "coreos: {etcd: {name: n}}",
        &[(ETCD, &drop_in("ETCD_NAME=n"))],
    );
    makes(
        "coreos: {flannel: {interface: eth1, etcd-prefix: /p}}",
        &[(FLANNEL, "FLANNELD_ETCD_PREFIX=/p\nFLANNELD_IFACE=eth1")],
    );
}

#[test]
fn zero_values_make_nothing() {
    makes(
        "coreos: {fleet: {token_limit: 0, disable_engine: false, metadata: ''}, flannel: {interface: ''}}",
        &[],
    );
}

#[test]
fn units_make_their_files_drop_ins_and_links() {
    makes(
        "coreos: {units: [{name: a.service, content: \"[Service]\\nExecStart=/x\\n[Install]\\nWantedBy=b.target\\n\", \
         enable: true, drop-ins: [{name: 1.conf, content: \"[Unit]\\n\"}]}]}",
        &[
            (
                "/etc/systemd/system/a.service",
                "[Service]\nExecStart=/x\n[Install]\nWantedBy=b.target\n",
            ),
            ("/etc/systemd/system/a.service.d/1.conf", "[Unit]\n"),
            (
                "/etc/systemd/system/b.target.wants/a.service",
                "-> /etc/systemd/system/a.service",
            ),
        ],
    );
    makes(
        "coreos: {units: [{name: a.service, runtime: true, mask: true}]}",
        &[("/run/systemd/system/a.service", "-> /dev/null")],
    );
    makes(
        "coreos: {units: [{name: 10-a.network, content: \"[Match]\\nName=eth1\\n\"}]}",
        &[("/etc/systemd/network/10-a.network", "[Match]\nName=eth1\n")],
    );
    // With one empty half there is no drop-in.
    makes(
        "coreos: {units: [{name: a.service, drop_ins: [{name: x.conf, content: ''}]}]}",
        &[],
    );
}

#[test]
fn files_are_written_in_every_encoding_appended_and_fetched() {
    for (encoding, content) in [
        ("", "hi"),
        ("b64", "aGk="),
        ("base64", "aGk="),
        ("gz+b64", "H4sIAAAAAAACA8vIBACsKpPYAgAAAA=="),
        ("gzip+base64", "H4sIAAAAAAACA8vIBACsKpPYAgAAAA=="),
        ("gz+base64", "H4sIAAAAAAACA8vIBACsKpPYAgAAAA=="),
        ("gzip+b64", "H4sIAAAAAAACA8vIBACsKpPYAgAAAA=="),
    ] {
        makes(
            &format!(
                "write_files: [{{path: /etc/a, encoding: '{encoding}', content: '{content}'}}]"
            ),
            &[("/etc/a", "hi")],
        );
    }
    makes(
        "write_files: [{path: /etc/a, content: x, append: true}]",
        &[("/etc/a", "+x")],
    );
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    makes(
        &format!(
            "write_files: [{{path: /etc/a, source: {{url: 'https://h/x', sha256: {digest}}}}}]"
        ),
        &[("/etc/a", &format!("<- https://h/x {digest}"))],
    );
    makes(
        "manage_etc_hosts: localhost",
        &[("/etc/hosts", "127.0.0.1 kernel\n")],
    );
    makes(
        "manage_etc_hosts: localhost\nhostname: a",
        &[("/etc/hosts", "127.0.0.1 a\n")],
    );
}

#[test]
fn time_kernel_and_trust_make_one_file_each() {
    makes(
        "ntp: {servers: [a, b], fallback-servers: [c]}",
        &[(
            "/etc/systemd/timesyncd.conf.d/20-cloudinit.conf",
            "[Time]\nNTP=a b\nFallbackNTP=c\n",
        )],
    );
    makes(
        "timezone: Europe/Berlin",
        &[("/etc/localtime", "-> /usr/share/zoneinfo/Europe/Berlin")],
    );
    makes(
        "sysctl: {vm.swappiness: 10, net.ipv4.ip_forward: 1}",
        &[(
            "/etc/sysctl.d/20-cloudinit.conf",
            "net.ipv4.ip_forward = 1\nvm.swappiness = 10\n",
        )],
    );
    makes(
        "kernel_modules: [overlay, bonding mode=1]",
        &[
            (
                "/etc/modules-load.d/20-cloudinit.conf",
                "overlay\nbonding\n",
            ),
            (
                "/etc/modprobe.d/20-cloudinit.conf",
                "options bonding mode=1\n",
            ),
        ],
    );
    let pem = "-----BEGIN CERTIFICATE-----\nTUE=\n-----END CERTIFICATE-----\n";
    makes(
        "ca_certs: [\"-----BEGIN CERTIFICATE-----\\nTUE=\\n-----END CERTIFICATE-----\"]",
        &[
            ("/etc/ssl/certs/strake-ca-1.pem", pem),
            ("/etc/ssl/certs/ca-certificates.crt", &format!("+{pem}")),
        ],
    );
}

#[test]
fn mounts_and_swap_make_units() {
    makes(
        "mounts: [{what: 'h:/e', path: /var/n, options: [ro]}]",
        &[
            (
                "/etc/systemd/system/var-n.mount",
                "[Unit]\nDescription=Mount /var/n\n\n[Mount]\nWhat=h:/e\nWhere=/var/n\nType=nfs\n\
                 Options=ro,_netdev,nofail\n\n[Install]\nWantedBy=remote-fs.target\n",
            ),
            (
                "/etc/systemd/system/remote-fs.target.wants/var-n.mount",
                "-> /etc/systemd/system/var-n.mount",
            ),
        ],
    );
    makes(
        "swap: {size: 1G}",
        &[
            (
                "/etc/systemd/system/strake-swapfile.service",
                "[Unit]\nDescription=Make the swap file\nDefaultDependencies=no\n\
                 RequiresMountsFor=\"/var/swapfile\"\nConditionPathExists=!/var/swapfile\n\
                 Before=var-swapfile.swap\n\n[Service]\nType=oneshot\nUMask=0077\n\
                 ExecStart=mkswap --file --size 1073741824 \"/var/swapfile\"\n",
            ),
            (
                "/etc/systemd/system/var-swapfile.swap",
                "[Unit]\nDescription=Swap file\nRequires=strake-swapfile.service\n\
                 After=strake-swapfile.service\n\n[Swap]\nWhat=/var/swapfile\n\n\
                 [Install]\nWantedBy=swap.target\n",
            ),
            (
                "/etc/systemd/system/swap.target.wants/var-swapfile.swap",
                "-> /etc/systemd/system/var-swapfile.swap",
            ),
        ],
    );
}

#[test]
fn strake_keys_make_the_settings_of_their_services() {
    makes(
        "strake: {cluster: {seeds: [10.0.0.1]}}",
        &[(
            "/etc/strake/cluster.json",
            "{\"name\":\"default\",\"seeds\":[\"10.0.0.1\"]}\n",
        )],
    );
    makes(
        "strake: {health: {for: 1500ms}}",
        &[(
            "/etc/strake/health.json",
            "{\"deadline\":\"600s\",\"for\":\"1500ms\",\"require\":[]}\n",
        )],
    );
    makes(
        "strake: {update: {poll_interval: 1h}}",
        &[(
            "/etc/strake/update.json",
            "{\"poll_interval_seconds\":3600}\n",
        )],
    );
    makes(
        "strake: {reboot: {fleetlock: '10.9.0.11:3333', budget: 3, drain: 0s, time_zone: Europe/Berlin, windows: [{start: 'Thu 04:00', length: 1h}]}}",
        &[(
            "/etc/strake/reboot.json",
            "{\"budget\":3,\"drain_seconds\":0,\"fleetlock\":\"10.9.0.11:3333\",\"time_zone\":\"Europe/Berlin\",\
             \"windows\":[{\"length_seconds\":3600,\"start\":\"Thu 04:00\"}]}\n",
        )],
    );
    makes(
        "strake: {dashboard: {listen: '10.9.0.11:8443', token: 0123456789abcdef-}}",
        &[(
            "/etc/strake/dashboard.json",
            "{\"listen\":\"10.9.0.11:8443\",\"token\":\"0123456789abcdef-\"}\n",
        )],
    );
    makes("strake: {addresses: {private: eth1}}", &[]);
}
