//! The phases of this boot, from strake-init's record and systemd's timestamps. Pure.
//!
//! Zero is the start of the kernel; firmware and loader lie before it.

use serde::{Deserialize, Serialize};

use crate::systemd::BootTimes;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    pub name: String,
    pub start_ms: i64,
    pub end_ms: i64,
}

/// `/run/strake/init.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Init {
    pub root_hash: Option<String>,
    pub slot: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub name: String,
    pub start_us: i64,
    pub end_us: i64,
}

/// Only phases that are over, in order of start.
pub fn phases(init: &Init, times: &BootTimes, boot_complete_us: u64) -> Vec<Phase> {
    let time = |key: &str| i64::try_from(times.get(key).copied().unwrap_or(0)).unwrap_or(0);
    let firmware = -time("FirmwareTimestampMonotonic");
    let loader = -time("LoaderTimestampMonotonic");
    let systemd = time("UserspaceTimestampMonotonic");
    let finish = time("FinishTimestampMonotonic");
    let complete = i64::try_from(boot_complete_us).unwrap_or(0);
    let first_step = init.steps.first().map(|step| step.start_us);
    let last_step = init.steps.last().map(|step| step.end_us);
    let mut spans = vec![
        ("firmware".to_string(), firmware, loader),
        ("loader".to_string(), loader, 0),
        ("kernel".to_string(), 0, first_step.unwrap_or(systemd)),
    ];
    spans.extend(
        init.steps
            .iter()
            .map(|step| (format!("init: {}", step.name), step.start_us, step.end_us)),
    );
    spans.extend(last_step.map(|end| ("switch root".to_string(), end, systemd)));
    spans.push(("systemd".to_string(), systemd, finish));
    spans.push(("boot-complete".to_string(), systemd, complete));
    spans
        .into_iter()
        .filter(|(_, start, end)| end > start)
        .map(|(name, start, end)| Phase {
            name,
            start_ms: to_ms(start),
            end_ms: to_ms(end),
        })
        .collect()
}

fn to_ms(microseconds: i64) -> i64 {
    (microseconds + 500).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times: &[(&'static str, u64)], steps: &[(&str, i64, i64)], expected: &str) {
        let step = |&(name, start_us, end_us): &(&str, i64, i64)| Step {
            name: name.to_string(),
            start_us,
            end_us,
        };
        let init = Init {
            steps: steps.iter().map(step).collect(),
            ..Init::default()
        };
        let found = phases(&init, &times.iter().copied().collect(), 9_000_000);
        let text = found
            .iter()
            .map(|phase| format!("{} {}..{}", phase.name, phase.start_ms, phase.end_ms));
        assert_eq!(text.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn all_phases_in_order() {
        let times = [
            ("FirmwareTimestampMonotonic", 3_000_000),
            ("LoaderTimestampMonotonic", 1_000_000),
            ("UserspaceTimestampMonotonic", 2_000_000),
            ("FinishTimestampMonotonic", 8_000_400),
        ];
        let steps = [
            ("modules", 900_000, 1_100_000),
            ("verity", 1_100_000, 1_500_000),
        ];
        let expected = "firmware -3000..-1000, loader -1000..0, kernel 0..900, \
                        init: modules 900..1100, init: verity 1100..1500, \
                        switch root 1500..2000, systemd 2000..8000, boot-complete 2000..9000";
        check(&times, &steps, expected);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        check(&[], &[], "boot-complete 0..9000");
        check(
            &[("UserspaceTimestampMonotonic", 2_000_000)],
            &[],
            "kernel 0..2000, boot-complete 2000..9000",
        );
    }
}
