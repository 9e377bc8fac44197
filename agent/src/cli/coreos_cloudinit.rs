//! The applet `coreos-cloudinit`: that program's flags, line format and exit codes.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use strake_cloud_config::check;
use strake_cloud_config::report;

use super::config::read;
use super::output::print;
use crate::exit::Exit;

/// Go's flag syntax: one dash or two, `-flag=value` or `-flag value`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    validate: bool,
    version: bool,
    from_file: Option<String>,
}

impl Flags {
    fn parse(args: &[OsString]) -> Result<Flags, String> {
        let mut flags = Flags::default();
        let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                return Err(format!("unexpected argument {arg}"));
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (flag, None),
            };
            match name {
                "validate" => flags.validate = is_true(name, value)?,
                "version" => flags.version = is_true(name, value)?,
                "from-file" => {
                    let value = value.or_else(|| args.next());
                    flags.from_file = Some(value.ok_or("flag needs an argument: -from-file")?);
                }
                _ => return Err(format!("flag provided but not supported: -{name}")),
            }
        }
        Ok(flags)
    }
}

fn is_true(name: &str, value: Option<String>) -> Result<bool, String> {
    match value.as_deref() {
        None | Some("true" | "1" | "t") => Ok(true),
        Some("false" | "0" | "f") => Ok(false),
        Some(value) => Err(format!("invalid boolean value {value:?} for -{name}")),
    }
}

pub(super) fn run(args: &[OsString]) -> Result<Exit> {
    let flags = match Flags::parse(args) {
        Ok(flags) => flags,
        Err(message) => {
            eprintln!("coreos-cloudinit: {message}");
            eprintln!("Usage: coreos-cloudinit -validate -from-file=FILE");
            return Ok(Exit::BadInput);
        }
    };
    if flags.version {
        print(concat!(
            "coreos-cloudinit (strake) ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        ));
        return Ok(Exit::Done);
    }
    let (true, Some(file)) = (flags.validate, flags.from_file) else {
        eprintln!("coreos-cloudinit: use -validate with -from-file=FILE, or `strake config apply`");
        return Ok(Exit::BadInput);
    };
    let text = read(Path::new(&file))?;
    let checked = check(&text.bytes, &Default::default());
    print(&report::coreos(&checked.problems));
    Ok(if checked.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_giving_a_value_are_read() {
        let expected = Flags {
            validate: true,
            version: false,
            from_file: Some("a.yaml".to_string()),
        };
        let cases: [&[&str]; 3] = [
            &["-validate", "-from-file=a.yaml"],
            &["--from-file", "a.yaml", "--validate=true"],
            &["-from-file=b", "-validate", "-from-file=a.yaml"],
        ];
        for args in cases {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert_eq!(Flags::parse(&args).as_ref(), Ok(&expected), "{args:?}");
        }
        for args in ["-from-file", "-nonsense", "file", "-validate=maybe"] {
            assert!(Flags::parse(&[args.into()]).is_err(), "{args}");
        }
    }
}
