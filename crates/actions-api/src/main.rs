//! The `actions` program: everything it does is in the library, so that a service can do it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    actions::cli::main()
}
