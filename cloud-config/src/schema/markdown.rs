//! The schema as the reference page `docs/cloud-config.md`.

use std::fmt::Write;

use super::{Key, Kind, ROOT, Table};

const HEAD: &str = "\
# cloud-config reference

This page is generated from the table the checker uses; a test keeps it current. A cloud-config
begins with the line `#cloud-config` and is YAML. Hyphen and underscore are the same in every key.
What is wrong is reported with line and column before anything is touched: an error stops the
whole config and the last good one stays in force, a warning does not.

Other user-data: a script (`#!`), `multipart/mixed` with any number of both in their order, any of
them packed with gzip, or nothing at all. Limits: 16 MiB expanded, 8 levels of packing, 256 parts,
250,000 values with aliases expanded, 64 levels of nesting.

## Address variables

`$public_ipv4`, `$private_ipv4`, `$public_ipv6` and `$private_ipv6` are replaced everywhere in the
text, scripts included; `\\$public_ipv4` gives the name itself. A file or unit that needs an address
not yet known waits for the network; nothing else does.

`/etc/environment` has the addresses as `COREOS_PUBLIC_IPV4` and so on once the network phase is done. A
unit of the config with `EnvironmentFile=/etc/environment` starts after that phase, unless it is ordered before the
network or the config writes that file itself without an address variable.

## Layers

The configs of image, vendor (OEM) and user are merged in this order. A single value of the later
replaces that of the earlier. Lists of plain values are joined; users, units, drop-ins, mounts and
modules are joined by name; a file replaces the one of its path. `strake.cluster.seeds`,
`strake.update.windows` and the mirrors of one registry are replaced as a whole.

## Example

```yaml
#cloud-config
hostname: node-1
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEexample ops@example.com
write_files:
  - path: /etc/motd
    content: |
      This is $private_ipv4.
coreos:
  update:
    group: stable
    reboot-strategy: etcd-lock
  units:
    - name: web.service
      enable: true
      command: start
      content: |
        [Unit]
        Requires=docker.service
        After=docker.service
        [Service]
        ExecStart=/usr/bin/docker run --rm --name web -p 80:80 registry.example.com/web
        ExecStop=/usr/bin/docker stop web
        Restart=always
        [Install]
        WantedBy=multi-user.target
strake:
  cluster:
    name: lab
    seeds: [10.9.0.11, 10.9.0.12, 10.9.0.13]
  health:
    require: [web.service]
```

## Types

*text* takes any single value; *flag* is `true` or `false` (also `yes`, `no`, `on`, `off`);
*duration* is a number with unit, such as `90s` or `1h30m`.
";

pub fn reference_markdown() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, &ROOT, "");
    page
}

fn section(page: &mut String, table: &Table, path: &str) {
    let title = if path.is_empty() {
        "Top level".to_owned()
    } else {
        format!("`{path}`")
    };
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "\n## {title}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
    );
    for key in table.keys {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            kind(&key.kind),
            default(key),
            doc(key)
        );
    }
    for key in table.keys {
        let path = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{path}.{}", key.name)
        };
        match &key.kind {
            Kind::Map(table) => section(page, table, &path),
            Kind::List(Kind::Map(table)) => section(page, table, &format!("{path}[]")),
            _ => {}
        }
    }
}

fn kind(kind_of: &Kind) -> String {
    match kind_of {
        Kind::Text(format) => format.name.to_owned(),
        Kind::Flag => "flag".to_owned(),
        Kind::Integer { min, max } if *max >= 1_000_000_000 => format!("whole number, from {min}"),
        Kind::Integer { min, max } => format!("whole number, {min} to {max}"),
        Kind::Number => "number, not below 0".to_owned(),
        Kind::Choice(names) => {
            let names = names.iter().filter(|name| !name.is_empty());
            names
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        }
        Kind::List(Kind::Map(table)) => format!("list of {}s", table.name),
        Kind::List(item) => format!("list: {}", kind(item)),
        Kind::Map(_) => "mapping".to_owned(),
        Kind::Pairs(format, value) => format!("mapping: {} to {}", format.name, kind(value)),
    }
}

fn default(key: &Key) -> &str {
    match (key.required, key.default) {
        (true, _) => "required",
        (false, "") => "none",
        (false, text) => text,
    }
}

fn doc(key: &Key) -> String {
    match key.deprecated {
        Some(reason) => format!("{} Deprecated: {reason}.", key.doc),
        None => key.doc.to_owned(),
    }
    .replace('|', "\\|")
}
