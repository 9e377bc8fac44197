//! What a command tells its user while it works: one line a stage, with its time, on standard
//! error. Plain lines, so that a log of CI reads like a terminal.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

#[derive(Debug)]
pub struct Progress {
    started: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Progress {
    pub fn say(&self, text: &str) {
        eprintln!("[{}] {text}", clock(self.started.elapsed()));
    }

    /// Runs a stage; says that it starts, since it may take minutes, and what it took.
    pub fn stage<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.say(&format!("{name} …"));
        let started = Instant::now();
        let made = work().with_context(|| name.to_owned())?;
        self.say(&format!("{name}: {}", seconds(started.elapsed())));
        Ok(made)
    }
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:2}:{:02}", seconds / 60, seconds % 60)
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(clock(Duration::from_secs(65)), " 1:05");
        assert_eq!(seconds(Duration::from_millis(1240)), "1.2 s");
    }
}
