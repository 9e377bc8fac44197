//! What the output of `cargo test -- --show-output` says. Pure.

use super::Totals;

/// Printed by a test that could not run here; libtest itself counts it as passed.
const SKIPPED: &str = "SKIPPED:";

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    pub(super) totals: Totals,
    /// Test and reason.
    pub(super) skipped: Vec<(String, String)>,
    /// The output of the tests that failed.
    pub(super) failures: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Successes,
    Failures,
}

pub(super) fn parse(output: &str) -> Results {
    let mut results = Results::default();
    let mut section = Section::None;
    let mut test = "";
    for line in output.lines() {
        match line {
            "successes:" => section = Section::Successes,
            "failures:" => section = Section::Failures,
            _ => {}
        }
        if let Some(name) = line.strip_prefix("---- ") {
            test = name.trim_end_matches(" stdout ----");
        }
        if let Some(summary) = line.strip_prefix("test result: ") {
            section = Section::None;
            add(&mut results.totals, summary);
        } else if section == Section::Failures {
            results.failures.push_str(line);
            results.failures.push('\n');
        } else if let Some(reason) = line.trim().strip_prefix(SKIPPED)
            && section == Section::Successes
            && results.skipped.last().is_none_or(|(last, _)| last != test)
        {
            results
                .skipped
                .push((test.to_owned(), reason.trim().to_owned()));
        }
    }
    let skipped = results.skipped.len();
    results.totals.passed = results.totals.passed.saturating_sub(skipped);
    results.totals.skipped += skipped;
    results
}

/// `ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s`
fn add(totals: &mut Totals, summary: &str) {
    for part in summary.split(['.', ';']) {
        let mut words = part.split_whitespace();
        let count = words.next().and_then(|word| word.parse::<usize>().ok());
        match (count, words.next()) {
            (Some(count), Some("passed")) => totals.passed += count,
            (Some(count), Some("failed")) => totals.failed += count,
            (Some(count), Some("ignored")) => totals.skipped += count,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- b stdout ----
SKIPPED: no etcd here
SKIPPED: and said twice

successes:
    a
    b

failures:

---- c stdout ----
thread 'c' panicked at src/lib.rs:1:1

failures:
    c

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s

running 2 tests
test d ... ok
test e ... ignored

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 10.00s
";

    #[test]
    fn binaries_are_added_up_and_skipped_tests_are_not_passed() {
        let results = parse(OUTPUT);
        assert_eq!(
            results.totals,
            Totals {
                passed: 2,
                failed: 1,
                skipped: 2
            }
        );
        assert_eq!(
            results.skipped,
            [("b".to_owned(), "no etcd here".to_owned())]
        );
        assert!(
            results.failures.contains("thread 'c' panicked"),
            "{}",
            results.failures
        );
        assert!(
            !results.failures.contains("test result"),
            "{}",
            results.failures
        );
    }
}
