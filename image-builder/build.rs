//! Embeds `recipe/` in the program, with the executable bits the tree has in the repository.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let recipe = root.join("recipe");
    println!("cargo::rerun-if-changed={}", recipe.display());
    let mut files = Vec::new();
    collect(&recipe, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    for path in files {
        let executable = fs::metadata(&path)?.permissions().mode() & 0o111 != 0;
        let name = path.strip_prefix(&recipe).expect("found below it");
        writeln!(
            code,
            "    ({name:?}, {executable}, include_bytes!({path:?})),"
        )
        .expect("writing to a string");
    }
    code.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("recipe.rs"), code)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
