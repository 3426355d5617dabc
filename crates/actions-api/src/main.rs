//! The `actions` program: everything it does is in the library, so that a service can do it too.

use std::process::ExitCode;

/// Many small things are made and dropped for each event, on other threads than their own.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    actions::cli::main()
}
