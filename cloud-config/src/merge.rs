//! Layers of configs: the image's, the vendor's (OEM), the user's; the later is the stronger.
//!
//! - A single value of a stronger layer replaces that of a weaker one, key by key.
//! - Lists of plain values are joined, weaker first, without repetition: keys, groups, servers,
//!   certificates, modules, registries, required units.
//! - Lists of named things are joined by name: users and units field by field, drop-ins by their
//!   name, mounts by path; a file replaces the one of the same path, but additions
//!   (`append`) stay behind what they add to.
//! - Seeds, windows and the mirrors of one registry are an ordered choice: the stronger list replaces.
//! - Scripts all run, weaker first.

use std::collections::btree_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::config::{
    Config, Health, Oem, Overlay, Reboot, Setting, Unit, Update, UpdateLimits, User, WriteFile,
    Written,
};

/// Merges layers, the weakest first. No layer is an empty config.
pub fn merge(layers: Vec<Config>) -> Config {
    let mut layers = layers.into_iter();
    let first = layers.next().unwrap_or_default();
    layers.fold(first, over)
}

fn over(weak: Config, strong: Config) -> Config {
    let mut merged = weak;
    replace(&mut merged.hostname, strong.hostname);
    join(&mut merged.ssh_authorized_keys, strong.ssh_authorized_keys);
    join_named(
        &mut merged.users,
        strong.users,
        |user| &user.name,
        merge_user,
    );
    merge_files(&mut merged.write_files, strong.write_files);
    replace(&mut merged.manage_etc_hosts, strong.manage_etc_hosts);
    merge_services(&mut merged, strong.oem, strong.update);
    for (daemon, settings) in strong.daemons {
        match merged.daemons.entry(daemon) {
            Entry::Vacant(vacant) => {
                vacant.insert(settings);
            }
            Entry::Occupied(mut known) => merge_settings(known.get_mut(), settings),
        }
    }
    join_named(
        &mut merged.units,
        strong.units,
        |unit| &unit.name,
        Unit::absorb,
    );
    join(&mut merged.ntp.servers, strong.ntp.servers);
    join(
        &mut merged.ntp.fallback_servers,
        strong.ntp.fallback_servers,
    );
    replace(&mut merged.timezone, strong.timezone);
    join(&mut merged.ca_certs, strong.ca_certs);
    merged.sysctl.extend(strong.sysctl);
    join_named(
        &mut merged.kernel_modules,
        strong.kernel_modules,
        |module| &module.name,
        set,
    );
    join_named(&mut merged.mounts, strong.mounts, |mount| &mount.path, set);
    replace(&mut merged.swap, strong.swap);
    replace(&mut merged.proxy.http, strong.proxy.http);
    replace(&mut merged.proxy.https, strong.proxy.https);
    join(&mut merged.proxy.no_proxy, strong.proxy.no_proxy);
    merged.registry_mirrors.extend(strong.registry_mirrors);
    join(&mut merged.insecure_registries, strong.insecure_registries);
    replace(&mut merged.strake.cluster.name, strong.strake.cluster.name);
    if !strong.strake.cluster.seeds.is_empty() {
        merged.strake.cluster.seeds = strong.strake.cluster.seeds;
    }
    replace(&mut merged.strake.cluster.ca, strong.strake.cluster.ca);
    replace(
        &mut merged.strake.cluster.ca_key,
        strong.strake.cluster.ca_key,
    );
    replace(
        &mut merged.strake.cluster.join_secret,
        strong.strake.cluster.join_secret,
    );
    replace(
        &mut merged.strake.cluster.names,
        strong.strake.cluster.names,
    );
    merge_health(&mut merged.strake.health, strong.strake.health);
    merge_update(&mut merged.strake.update, strong.strake.update);
    merge_reboot(&mut merged.strake.reboot, strong.strake.reboot);
    merge_overlay(&mut merged.strake.overlay, strong.strake.overlay);
    replace(&mut merged.strake.dashboard, strong.strake.dashboard);
    replace(
        &mut merged.strake.addresses.public,
        strong.strake.addresses.public,
    );
    replace(
        &mut merged.strake.addresses.private,
        strong.strake.addresses.private,
    );
    merged.scripts.extend(strong.scripts);
    merged
}

fn replace<T>(weak: &mut Option<T>, strong: Option<T>) {
    if strong.is_some() {
        *weak = strong;
    }
}

fn join<T: Clone + Eq + Hash>(weak: &mut Vec<T>, strong: Vec<T>) {
    let mut known: HashSet<T> = weak.iter().cloned().collect();
    weak.extend(strong.into_iter().filter(|item| known.insert(item.clone())));
}

