//! The program `polyqa`; see `polyqa --help`.
use std::process::ExitCode;

torch_ext::restart_before_libtorch!();

fn main() -> ExitCode {
    torch_ext::exit_without_destructors();
    polyqa::program::main(std::env::args_os(), None)
}
