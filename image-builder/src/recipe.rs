//! What is in the image, read from `recipe/`: a copy is inside the program, `--recipe` overrides.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::BadInput;
use crate::digest::Inputs;
use crate::packages::Lock;
use crate::tree::{Node, Patterns, Tree};

const EMBEDDED: &[(&str, bool, &[u8])] = include!(concat!(env!("OUT_DIR"), "/recipe.rs"));

#[derive(Debug)]
pub struct Recipe {
    pub packages: Vec<String>,
    pub lock: Option<Lock>,
    pub trim: Patterns,
    pub modules_drop: Patterns,
    pub initrd_modules: Vec<String>,
    pub cmdline: String,
    pub symlinks: Vec<(String, String)>,
    pub units: Vec<UnitRule>,
    pub files: Tree,
    digest: Inputs,
}

/// A line of `units.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitRule {
    Enable(String),
    Mask(String),
    Default(String),
    /// The first no longer starts before the second.
    Unorder(String, String),
}

type Files = BTreeMap<String, (bool, Vec<u8>)>;

impl Recipe {
    /// Reads the recipe in `directory`, or the one inside the program.
    pub fn load(directory: Option<&Path>) -> Result<Self> {
        let mut files = Files::new();
        match directory {
            Some(directory) => read(directory, "", &mut files)?,
            None => {
                for (name, executable, content) in EMBEDDED {
                    files.insert((*name).to_owned(), (*executable, content.to_vec()));
                }
            }
        }
        Self::parse(files)
    }

    /// Everything but the lock, as input of the stages after the packages.
    pub fn digest(&self) -> Inputs {
        self.digest.clone()
    }

    fn parse(mut files: Files) -> Result<Self> {
        files.remove("README.md");
        let mut text = |name: &str| -> Result<String> {
            match files.remove(name) {
                Some((_, content)) => String::from_utf8(content)
                    .map_err(|_| BadInput(format!("recipe/{name} is not UTF-8")).into()),
                None => Ok(String::new()),
            }
        };
        let lock = text("packages.lock")?;
        let lock = if lock.is_empty() {
            None
        } else {
            Some(Lock::parse(&lock)?)
        };
        let mut digest = Inputs::new("recipe");
        let mut part = |name: &str| -> Result<String> {
            let content = text(name)?;
            digest.add(name).add(&content);
            Ok(content)
        };
        let packages: Vec<String> = lines(&part("packages.txt")?);
        let trim = patterns("trim.txt", &part("trim.txt")?)?;
        let modules_drop = patterns("modules-drop.txt", &part("modules-drop.txt")?)?;
        let initrd_modules = lines(&part("initrd-modules.txt")?);
        let cmdline = lines(&part("cmdline.txt")?).join(" ");
        let symlinks = parse_each("symlinks.txt", &part("symlinks.txt")?, parse_symlink)?;
        let units = parse_each("units.txt", &part("units.txt")?, parse_unit)?;
        let tree = files_tree(files, &mut digest)?;
        if packages.is_empty() {
            return Err(BadInput("the recipe has no packages.txt, or an empty one".into()).into());
        }
        Ok(Self {
            packages,
            lock,
            trim,
            modules_drop,
            initrd_modules,
            cmdline,
            symlinks,
            units,
            files: tree,
            digest,
        })
    }
}

fn files_tree(files: Files, digest: &mut Inputs) -> Result<Tree> {
    let mut tree = Tree::default();
    for (name, (executable, content)) in files {
        let Some(path) = name.strip_prefix("files/") else {
            return Err(BadInput(format!("recipe/{name} is no part of a recipe")).into());
        };
        let mode = if executable { 0o755 } else { 0o644 };
        digest.add(&name).add([u8::from(executable)]).add(&content);
        tree.insert(path, Node::file(mode, content));
    }
    Ok(tree)
}

fn read(directory: &Path, prefix: &str, files: &mut Files) -> Result<()> {
    let bad = |text: String| BadInput(format!("--recipe: {text}"));
    let entries = fs::read_dir(directory)
        .map_err(|error| bad(format!("{}: {error}", directory.display())))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("listing {}", directory.display()))?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| bad(format!("{name:?} is not UTF-8")))?;
        let (path, key) = (entry.path(), format!("{prefix}{name}"));
        if path.is_dir() {
            read(&path, &format!("{key}/"), files)?;
            continue;
        }
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let mode = entry
            .metadata()
            .with_context(|| format!("reading {}", path.display()))?;
        files.insert(key, (mode.permissions().mode() & 0o111 != 0, content));
    }
    Ok(())
}

/// Lines without comments and blanks.
fn lines(text: &str) -> Vec<String> {
    let plain = |line: &str| line.trim().to_owned();
    text.lines()
        .map(plain)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn patterns(name: &str, text: &str) -> Result<Patterns> {
    Patterns::parse(&lines(text))
        .map_err(|(line, error)| BadInput(format!("recipe/{name}: {line:?}: {error}")).into())
}

fn parse_each<T>(name: &str, text: &str, parse: fn(&[&str]) -> Option<T>) -> Result<Vec<T>> {
    let parse = |line: &String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        parse(&words).ok_or_else(|| {
            BadInput(format!("recipe/{name}: line {line:?} is not understood")).into()
        })
    };
    lines(text).iter().map(parse).collect()
}

fn parse_symlink(words: &[&str]) -> Option<(String, String)> {
    match words {
        [link, target] => Some(((*link).to_owned(), (*target).to_owned())),
        _ => None,
    }
}

fn parse_unit(words: &[&str]) -> Option<UnitRule> {
    match words {
        ["enable", name] => Some(UnitRule::Enable((*name).to_owned())),
        ["mask", name] => Some(UnitRule::Mask((*name).to_owned())),
        ["default", name] => Some(UnitRule::Default((*name).to_owned())),
        ["unorder", name, later] => {
            Some(UnitRule::Unorder((*name).to_owned(), (*later).to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file =
            |(name, text): &(&str, &str)| ((*name).to_owned(), (false, text.as_bytes().to_vec()));
        list.iter().map(file).collect()
    }

    #[track_caller]
    fn refused(list: &[(&str, &str)], part: &str) {
        let error = Recipe::parse(files(list)).unwrap_err();
        assert!(error.is::<BadInput>(), "{error:#}");
        assert!(error.to_string().contains(part), "{error:#}");
    }

    #[test]
    fn the_recipe_inside_the_program_is_sound() {
        let recipe = Recipe::load(None).unwrap();
        assert!(recipe.packages.iter().any(|name| name == "systemd"));
        assert!(!recipe.cmdline.contains('\n'));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        refused(&[], "packages.txt");
        refused(
            &[("packages.txt", "a"), ("units.txt", "start x")],
            "units.txt",
        );
        refused(
            &[("packages.txt", "a"), ("symlinks.txt", "one")],
            "symlinks.txt",
        );
        refused(&[("packages.txt", "a"), ("trim.txt", "usr/[")], "trim.txt");
        refused(
            &[("packages.txt", "a"), ("packges.txt", "b")],
            "packges.txt",
        );
    }

    #[test]
    fn comments_and_blank_lines_say_nothing() {
        let text = "# one\n\n a=b \nc=d e=f\n";
        let recipe = Recipe::parse(files(&[("packages.txt", "x"), ("cmdline.txt", text)]));
        assert_eq!(recipe.unwrap().cmdline, "a=b c=d e=f");
    }
}