/// Joins named things: what is known by its name takes in the stronger one.
fn join_named<T>(weak: &mut Vec<T>, strong: Vec<T>, name: fn(&T) -> &str, take: fn(&mut T, T)) {
    let mut known: HashMap<String, usize> = weak
        .iter()
        .enumerate()
        .map(|(index, item)| (name(item).to_owned(), index))
        .collect();
    for item in strong {
        match known.get(name(&item)) {
            Some(index) => take(&mut weak[*index], item),
            None => {
                known.insert(name(&item).to_owned(), weak.len());
                weak.push(item);
            }
        }
    }
}

fn merge_user(weak: &mut User, strong: User) {
    replace(&mut weak.passwd, strong.passwd);
    replace(&mut weak.gecos, strong.gecos);
    replace(&mut weak.homedir, strong.homedir);
    replace(&mut weak.primary_group, strong.primary_group);
    replace(&mut weak.shell, strong.shell);
    weak.no_create_home |= strong.no_create_home;
    weak.no_user_group |= strong.no_user_group;
    weak.system |= strong.system;
    weak.no_log_init |= strong.no_log_init;
    join(&mut weak.groups, strong.groups);
    join(&mut weak.ssh_authorized_keys, strong.ssh_authorized_keys);
    join(&mut weak.key_imports, strong.key_imports);
}

fn merge_files(weak: &mut Vec<WriteFile>, strong: Vec<WriteFile>) {
    let appends = |file: &WriteFile| matches!(file.written, Written::Append(_));
    let replaced: HashSet<&str> = strong
        .iter()
        .filter(|file| !appends(file))
        .map(|file| &*file.path)
        .collect();
    weak.retain(|known| !replaced.contains(&*known.path));
    weak.extend(strong);
}

fn set<T>(weak: &mut T, strong: T) {
    *weak = strong;
}

fn merge_services(merged: &mut Config, oem: Oem, update: Update) {
    replace(&mut merged.oem.id, oem.id);
    replace(&mut merged.oem.name, oem.name);
    replace(&mut merged.oem.version_id, oem.version_id);
    replace(&mut merged.oem.home_url, oem.home_url);
    replace(&mut merged.oem.bug_report_url, oem.bug_report_url);
    replace(&mut merged.update.reboot_strategy, update.reboot_strategy);
    replace(&mut merged.update.group, update.group);
    replace(&mut merged.update.server, update.server);
}

fn merge_settings(weak: &mut Vec<Setting>, strong: Vec<Setting>) {
    for setting in strong {
        match weak
            .iter_mut()
            .find(|known| known.variable == setting.variable)
        {
            Some(known) => *known = setting,
            None => weak.push(setting),
        }
    }
}

fn merge_health(weak: &mut Health, strong: Health) {
    join(&mut weak.require, strong.require);
    replace(&mut weak.settle, strong.settle);
    replace(&mut weak.deadline, strong.deadline);
}

/// Windows are one statement about when, not a collection.
fn merge_update(weak: &mut UpdateLimits, strong: UpdateLimits) {
    replace(&mut weak.poll_interval, strong.poll_interval);
    replace(&mut weak.bandwidth, strong.bandwidth);
    replace(&mut weak.cpu_percent, strong.cpu_percent);
    if !strong.windows.is_empty() {
        weak.windows = strong.windows;
    }
}

fn merge_overlay(weak: &mut Overlay, strong: Overlay) {
    replace(&mut weak.network, strong.network);
    replace(&mut weak.ipv6_network, strong.ipv6_network);
    replace(&mut weak.subnet_length, strong.subnet_length);
    replace(&mut weak.ipv6_subnet_length, strong.ipv6_subnet_length);
    replace(&mut weak.backend, strong.backend);
    replace(&mut weak.vni, strong.vni);
    replace(&mut weak.port, strong.port);
    replace(&mut weak.mtu, strong.mtu);
    replace(&mut weak.direct_routing, strong.direct_routing);
    replace(&mut weak.mode, strong.mode);
    replace(&mut weak.keepalive, strong.keepalive);
    replace(&mut weak.masquerade, strong.masquerade);
    replace(&mut weak.interface, strong.interface);
    replace(&mut weak.prefix, strong.prefix);
    join_named(&mut weak.networks, strong.networks, |one| &one.name, set);
}

