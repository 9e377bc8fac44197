//! A client on each machine that uses a service of the cluster by its name, over the overlay.

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::registry::{GREETER_PORT, GREETING};

const KEPT: &str = "/var/lib/asker";

/// Asks twice a second from the first answer on. A name has an address for each container that
/// runs; like most clients curl tries the next one when one does not answer.
pub(super) fn section(service: &str) -> String {
    format!(
        "  units:
    - name: asker.service
      enable: true
      content: |
        [Unit]
        After=docker.service strake-scheduler.service strake-overlay.service systemd-resolved.service
        [Service]
        StateDirectory=asker
        ExecStart=/etc/asker http://{service}:{GREETER_PORT}/
        [Install]
        WantedBy=multi-user.target
"
    )
}

pub(super) fn file() -> String {
    format!(
        "  - path: /etc/asker
    permissions: '0755'
    content: |
      #!/bin/sh
      ask() {{
        curl -sS --connect-timeout 8 --max-time 15 \"$1\" | grep -q '{GREETING}'
      }}
      until ask \"$1\"; do sleep 1; done
      while sleep 0.5; do
        if ask \"$1\"; then echo >> {KEPT}/answered; else date -Is >> {KEPT}/failed; fi
      done
"
    )
}

/// Requests so far, and those that failed.
pub(super) fn counts(machine: &mut Machine) -> Result<(usize, usize)> {
    let told = machine.ask(&format!(
        "for file in answered failed; do sudo cat {KEPT}/$file 2>/dev/null | wc -l; done"
    ))?;
    let mut counts = told.lines().map(str::parse);
    let mut next = || counts.next().context("no count")?.context("no number");
    let (answered, failed): (usize, usize) = (next()?, next()?);
    Ok((answered + failed, failed))
}
