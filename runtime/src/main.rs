//! The `outrigger` program: see `outrigger::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    outrigger::cli::main()
}
