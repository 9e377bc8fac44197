//! Paths and modes of files.

use super::{Fault, Format, ensure, format};
use crate::problem::{Level, Rule};

pub(crate) static PATH: Format = format("absolute path", r"^/", check_absolute);

/// Where a file can be written: not on the read-only file systems.
pub(crate) static WRITABLE_PATH: Format = format("absolute path outside /usr", r"^/", |text| {
    if ["usr", "bin", "sbin", "lib", "lib64"]
        .iter()
        .any(|top| is_below(text, top))
    {
        return Err(Fault {
            level: Level::Error,
            rule: Rule::ReadOnlyPath,
            message: Some("file cannot be written to a read-only filesystem".into()),
            hint: "/usr belongs to the image; programs may go to /opt/bin, settings to /etc".into(),
        });
    }
    check_absolute(text)?;
    if text.ends_with('/') {
        return Err(Fault::invalid(
            "this names a directory: give the path of the file",
        ));
    }
    match ["proc", "sys", "dev"]
        .iter()
        .find(|top| is_below(text, top))
    {
        Some(top) => Err(Fault::invalid(format!("/{top} holds no files of a config"))),
        None => Ok(()),
    }
});

fn check_absolute(text: &str) -> Result<(), Fault> {
    let fault = |message: &str, hint: String| Fault {
        level: Level::Error,
        rule: Rule::RelativePath,
        message: Some(message.into()),
        hint,
    };
    if text.contains(['\0', '\n']) {
        return Err(Fault::invalid(
            "a path holds no line break and no zero byte",
        ));
    }
    if !text.starts_with('/') {
        let hint = format!("begin it with a slash: /{text}");
        return Err(fault("the path is not absolute", hint));
    }
    if text.split('/').any(|step| step == "..") {
        return Err(fault(
            "the path goes up with \"..\"",
            "write the path it leads to".into(),
        ));
    }
    ensure(text.len() < 4096, "a path is shorter than 4096 bytes")?;
    ensure(
        text.split('/').all(|step| step.len() < 256),
        "a name in it is at most 255 bytes",
    )
}

fn is_below(path: &str, top: &str) -> bool {
    path.split('/')
        .find(|step| !step.is_empty() && *step != ".")
        == Some(top)
}

pub(crate) static MODE: Format = format("octal mode", r"^(0o?)?[0-7]{3,4}$", |text| {
    ensure(
        mode(text).is_some(),
        "three or four octal digits, such as 0644; a leading digit sets setuid (4), setgid (2) \
         and sticky (1)",
    )
});

/// The twelve bits of an octal mode.
pub(crate) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let digits = match digits.len() {
        5 => digits.strip_prefix('0')?,
        _ => digits,
    };
    let octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    (octal && matches!(digits.len(), 3 | 4))
        .then(|| u32::from_str_radix(digits, 8).ok())
        .flatten()
}
