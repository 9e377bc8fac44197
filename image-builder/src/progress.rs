//! What a build is doing: bars on a terminal, plain lines otherwise, always on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(120);

#[derive(Debug)]
pub struct Progress {
    bars: Option<MultiProgress>,
}

impl Progress {
    pub fn on_stderr() -> Self {
        Self {
            bars: std::io::stderr().is_terminal().then(MultiProgress::new),
        }
    }

    pub fn stage(&self, name: &'static str) -> Stage<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template("{spinner} {msg:16} {elapsed}")
                .expect("the template is fixed");
            let bar = bars.add(ProgressBar::new_spinner().with_style(style));
            bar.set_message(name);
            bar.enable_steady_tick(TICK);
            bar
        });
        Stage {
            progress: self,
            name,
            started: Instant::now(),
            bar,
        }
    }

    pub fn warn(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    pub fn line(&self, text: &str) {
        match &self.bars {
            // A closed terminal is no reason to stop a build.
            Some(bars) => drop(bars.println(text)),
            None => eprintln!("{text}"),
        }
    }
}

/// A running stage; says its time when it is done and nothing when it is dropped after an error.
#[derive(Debug)]
pub struct Stage<'a> {
    progress: &'a Progress,
    name: &'static str,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Stage<'_> {
    pub fn done(self) {
        self.finish("");
    }

    pub fn cached(self) {
        self.finish(" (cached)");
    }

    fn finish(mut self, note: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.progress
            .line(&format!("stage  {:16} {seconds:6.1} s{note}", self.name));
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
