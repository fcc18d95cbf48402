//! `mlqa-eval report`: hands over to the program `qa-report`.
use std::env::{args_os, consts::EXE_SUFFIX, current_exe};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use mlqa_eval::program::Stop;

/// Write one page about runs: scores, differences, errors, and the questions themselves.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// As `mlqa-eval report --help` has them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Starts `qa-report`, which lies beside this program or in PATH, and ends as it does.
pub fn run() -> Result<(), Stop> {
    let beside = |own: PathBuf| own.with_file_name(format!("qa-report{EXE_SUFFIX}"));
    let beside = current_exe().ok().map(beside).filter(|path| path.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from("qa-report"));
    // Its own arguments are all that follow `report`, as they were given.
    match Command::new(&program).args(args_os().skip(2)).status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(2)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Stop::Usage(
            "`mlqa-eval report` starts the program qa-report, which is neither beside mlqa-eval nor \
             in PATH; install it with `cargo install qa-report`"
                .into(),
        )),
        Err(error) => Err(Stop::Usage(format!("cannot start {}: {error}", program.display()))),
    }
}
