//! Unpacks package archives into one tree. No maintainer script runs: what those would do and the
//! image needs, the builder does itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Archive, Package};
use crate::program;
use crate::tools::Tools;
use crate::tree::{Tree, read_archive};

/// A package with what its control file says of it, and which files it brought.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Control {
    #[serde(flatten)]
    pub package: Package,
    pub source: String,
    pub maintainer: String,
    pub homepage: Option<String>,
    pub files: Vec<String>,
}

/// Arguments: the output directory, then the archives.
const SCRIPT: &str = r#"
cd "$0"
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -euc '
    out=$(basename "$1" .deb)
    dpkg-deb --field "$1" Source Maintainer Homepage >"$out.control"
    dpkg-deb --fsys-tarfile "$1" >"$out.tar"
' unpack {}
"#;

/// Contents stay in `scratch`, which must live as long as the tree is read.
pub fn unpack(tools: &Tools, archives: &[Archive], scratch: &Path) -> Result<(Tree, Vec<Control>)> {
    let mut command = tools.command("sh");
    command.args(["-euc", SCRIPT]).arg(scratch);
    command.args(archives.iter().map(|archive| &archive.path));
    program::run(&mut command).context("unpacking the packages")?;
    let mut tree = Tree::default();
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut controls = Vec::new();
    for archive in archives {
        let name = archive.package.file_name();
        let stem = scratch.join(name.trim_end_matches(".deb"));
        let part = read_archive(&stem.with_file_name(name.replace(".deb", ".tar")))?;
        let mut files = Vec::new();
        for (path, _) in part.iter().filter(|(_, node)| !node.is_directory()) {
            if let Some(other) = owners.insert(path.to_owned(), &archive.package.name) {
                bail!(
                    "{other} and {} both have the file {path}",
                    archive.package.name
                );
            }
            files.push(path.to_owned());
        }
        tree.overlay(&part);
        let control = fs::read_to_string(stem.with_file_name(name.replace(".deb", ".control")))
            .with_context(|| format!("reading the control file of {name}"))?;
        controls.push(describe(&archive.package, &control, files));
    }
    Ok((tree, controls))
}

fn describe(package: &Package, control: &str, files: Vec<String>) -> Control {
    let field = |name: &str| {
        let value = control
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    let source = field("Source").unwrap_or_else(|| package.name.clone());
    Control {
        package: package.clone(),
        // A source version in parentheses may follow the name.
        source: source.split(' ').next().unwrap_or_default().to_owned(),
        maintainer: field("Maintainer").unwrap_or_default(),
        homepage: field("Homepage"),
        files,
    }
}
