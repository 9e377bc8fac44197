//! From what the user typed to a unit: a file, a known unit, an instance of a template.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::exit::Exit;
use crate::scheduler::name::UnitName;
use crate::scheduler::orders::{self, Known};
use crate::scheduler::requirement::Requirements;
use crate::scheduler::text::{MAX_BYTES, Problem, Text};
use crate::store::Outcome;
use crate::store::etcd::Etcd;

/// Name and text of a unit file.
pub(in crate::cli) fn read(path: &Path) -> Result<(UnitName, Text)> {
    let file = path.file_name().and_then(|name| name.to_str());
    let name: UnitName = file
        .with_context(|| format!("{} names no file", path.display()))?
        .parse()
        .with_context(|| format!("{} is no unit file", path.display()))?;
    let text = content(path)?;
    let text = Text::parse(&text).map_err(|problems| orders::Error::Wrong {
        unit: name.clone(),
        problems,
    })?;
    Ok((name, text))
}

fn content(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let size = std::fs::metadata(path).with_context(reading)?.len();
    if size > MAX_BYTES as u64 {
        bail!(
            "{} is {size} bytes long; {MAX_BYTES} are allowed",
            path.display()
        );
    }
    std::fs::read_to_string(path).with_context(reading)
}

/// A unit that must be known already.
pub(in crate::cli) fn known(word: &str) -> Result<UnitName> {
    let name = word.rsplit('/').next().unwrap_or(word);
    UnitName::with_default_type(name).with_context(|| format!("{word:?} names no unit"))
}

/// A file is submitted; so is an instance with the text of its template, which is looked for in
/// the cluster first and beside us then. The outcome says whether that changed the unit's text.
pub(super) async fn submitted(
    store: &Etcd,
    word: &str,
    replace: Known,
) -> Result<(UnitName, Outcome)> {
    let path = Path::new(word);
    if path.is_file() {
        let (name, text) = read(path)?;
        let outcome = orders::submit(store, &name, &text, replace).await?;
        return Ok((name, outcome));
    }
    let name = known(word)?;
    let missing = match orders::text(store, &name).await {
        Ok(_) => return Ok((name, Outcome::Refused)),
        Err(error @ orders::Error::NoUnit(_)) => error,
        Err(error) => return Err(error.into()),
    };
    let Some(template) = name.template() else {
        return Err(missing.into());
    };
    let text = match orders::text(store, &template).await {
        Ok(text) => text,
        Err(orders::Error::NoUnit(_)) => {
            let beside = path.with_file_name(template.as_str());
            if !beside.is_file() {
                return Err(missing.into());
            }
            read(&beside)?.1
        }
        Err(error) => return Err(error.into()),
    };
    let outcome = orders::submit(store, &name, &text, replace).await?;
    Ok((name, outcome))
}

pub(in crate::cli) fn verify(files: &[std::path::PathBuf]) -> Result<Exit> {
    let mut exit = Exit::Done;
    for path in files {
        let problems: Vec<String> = match read(path) {
            Ok((name, text)) => match Requirements::read(&name, &text) {
                Ok(_) => continue,
                Err(problems) => problems.iter().map(Problem::to_string).collect(),
            },
            Err(error) => match error.downcast::<orders::Error>() {
                Ok(orders::Error::Wrong { problems, .. }) => {
                    problems.iter().map(Problem::to_string).collect()
                }
                Ok(other) => vec![other.to_string()],
                Err(error) => vec![format!("{error:#}")],
            },
        };
        for problem in problems {
            eprintln!("{}: {problem}", path.display());
        }
        exit = Exit::BadInput;
    }
    Ok(exit)
}
