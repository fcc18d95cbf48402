//! The program `polyqa`; see `polyqa --help`.
use std::process::ExitCode;

fn main() -> ExitCode {
    polyqa::program::main(std::env::args_os())
}
