//! `mlqa-eval check`: are the files what they should be?
use std::path::PathBuf;

use mlqa_eval::Dataset;

use crate::{Stop, print, say};

/// Check question files: JSON, unique ids, every gold answer in its context at its answer_start.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval check data/xquad/*.json
  mlqa-eval check --all crates/testkit/fixtures/matrix/data/*.json")]
pub struct Args {
    /// SQuAD-style JSON files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name every faulty question instead of the first
    #[arg(long)]
    all: bool,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let mut faulty = 0;
    for file in &args.files {
        let dataset = Dataset::read(file)?;
        if args.all {
            let faults = dataset.faulty_answers();
            faulty += faults.len();
            for fault in faults {
                say(&fault.to_string());
            }
        } else {
            dataset.check_answers()?;
        }
        let answers: usize = dataset.questions.iter().map(|q| q.answers.len()).sum();
        let questions = dataset.questions.len();
        print(&format!("{}: {questions} questions, {answers} answers\n", file.display()))?;
    }
    match faulty {
        0 => Ok(()),
        n => Err(Stop::Usage(format!("{n} questions have an answer that is not in its context"))),
    }
}
