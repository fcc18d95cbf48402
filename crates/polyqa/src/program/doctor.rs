//! `polyqa doctor`.
use std::fmt::Write;

use crate::{Calibration, Reader};
use anyhow::Result;
use model_hub::{Origin, Resolved};
use tch::{Cuda, Device};
use whole_file::cli;

use crate::program::model::resolve;

/// Say what is found and what is missing: libtorch, GPUs, threads, and a model
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  polyqa doctor
  polyqa doctor --model runs/mine/model

Exit code: 0, or 2 where the model cannot answer questions.")]
pub struct Args {
    /// A reader to load: a Hugging Face folder, or a repository of the hub
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gpus = match (Cuda::is_available(), Cuda::device_count()) {
        (true, count) => count.to_string(),
        (false, 0) => "none".to_owned(),
        (false, count) => format!("{count}, but libtorch cannot use them (driver, or a CPU build)"),
    };
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:10} {value}");
    };
    line("polyqa", env!("CARGO_PKG_VERSION"));
    line("GPUs", &gpus);
    line("threads", &format!("{} of {cores} cores", tch::get_num_threads()));
    let checked = match &args.model {
        Some(name) => model(name, &mut line),
        None => Ok(()),
    };
    cli::print(&whole_file::lines(&text))?;
    checked
}

fn model(name: &str, line: &mut impl FnMut(&str, &str)) -> Result<()> {
    let Resolved { folder, origin } = resolve(name)?;
    if let Some(Origin { repository, commit, .. }) = origin {
        line("origin", &format!("{repository} at {commit}"));
    }
    line("model", &folder.display().to_string());
    let reader = Reader::load(&folder, Device::Cpu)?;
    for note in &reader.pretrained.notes {
        line("note", note);
    }
    let windows = reader.windows();
    line("windows", &format!("{} tokens, {} shared", windows.max_length, windows.doc_stride));
    let Calibration { temperature, null_threshold, questions, .. } = Calibration::read(folder)?;
    let calibrated = match (questions, null_threshold) {
        (0, _) => "none; `polyqa train --dev` fits one".to_owned(),
        (_, None) => format!("temperature {temperature:.2} on {questions} questions"),
        (_, Some(threshold)) => format!(
            "temperature {temperature:.2} and null threshold {threshold:.2} on {questions} questions"
        ),
    };
    line("calibrated", &calibrated);
    Ok(())
}
