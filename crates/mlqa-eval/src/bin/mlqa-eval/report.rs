//! `mlqa-eval report`: starts the program `qa-report`.
use std::env::{args_os, consts::EXE_SUFFIX, current_exe};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use mlqa_eval::program::Failure;

/// Write an HTML report that compares runs: scores, differences, errors and questions.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Arguments of `qa-report`; see `mlqa-eval report --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Runs `qa-report` from the folder of this program or from PATH, and ends this process with the
/// exit code of `qa-report`. Returns only if `qa-report` cannot be started.
pub fn run() -> Result<(), Failure> {
    let sibling = |program: PathBuf| program.with_file_name(format!("qa-report{EXE_SUFFIX}"));
    let sibling = current_exe().ok().map(sibling).filter(|path| path.is_file());
    let program = sibling.unwrap_or_else(|| PathBuf::from("qa-report"));
    // All arguments after `report` are passed to `qa-report` unchanged.
    match Command::new(&program).args(args_os().skip(2)).status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(2)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::Usage(
            "`mlqa-eval report` needs the program qa-report, which is neither in the folder of \
             mlqa-eval nor in PATH; install it with `cargo install qa-report`"
                .into(),
        )),
        Err(error) => Err(Failure::Usage(format!("cannot start {}: {error}", program.display()))),
    }
}
