//! The doorway: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    homeport_agent::cli::main().into()
}
