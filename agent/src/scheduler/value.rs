//! What stands behind an option's `=`, and names that were nearly right.

/// A continued line as one, as systemd reads it.
pub(super) fn joined(value: &str) -> String {
    value.replace("\\\n", " ").trim().to_string()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yes {
    Yes,
    No,
}

pub(super) fn truth(value: &str) -> Option<Yes> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" | "t" => Some(Yes::Yes),
        "false" | "no" | "0" | "off" | "f" => Some(Yes::No),
        _ => None,
    }
}

/// Seconds of a time such as `90`, `30s`, `5m` or `1h`: more than none, and at most a day.
pub(super) fn span(value: &str) -> Option<u64> {
    let (digits, unit) = match value.char_indices().last()? {
        (at, 's') => (&value[..at], 1),
        (at, 'm') => (&value[..at], 60),
        (at, 'h') => (&value[..at], 3600),
        _ => (value, 1),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit());
    let number: u64 = plain.then(|| digits.parse().ok()).flatten()?;
    let seconds = number.checked_mul(unit)?;
    (1..=86_400).contains(&seconds).then_some(seconds)
}

/// The known name that a slip of up to two keys could have made, letter case aside.
pub(super) fn nearest<'n>(written: &str, known: &[&'n str]) -> Option<&'n str> {
    let written = written.to_ascii_lowercase();
    let distances = known
        .iter()
        .map(|name| (distance(&written, &name.to_ascii_lowercase()), *name));
    let (distance, name) = distances.min()?;
    (distance <= 2).then_some(name)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, d) in b.iter().enumerate() {
            let change = diagonal + usize::from(c != *d);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
