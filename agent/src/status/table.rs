//! `strake status` for people. Pure.

use std::fmt::{self, Display, Formatter};

use super::Status;
use super::entry::{Entry, State};

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_string());
        let slot = self
            .slot
            .as_ref()
            .map(|slot| format!(", slot {slot}"))
            .unwrap_or_default();
        row(f, "release", &format!("{}{slot}", text(&self.release)))?;
        row(f, "root hash", &text(&self.root_hash))?;
        row(f, "boot entry", &entry(&self.entry))?;
        row(f, "machine id", &text(&self.machine_id))?;
        row(f, "hostname", &text(&self.hostname))?;
        row(
            f,
            "up",
            &self.uptime_seconds.map_or("unknown".to_string(), duration),
        )?;
        row(f, "config", &self.config())?;
        for problem in &self.config.problems {
            row(f, "", &problem.to_string())?;
        }
        let reason = self
            .health
            .reason
            .as_ref()
            .map(|reason| format!(": {reason}"));
        let health = format!("{}{}", self.health.state.word(), reason.unwrap_or_default());
        row(f, "health", &health)?;
        let failed = match self.units.failed.as_deref() {
            None => "unknown".to_string(),
            Some([]) => "none".to_string(),
            Some(failed) => failed.join(", "),
        };
        row(f, "failed units", &failed)?;
        if let Some(staged) = &self.update.staged {
            row(
                f,
                "update",
                &format!("{staged} is installed, reboot to use it"),
            )?;
        }
        for refused in &self.update.refused {
            row(
                f,
                "refused",
                &format!("{}: {}", refused.version, refused.cause),
            )?;
        }
        if let Some(cluster) = &self.cluster {
            row(f, "cluster", &cluster.text())?;
            if let Some(summary) = &cluster.summary {
                let units = format!("{} held, {} up", summary.units, summary.up);
                row(f, "its units", &units)?;
                for broken in &summary.broken {
                    row(f, "", &format!("{}: {}", broken.unit, broken.cause))?;
                }
            }
        }
        for alarm in &self.update.alarms {
            row(f, "ALARM", &alarm.text)?;
        }
        for note in &self.notes {
            row(f, "note", note)?;
        }
        self.phases(f)
    }
}

impl Status {
    fn config(&self) -> String {
        let outcome = self.config.outcome.unwrap_or("unknown");
        let source = self
            .config
            .source
            .as_ref()
            .map(|source| format!(", {source}"));
        let short = |digest: &String| format!(", {}", digest.get(..19).unwrap_or(digest));
        let digest = self.config.digest.as_ref().map(short);
        format!(
            "{outcome}{}{}",
            source.unwrap_or_default(),
            digest.unwrap_or_default()
        )
    }

    fn phases(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(width) = self.boot.phases.iter().map(|phase| phase.name.len()).max() else {
            return Ok(());
        };
        writeln!(
            f,
            "\n{:width$}  {:>9}  {:>9}",
            "boot phase", "start", "took"
        )?;
        for phase in &self.boot.phases {
            let (start, took) = (
                seconds(phase.start_ms),
                seconds(phase.end_ms - phase.start_ms),
            );
            writeln!(f, "{:width$}  {start:>9}  {took:>9}", phase.name)?;
        }
        Ok(())
    }
}

fn row(f: &mut Formatter<'_>, key: &str, value: &str) -> fmt::Result {
    writeln!(f, "{key:12}  {value}")
}

fn entry(entry: &Entry) -> String {
    let file = entry.file.as_deref().unwrap_or("unknown");
    match (entry.state, entry.tries_left) {
        (State::Blessed, _) => format!("{file}, blessed"),
        (State::Trying, Some(left)) => format!("{file}, trying, {left} tries left"),
        (State::Trying, None) => format!("{file}, trying"),
        (State::Unknown, _) => format!("{file}, state unknown"),
    }
}

fn seconds(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let (whole, rest) = (milliseconds.abs() / 1000, milliseconds.abs() % 1000);
    format!("{sign}{whole}.{rest:03} s")
}

fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
