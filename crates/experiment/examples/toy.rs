//! The toy recipe of the tests as a program.
#[path = "../tests/it/toy/mod.rs"]
mod toy;

use std::process::ExitCode;

fn main() -> ExitCode {
    experiment::main(toy::run)
}
