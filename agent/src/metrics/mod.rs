//! Figures that a service tells to Prometheus: counters, gauges and histograms in a registry, as
//! text on the unix socket `/run/strake/metrics/SERVICE.sock`, and over TCP where asked for.
//!
//! Who counts holds a handle and never waits; only registering and telling take the lock. A name
//! means one thing: registering it again with the same labels gives the same handle, with other
//! labels one more series. A service never fails because its figures cannot be told.

mod process;
mod serve;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use serve::{DIRECTORY, LISTEN, offer, offer_at};

/// Upper bounds in seconds for work that takes from a millisecond to a minute.
pub const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Name and value, sorted by nothing: the order given is the order told.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Goes up only.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

/// Goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

/// How often something took how long.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Times>);

#[derive(Debug)]
struct Times {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above all of them.
    counts: Vec<AtomicU64>,
    nanoseconds: AtomicU64,
}

impl Counter {
    pub fn inc(&self) {
        self.add(1);
    }

    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Of something that is counted.
    pub fn set_count(&self, count: usize) {
        self.set(count as f64);
    }

    fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0));
        Histogram(Arc::new(Times {
            bounds,
            counts: counts.collect(),
            nanoseconds: AtomicU64::new(0),
        }))
    }

    pub fn observe(&self, took: Duration) {
        let times = &self.0;
        let place = times
            .bounds
            .partition_point(|bound| *bound < took.as_secs_f64());
        times.counts[place].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        times.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    series: BTreeMap<String, Series>,
}

#[derive(Debug, Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<BTreeMap<&'static str, Family>>>,
}

impl Registry {
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Counter {
        let new = || Series::Counter(Counter::default());
        match self.series(name, help, labels, new) {
            Series::Counter(counter) => counter,
            other => twice(name, &other),
        }
    }

    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Gauge {
        let new = || Series::Gauge(Gauge::default());
        match self.series(name, help, labels, new) {
            Series::Gauge(gauge) => gauge,
            other => twice(name, &other),
        }
    }

    /// Of seconds, over the bounds `SECONDS`.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_>,
    ) -> Histogram {
        let new = || Series::Histogram(Histogram::new(SECONDS));
        match self.series(name, help, labels, new) {
            Series::Histogram(histogram) => histogram,
            other => twice(name, &other),
        }
    }

    fn series(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_>,
        new: impl FnOnce() -> Series,
    ) -> Series {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family {
            help,
            series: BTreeMap::new(),
        });
        let series = family.series.entry(labelled(labels));
        series.or_insert_with(new).clone()
    }

    /// All of it in the text format 0.0.4, by name.
    pub fn text(&self) -> String {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, family) in families.iter() {
            let kind = match family.series.values().next() {
                Some(Series::Counter(_)) => "counter",
                Some(Series::Gauge(_)) => "gauge",
                Some(Series::Histogram(_)) => "histogram",
                None => continue,
            };
            head(&mut text, name, family.help, kind);
            for (labels, series) in &family.series {
                match series {
                    Series::Counter(counter) => {
                        line(&mut text, name, labels, counter.0.load(Ordering::Relaxed));
                    }
                    Series::Gauge(gauge) => line(&mut text, name, labels, gauge.value()),
                    Series::Histogram(histogram) => buckets(&mut text, name, labels, &histogram.0),
                }
            }
        }
        text
    }
}

/// A mistake in this program that shows at its first start.
fn twice(name: &str, other: &Series) -> ! {
    panic!("{name} is registered as another kind of figure: {other:?}")
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(text, "{name} {value}"),
        labels => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

fn buckets(text: &mut String, name: &str, labels: &str, times: &Times) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = 0;
    for (place, count) in times.counts.iter().enumerate() {
        below += count.load(Ordering::Relaxed);
        let bound = times.bounds.get(place);
        let bound = bound.map_or("+Inf".to_string(), f64::to_string);
        let labels = format!("{labels}{comma}le=\"{bound}\"");
        line(text, &format!("{name}_bucket"), &labels, below);
    }
    let seconds = Duration::from_nanos(times.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
    line(text, &format!("{name}_sum"), labels, seconds);
    line(text, &format!("{name}_count"), labels, below);
}

fn labelled(labels: Labels<'_>) -> String {
    let pairs = labels.iter().map(|(name, value)| {
        let value = value
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('\n', r"\n");
        format!("{name}=\"{value}\"")
    });
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_told_in_the_text_format() {
        let registry = Registry::default();
        let made = registry.counter("made_total", "Things made.", &[("kind", "a \"b\"\n\\")]);
        made.add(2);
        registry.gauge("level", "How high.", &[]).set(1.5);
        registry.counter("made_total", "", &[("kind", "z")]).inc();
        let expected = "# HELP level How high.\n# TYPE level gauge\nlevel 1.5\n\
            # HELP made_total Things made.\n# TYPE made_total counter\n\
            made_total{kind=\"a \\\"b\\\"\\n\\\\\"} 2\nmade_total{kind=\"z\"} 1\n";
        assert_eq!(registry.text(), expected);
    }

    #[test]
    fn the_same_name_and_labels_are_the_same_series() {
        let registry = Registry::default();
        for _ in 0..3 {
            registry.counter("n_total", "N.", &[("a", "1")]).inc();
        }
        assert!(registry.text().contains("n_total{a=\"1\"} 3\n"));
    }

    #[test]
    fn buckets_count_all_that_was_no_longer_than_their_bound() {
        let registry = Registry::default();
        let took = registry.histogram("took_seconds", "How long.", &[("of", "x")]);
        for milliseconds in [1, 2, 30, 61_000] {
            took.observe(Duration::from_millis(milliseconds));
        }
        let text = registry.text();
        for line in [
            "took_seconds_bucket{of=\"x\",le=\"0.001\"} 1",
            "took_seconds_bucket{of=\"x\",le=\"0.0025\"} 2",
            "took_seconds_bucket{of=\"x\",le=\"0.025\"} 2",
            "took_seconds_bucket{of=\"x\",le=\"60\"} 3",
            "took_seconds_bucket{of=\"x\",le=\"+Inf\"} 4",
            "took_seconds_sum{of=\"x\"} 61.033",
            "took_seconds_count{of=\"x\"} 4",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
    }
}
