use std::process::ExitCode;

fn main() -> ExitCode {
    strake_image_builder::cli::main()
}
