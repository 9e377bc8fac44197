//! A release that does not come up healthy, in the way the machine's `/etc/breaker` says; without
//! one a required unit fails.
//!
//! Everything that is broken is in the release's own files: no program has a switch for it.

/// Required by the machines' cloud-config.
pub(in crate::scenario) const REQUIRED: &str = "systemd-timesyncd.service";

pub(super) const FILES: [(&str, &str); 6] = [
    (
        "usr/lib/systemd/system/sysinit.target.d/50-breaker.conf",
        "[Unit]\nWants=breaker.service\n",
    ),
    ("usr/lib/systemd/system/breaker.service", UNIT),
    ("usr/lib/strake-breaker/break", SCRIPT),
    ("usr/lib/strake-breaker/impatient", IMPATIENT),
    (
        "usr/lib/systemd/system/systemd-timesyncd.service.d/90-breaker.conf",
        TIMESYNCD,
    ),
    (
        "usr/lib/systemd/system/strake-health.service.d/90-breaker.conf",
        HEALTH,
    ),
];

const UNIT: &str = "\
[Unit]
Description=Breaks this release
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target strake-health.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /usr/lib/strake-breaker/break
";

/// The hang comes when the watchdog is armed, which is when the kernel shows it as active.
const SCRIPT: &str = r#"
case "$(cat /etc/breaker 2>/dev/null)" in
panic)
    echo c > /proc/sysrq-trigger ;;
pid1)
    kill -s SEGV 1 ;;
agent)
    printf '#!/bin/sh\nkill -s SEGV $$\n' > /run/crasher
    chmod 755 /run/crasher
    mount --bind /run/crasher /usr/bin/strake ;;
hang)
    until grep -q '^active' /sys/class/watchdog/watchdog*/state; do sleep 1; done
    echo 1 > /sys/fs/cgroup/init.scope/cgroup.freeze ;;
esac
"#;

const TIMESYNCD: &str = r#"
[Service]
ExecStart=
ExecStart=/bin/sh -c 'test -e /etc/breaker || exit 1; exec /usr/lib/systemd/systemd-timesyncd'
"#;

/// It waits less long for what never comes.
const HEALTH: &str = "\
[Service]
ExecStartPre=/bin/sh /usr/lib/strake-breaker/impatient
";

const IMPATIENT: &str = r#"
test -e /etc/breaker || cat > /etc/strake/health.json << end
{"require": ["systemd-timesyncd.service"], "for": "1s", "deadline": "15s"}
end
"#;
