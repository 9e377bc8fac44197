//! The service's own processor time, memory and open files, under the names that all of
//! Prometheus' clients use.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use super::{head, line};

/// What cannot be read is left out.
pub(super) fn text() -> String {
    let mut text = String::new();
    let mut tell = |name: &str, help: &str, kind: &str, value: Option<f64>| {
        if let Some(value) = value {
            head(&mut text, name, help, kind);
            line(&mut text, name, "", value);
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let cpu = "Processor time used, in seconds.";
    tell("process_cpu_seconds_total", cpu, "counter", seconds(&stat));
    let memory = "Memory in use, in bytes.";
    tell("process_resident_memory_bytes", memory, "gauge", resident());
    let files = fs::read_dir("/proc/self/fd").ok();
    // One of them is the directory itself.
    let files = files.map(|files| files.count().saturating_sub(1) as f64);
    tell("process_open_fds", "Open files.", "gauge", files);
    let name = "strake_build_info";
    head(&mut text, name, "The version that runs.", "gauge");
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    line(&mut text, name, &version, 1);
    text
}

/// Fields 14 and 15 of proc_pid_stat(5); the second one may have blanks and ends with `)`.
fn seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut ticks = rest
        .split(' ')
        .skip(11)
        .map(|field| field.parse::<f64>().ok());
    let both = ticks.next()?? + ticks.next()??;
    Some(both / of_system(SysconfVar::CLK_TCK)?)
}

fn resident() -> Option<f64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * of_system(SysconfVar::PAGE_SIZE)?)
}

fn of_system(what: SysconfVar) -> Option<f64> {
    sysconf(what).ok()?.map(|value| value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0";
        let ticks = of_system(SysconfVar::CLK_TCK).expect("known");
        assert_eq!(seconds(stat), Some(300.0 / ticks));
        assert_eq!(seconds(""), None);
    }

    #[test]
    fn this_process_tells_of_itself() {
        let text = text();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "strake_build_info",
        ] {
            let found = text.lines().find(|line| line.starts_with(name));
            assert!(found.is_some(), "{name}: {text}");
        }
    }
}
