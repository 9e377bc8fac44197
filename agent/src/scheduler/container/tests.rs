use super::*;

fn name(text: &str) -> UnitName {
    text.parse().expect("name")
}

fn written(unit: &str, text: &str) -> Result<String, Vec<String>> {
    let text = Text::parse(text).expect("text");
    let service = service(&name(unit), &text);
    service
        .map(|service| service.to_string())
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

/// What the service's line of this name holds, its last one.
fn line(unit: &str, text: &str, option: &str) -> String {
    let text = Text::parse(text).expect("text");
    let service = service(&name(unit), &text).expect("service");
    let value = service.value("Service", option);
    value.unwrap_or_default().to_string()
}

/// The flags between `docker create --name=... --label=... --log-driver=none` and the image.
fn flags(keys: &str) -> String {
    let line = line(
        "a.container",
        &format!("[Container]\nImage=i\n{keys}"),
        "ExecStartPre",
    );
    let start = "/usr/bin/docker create --name=systemd-a --label=strake.unit=a.container ";
    let flags = line.strip_prefix(start).expect("the head");
    let flags = flags.strip_prefix("--log-driver=none").expect("a driver");
    flags
        .strip_suffix(" i")
        .expect("the image")
        .trim()
        .to_string()
}

#[test]
fn the_service_is_as_written_here() {
    let unit = "[Unit]\nDescription=The web\nAfter=db.service\n\n[Container]\nImage=registry/web:%i\n\
                Exec=serve --name \"a b\" \\\n  $MODE\nPublishPort=8080:80\nEnvironment=A=1 \"B=x $y\"\n\n\
                [Service]\nRestart=always\nExecStartPre=/bin/mkdir -p /var/lib/web\n\n\
                [Install]\nWantedBy=multi-user.target\n\n[X-Strake]\nMemory=1G\n";
    let removal = r#"-/bin/sh -c "ids=$$(docker ps --all --quiet --no-trunc --filter 'label=strake.unit=web@1.container'); [ -z \"$$ids\" ] || docker rm --force --volumes $$ids >/dev/null""#;
    let waiting = r#"/bin/sh -c "while kill -0 $$MAINPID 2>/dev/null; do state=$$(docker inspect --format '{{.State.Status}}' systemd-web_1 2>/dev/null); case \"$$state\" in running) exit 0;; esac; sleep 0.2; done""#;
    let creation = "/usr/bin/docker create --name=systemd-web_1 --label=strake.unit=web@1.container \
                    --log-driver=none \"--env=A=1\" \"--env=B=x $$y\" --publish=8080:80 registry/web:%i \
                    serve --name \"a b\" \"$MODE\""
        .replace("\"--env=A=1\"", "--env=A=1");
    let expected = format!(
        "[Unit]\nRequires=docker.socket\nAfter=docker.socket docker.service\nDescription=The web\n\
         After=db.service\n\n[Service]\nType=exec\nSuccessExitStatus=143\nSyslogIdentifier=%N\n\
         TimeoutStartSec=600\nExecStopPost={removal}\nExecStartPost={waiting}\nRestart=always\n\
         ExecStartPre=/bin/mkdir -p /var/lib/web\nExecStartPre={removal}\nExecStartPre={creation}\n\
         ExecStart=/usr/bin/docker start --attach systemd-web_1\n\
         ExecStop=/usr/bin/docker stop systemd-web_1\n"
    );
    assert_eq!(written("web@1.container", unit), Ok(expected));
}

#[test]
fn each_key_becomes_the_flag_that_means_the_same() {
    let cases = [
        (
            "AddCapability=NET_ADMIN SYS_TIME\nDropCapability=all",
            "--cap-add=NET_ADMIN --cap-add=SYS_TIME --cap-drop=all",
        ),
        ("AddDevice=/dev/fuse", "--device=/dev/fuse"),
        ("AddHost=db:10.0.0.1", "--add-host=db:10.0.0.1"),
        (
            "DNS=10.0.0.53\nDNSSearch=example.org",
            "--dns=10.0.0.53 --dns-search=example.org",
        ),
        ("Entrypoint=/bin/x", "--entrypoint=/bin/x"),
        (
            "Environment='A=b c' D=\nEnvironment=E=f",
            "\"--env=A=b c\" --env=D= --env=E=f",
        ),
        ("EnvironmentFile=/etc/web.env", "--env-file=/etc/web.env"),
        (
            "HealthCmd=curl -f $URL\nHealthInterval=1m30s\nHealthRetries=2",
            "--health-interval=1m30s --health-retries=2 \"--health-cmd=curl -f $$URL\"",
        ),
        ("HealthCmd=none", "--no-healthcheck"),
        ("HostName=web", "--hostname=web"),
        ("Label=a=b \"c=d e\"", "--label=a=b \"--label=c=d e\""),
        (
            "Memory=512m\nPidsLimit=-1\nShmSize=64m",
            "--memory=512m --pids-limit=-1 --shm-size=64m",
        ),
        (
            "Mount=type=bind,source=/a,target=/b,ro",
            "--mount=type=bind,source=/a,target=/b,ro",
        ),
        ("Network=host", "--network=host"),
        (
            "Network=front\nNetworkAlias=web\nIP=10.9.0.3",
            "--ip=10.9.0.3 --network=front --network-alias=web",
        ),
        (
            "NoNewPrivileges=yes\nRunInit=true",
            "--security-opt=no-new-privileges --init",
        ),
        ("NoNewPrivileges=no\nRunInit=false\nReadOnly=no", ""),
        (
            "PublishPort=80\nPublishPort=127.0.0.1:8080-8081:80-81/udp\nPublishPort=[::1]:90:90",
            "--publish=80 --publish=127.0.0.1:8080-8081:80-81/udp \"--publish=[::1]:90:90\"",
        ),
        (
            "PublishPort=80\nPublishPort=\nPublishPort=81",
            "--publish=81",
        ),
        ("Pull=always\nPull=never", "--pull=never"),
        (
            "ReadOnly=yes",
            "--read-only --tmpfs=/run:rw,nosuid,nodev,exec,mode=0755 --tmpfs=/tmp:rw,nosuid,nodev,exec,mode=1777 --tmpfs=/var/tmp:rw,nosuid,nodev,exec,mode=1777",
        ),
        ("ReadOnly=yes\nReadOnlyTmpfs=no", "--read-only"),
        (
            "ReadOnly=yes\nTmpfs=/run:size=1m\nVolume=/srv:/tmp\nMount=type=tmpfs,dst=/var/tmp",
            "--mount=type=tmpfs,dst=/var/tmp --tmpfs=/run:size=1m --volume=/srv:/tmp --read-only",
        ),
        (
            "SeccompProfile=/etc/s.json",
            "--security-opt=seccomp=/etc/s.json",
        ),
        (
            "StopSignal=SIGINT\nStopTimeout=60",
            "--stop-signal=SIGINT --stop-timeout=60",
        ),
        (
            "Sysctl=net.core.somaxconn=1024",
            "--sysctl=net.core.somaxconn=1024",
        ),
        ("Ulimit=nofile=1000:2000", "--ulimit=nofile=1000:2000"),
        ("User=1000\nGroup=100", "--user=1000:100"),
        ("User=web", "--user=web"),
        (
            "Volume=data:/data:ro,z\nVolume=/srv:/srv\nVolume=/scratch",
            "--volume=data:/data:ro,z --volume=/srv:/srv --volume=/scratch",
        ),
        ("WorkingDir=/srv", "--workdir=/srv"),
    ];
    for (keys, expected) in cases {
        assert_eq!(flags(keys), expected, "{keys}");
    }
    let journald = line(
        "a.container",
        "[Container]\nImage=i\nLogDriver=journald\n",
        "ExecStartPre",
    );
    assert!(journald.contains(" --log-driver=journald i"), "{journald}");
}

#[test]
fn the_unit_follows_its_type_and_its_health() {
    let of = |more: &str, option: &str| {
        line(
            "a.container",
            &format!("[Container]\nImage=i\n{more}"),
            option,
        )
    };
    let oneshot = "[Service]\nType=oneshot\n";
    assert_eq!(of(oneshot, "Type"), "oneshot");
    for absent in ["ExecStop", "ExecStartPost", "TimeoutStartSec"] {
        assert_eq!(of(oneshot, absent), "", "{absent}");
    }
    let healthy = of("HealthCmd=true\nNotify=healthy\n", "ExecStartPost");
    assert!(healthy.contains("unhealthy|no*)"), "{healthy}");
    let slow = "StopTimeout=300\n[Service]\nTimeoutStartSec=30\n";
    assert_eq!(of(slow, "TimeoutStopSec"), "330");
    assert_eq!(of(slow, "TimeoutStartSec"), "30");
    assert_eq!(
        of("ReloadSignal=HUP\n", "ExecReload"),
        "/usr/bin/docker kill --signal=HUP systemd-a"
    );
    assert_eq!(
        of("ReloadCmd=nginx -s 'reload'\n", "ExecReload"),
        "/usr/bin/docker exec systemd-a nginx -s reload"
    );
    assert_eq!(
        of("ContainerName=front\n", "ExecStop"),
        "/usr/bin/docker stop front"
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_line() {
    let cases = [
        (
            "Imag=x",
            "[Container] has no option \"Imag\" (did you mean Image?)",
        ),
        (
            "PodmanArgs=--rm",
            "PodmanArgs: not possible here: that is podman's, and these containers are run by docker",
        ),
        (
            "Image=web.image",
            "Image: this is the name of an image in a registry; .image and .build units do not exist here",
        ),
        (
            "Volume=data.volume:/data",
            "Volume: this is SOURCE:PATH or SOURCE:PATH:OPTIONS; SOURCE is an absolute path or a name, PATH is absolute, and of the options docker knows ro, rw, z, Z, nocopy and the kinds of propagation",
        ),
        (
            "Network=web.network",
            "Network: this is host, none, bridge or the name of a docker network of the machine",
        ),
        ("Environment=A", "Environment: this is name=value"),
        ("Environment='A=b", "Environment: a quote is left open"),
        ("Exec=a 'b", "Exec: a quote is left open"),
        (
            "HealthOnFailure=kill",
            "HealthOnFailure: docker does nothing about a container that is not healthy: none",
        ),
        (
            "HealthInterval=often",
            "HealthInterval: this is a time such as 30s or 1m30s",
        ),
        ("ReadOnly=perhaps", "ReadOnly: this is yes or no"),
        (
            "PublishPort=web:80",
            "PublishPort: this is PORT, HOST:PORT or ADDRESS:HOST:PORT, also ranges, and /tcp or /udp behind it",
        ),
        ("Group=web", "Group: this needs User= beside it"),
        (
            "HealthCmd=none\nNotify=healthy",
            "Notify: a container without a health check is never healthy",
        ),
        (
            "ContainerName=a b",
            "ContainerName: this is a name of letters, digits, and _ . - after the first character",
        ),
        (
            "[Service]\nExecStart=/bin/x",
            "ExecStart: the command of a container is Exec= in [Container]",
        ),
        (
            "[Service]\nMemoryMax=1G",
            "MemoryMax: this does not reach the container: see the keys of [Container]",
        ),
        (
            "[Service]\nType=forking",
            "Type: a container is of type exec, notify or oneshot",
        ),
        (
            "[Contaner]\nA=b",
            "[Contaner] is no section of a container (did you mean [Container]?)",
        ),
    ];
    for (keys, expected) in cases {
        let line = 3 + keys.matches('\n').count();
        let expected = format!("line {line}, column 1: {expected}");
        let found = written("a.container", &format!("[Container]\nImage=i\n{keys}\n"));
        assert_eq!(found, Err(vec![expected]), "{keys}");
    }
    let bare = written("a.container", "[Unit]\nDescription=x\n");
    let expected = "line 2, column 1: a container needs Image= in [Container]";
    assert_eq!(bare, Err(vec![expected.to_string()]));
}

#[test]
fn the_table_is_in_order_and_without_doubles() {
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    let mut sorted = names.clone();
    sorted.sort_by_key(|name| name.to_ascii_uppercase());
    sorted.dedup();
    assert_eq!(names.len(), sorted.len());
    for key in &KEYS {
        assert!(!key.form.1.is_empty(), "{}", key.name);
    }
}

proptest::proptest! {
    /// Whatever a user writes: the service has one command that is the container, and every word of
    /// the user's own comes back as it was.
    #[test]
    fn no_value_smuggles_in_another_line(value in "[a-z \"'$%;\\\\\\[\\]\n{}|&-]{0,20}") {
        let quoted = quoted(&value, Dollar::Variable);
        let text = format!("[Container]\nImage=i\nEnvironment={}\n", quoted.replacen('"', "\"A=", 1));
        let text = match quoted.starts_with('"') {
            true => text,
            false => format!("[Container]\nImage=i\nEnvironment=A={quoted}\n"),
        };
        let text = Text::parse(&text).expect("text");
        let service = service(&name("a.container"), &text).expect("service");
        let pre: Vec<&Entry> = service.in_section("Service").filter(|e| e.name == "ExecStartPre").collect();
        proptest::prop_assert_eq!(pre.len(), 2);
        let words = split(&pre[1].value).expect("words");
        let meant = value.replace('$', "$$");
        proptest::prop_assert!(words.contains(&format!("--env=A={meant}")), "{:?}", words);
    }
}