fn merge_reboot(weak: &mut Reboot, strong: Reboot) {
    replace(&mut weak.time_zone, strong.time_zone);
    replace(&mut weak.group, strong.group);
    replace(&mut weak.users, strong.users);
    replace(&mut weak.drain, strong.drain);
    replace(&mut weak.budget, strong.budget);
    replace(&mut weak.fleetlock, strong.fleetlock);
    if !strong.windows.is_empty() {
        weak.windows = strong.windows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, check};

    fn config(text: &str) -> Config {
        let checked = check(
            format!("#cloud-config\n{text}\n").as_bytes(),
            &Context::default(),
        );
        checked
            .config
            .unwrap_or_else(|| panic!("{text}: {:?}", checked.problems))
    }

    /// Two layers merged are the third.
    #[track_caller]
    fn check_merge(weak: &str, strong: &str, expected: &str) {
        let merged = merge(vec![config(weak), config(strong)]);
        assert_eq!(merged, config(expected), "{weak} under {strong}");
    }

    #[test]
    fn single_values_of_the_stronger_layer_win_key_by_key() {
        check_merge(
            "hostname: a\ntimezone: UTC",
            "hostname: b",
            "hostname: b\ntimezone: UTC",
        );
        check_merge(
            "coreos: {update: {group: alpha, reboot_strategy: off}}",
            "coreos: {update: {group: beta}}",
            "coreos: {update: {group: beta, reboot_strategy: off}}",
        );
        check_merge(
            "swap: {size: 1G}",
            "swap: {size: 2G, path: /var/s}",
            "swap: {size: 2G, path: /var/s}",
        );
        check_merge(
            "sysctl: {a.b: 1, c.d: 2}",
            "sysctl: {a.b: 3}",
            "sysctl: {a.b: 3, c.d: 2}",
        );
    }

    #[test]
    fn lists_are_joined_without_repetition() {
        check_merge(
            "insecure_registries: [a, b]\nntp: {servers: [x]}",
            "insecure_registries: [b, c]\nntp: {servers: [y]}",
            "insecure_registries: [a, b, c]\nntp: {servers: [x, y]}",
        );
    }

    #[test]
    fn users_and_units_are_joined_by_name() {
        check_merge(
            "users: [{name: a, shell: /bin/x, groups: [g]}]",
            "users: [{name: b}, {name: a, shell: /bin/y, groups: [h]}]",
            "users: [{name: a, shell: /bin/y, groups: [g, h]}, {name: b}]",
        );
        check_merge(
            "coreos: {units: [{name: a.service, enable: true, drop_ins: [{name: x.conf, content: '[Unit]'}]}]}",
            "coreos: {units: [{name: a.service, command: stop, drop_ins: [{name: x.conf, content: '[Service]'}]}]}",
            "coreos: {units: [{name: a.service, enable: true, command: stop, drop_ins: [{name: x.conf, content: '[Service]'}]}]}",
        );
    }

    #[test]
    fn a_file_replaces_the_one_of_its_path_and_additions_stay() {
        check_merge(
            "write_files: [{path: /etc/a, content: 1}, {path: /etc/b, content: 2}]",
            "write_files: [{path: /etc/a, content: 3}, {path: /etc/b, content: 4, append: true}]",
            "write_files: [{path: /etc/b, content: 2}, {path: /etc/a, content: 3}, {path: /etc/b, content: 4, append: true}]",
        );
    }

    #[test]
    fn an_ordered_choice_is_replaced_as_a_whole() {
        check_merge(
            "strake: {cluster: {name: l, seeds: [10.0.0.1]}}\nregistry_mirrors: {a: [http://x], b: [http://y]}",
            "strake: {cluster: {seeds: [10.0.0.2]}}\nregistry_mirrors: {a: [http://z]}",
            "strake: {cluster: {name: l, seeds: [10.0.0.2]}}\nregistry_mirrors: {a: [http://z], b: [http://y]}",
        );
    }

    #[test]
    fn limits_of_updates_are_merged_one_by_one() {
        check_merge(
            "strake: {update: {bandwidth: 1M, windows: [{start: '04:00', length: 1h}]}}",
            "strake: {update: {cpu_percent: 5, windows: [{start: '05:00', length: 2h}]}}",
            "strake: {update: {bandwidth: 1M, cpu_percent: 5, windows: [{start: '05:00', length: 2h}]}}",
        );
        check_merge(
            "strake: {reboot: {users: 1m, windows: [{start: '04:00', length: 1h}]}}",
            "strake: {reboot: {drain: 0s, windows: [{start: '05:00', length: 2h}]}}",
            "strake: {reboot: {users: 1m, drain: 0s, windows: [{start: '05:00', length: 2h}]}}",
        );
    }

    #[test]
    fn no_layer_is_an_empty_config() {
        assert_eq!(merge(Vec::new()), Config::default());
    }
}
