//! `strake-image build` and `strake-image lock`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use fs2::available_space;

use crate::BadInput;
use crate::cache::Cache;
use crate::image::{self, Format, KernelOptions, LockPolicy, Order, Release, Site, Version};
use crate::mirror::{Mirror, Suite};
use crate::packages::Lock;
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::tools::Tools;
use crate::workspace::Workspace;

/// What a build from nothing takes at its height.
const NEEDED: u64 = 6 << 30;

#[derive(Debug, Args)]
pub(super) struct BuildArguments {
    /// Add a Debian package to those of the recipe
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// How much of the Debian archive to look at
    #[arg(long, value_enum, default_value_t)]
    suite: Suite,
    /// Packages to take, in place of the recipe's packages.lock
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Version of the release
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    version: Version,
    /// Lay a site's own files (DIR/usr/..., DIR/etc/...) over the image; may be given more than once
    #[arg(long = "overlay-dir", visible_alias = "overlay", value_name = "DIR")]
    overlays: Vec<PathBuf>,
    /// Add a site's own options to the kernel command line, behind those of the recipe
    #[arg(long, default_value_t, value_name = "OPTIONS")]
    cmdline: KernelOptions,
    /// Root of trust of the updates' repository, a root.json (made by `strake-release init`)
    #[arg(long, value_name = "FILE")]
    update_root: Option<PathBuf>,
    /// The node's program [default: strake beside this program]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// The initrd's program [default: strake-init beside this program]
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Where the artifacts go [default: images/VERSION in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Forms of the disk image to make
    #[arg(
        long = "format",
        value_enum,
        value_delimiter = ',',
        default_value = "raw,qcow2,zst"
    )]
    formats: Vec<Format>,
    /// Make no disk image, only what a repository of releases takes
    #[arg(long, conflicts_with = "formats")]
    no_disk: bool,
    /// Use this recipe, not the one inside the program
    #[arg(long, value_name = "DIR")]
    recipe: Option<PathBuf>,
    /// Refuse packages that are not those of packages.lock
    #[arg(long)]
    locked: bool,
    /// How to print the release
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct LockArguments {
    /// The recipe whose packages.lock is written
    #[arg(long, value_name = "DIR", default_value = "image-builder/recipe")]
    recipe: PathBuf,
    /// Add a Debian package to those of the recipe
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// How much of the Debian archive to look at
    #[arg(long, value_enum, default_value_t)]
    suite: Suite,
    /// Where the lock goes [default: packages.lock of the recipe]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `main` found out before the subcommand.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub workspace: &'a Workspace,
    pub tools: &'a Tools,
    pub progress: &'a Progress,
}

impl Host<'_> {
    fn site<'a>(&'a self, cache: &'a Cache) -> Site<'a> {
        Site {
            workspace: self.workspace,
            tools: self.tools,
            cache,
            progress: self.progress,
        }
    }
}

pub(super) fn build(
    host: &Host<'_>,
    arguments: BuildArguments,
    mirror: impl FnOnce() -> Result<Mirror>,
) -> Result<()> {
    let output = arguments.output;
    let order = order(arguments)?;
    let root = host.workspace.root();
    let cache = Cache::open(&host.workspace.cache(), host.progress)?;
    let fresh = !host.workspace.cache().join("usr").exists();
    let free = available_space(root).with_context(|| format!("asking {}", root.display()))?;
    if fresh && free < NEEDED {
        anyhow::bail!(
            "{} has {} MB free and a build needs {}: free some space, or put the workspace \
             elsewhere with --dir",
            root.display(),
            free / 1_000_000,
            NEEDED / 1_000_000
        );
    }
    let release = image::build(&host.site(&cache), &order, mirror)?;
    let directory = order
        .out
        .unwrap_or_else(|| host.workspace.images().join(order.version.as_str()));
    print(&release, &directory, output)
}

