//! The `pixcell` binary: arguments in, exit code out; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    pixcell::cli::main()
}
