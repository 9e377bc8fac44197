//! `strake`: see the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    strake_agent::cli::main(std::env::args_os()).into()
}