fn order(arguments: BuildArguments) -> Result<Order> {
    let mut recipe = Recipe::load(arguments.recipe.as_deref())?;
    if let Some(path) = &arguments.lock {
        let text = fs::read_to_string(path)
            .map_err(|error| BadInput(format!("--lock {}: {error}", path.display())))?;
        recipe.lock = Some(Lock::parse(&text)?);
    }
    for overlay in &arguments.overlays {
        if !overlay.is_dir() {
            let text = format!("--overlay-dir {}: no such directory", overlay.display());
            return Err(BadInput(text).into());
        }
    }
    let mut formats = arguments.formats;
    if arguments.no_disk {
        formats.clear();
    }
    formats.sort();
    formats.dedup();
    Ok(Order {
        recipe,
        extra_packages: arguments.packages,
        suite: arguments.suite,
        version: arguments.version,
        overlays: arguments.overlays,
        update_root: arguments
            .update_root
            .as_deref()
            .map(update_root)
            .transpose()?,
        kernel_options: arguments.cmdline,
        agent: program(arguments.agent, "agent", "strake")?,
        init: program(arguments.init, "init", "strake-init")?,
        out: arguments.out,
        formats,
        lock_policy: if arguments.locked {
            LockPolicy::Require
        } else {
            LockPolicy::Warn
        },
    })
}

/// What no machine could start from is better refused here.
fn update_root(path: &Path) -> Result<Vec<u8>> {
    let place = path.display();
    let bytes =
        fs::read(path).map_err(|error| BadInput(format!("--update-root {place}: {error}")))?;
    let root: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| BadInput(format!("--update-root {place}: {error}")))?;
    if root["signed"]["_type"] != "root" {
        let text = format!("--update-root {place}: signed._type is not \"root\"");
        return Err(BadInput(text).into());
    }
    Ok(bytes)
}

fn program(given: Option<PathBuf>, option: &str, name: &str) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => std::env::current_exe()
            .context("finding this program")?
            .with_file_name(name),
    };
    if !path.is_file() {
        let text = format!(
            "{} is missing: build it, or give --{option} FILE",
            path.display()
        );
        return Err(BadInput(text).into());
    }
    Ok(path)
}

fn print(release: &Release, directory: &Path, output: Output) -> Result<()> {
    if output == Output::Json {
        print!("{}", release.to_json()?);
        return Ok(());
    }
    println!("directory  {}", directory.display());
    print_artifacts(release);
    Ok(())
}

pub(super) fn print_artifacts(release: &Release) {
    println!("Strake {} with kernel {}", release.version, release.kernel);
    println!("root hash  {}", release.root_hash);
    for artifact in &release.artifacts {
        println!(
            "  {:28} {:>11.1} MB",
            artifact.name,
            artifact.size as f64 / 1e6
        );
    }
}

pub(super) fn lock(
    host: &Host<'_>,
    arguments: &LockArguments,
    mirror: impl FnOnce() -> Result<Mirror>,
) -> Result<()> {
    let path = match &arguments.out {
        Some(path) => path.clone(),
        None => arguments.recipe.join("packages.lock"),
    };
    if !arguments.recipe.join("packages.txt").is_file() {
        let text = format!(
            "--recipe {}: has no packages.txt",
            arguments.recipe.display()
        );
        return Err(BadInput(text).into());
    }
    let recipe = Recipe::load(Some(&arguments.recipe))?;
    let cache = Cache::open(&host.workspace.cache(), host.progress)?;
    let site = host.site(&cache);
    let lock = image::lock(&site, &recipe, &arguments.packages, arguments.suite, mirror)?;
    let changes = match &recipe.lock {
        Some(old) => old.differences(&lock),
        None => Vec::new(),
    };
    changes.iter().for_each(|line| println!("{line}"));
    fs::write(&path, lock.to_text()).with_context(|| format!("writing {}", path.display()))?;
    println!("{}: {} packages", path.display(), lock.packages.len());
    Ok(())
}
