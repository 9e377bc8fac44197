//! `strake-lab`, run as `cargo lab`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
