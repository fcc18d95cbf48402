//! `mlqa-eval decode`: from a model's logits to answers.
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{Dataset, DecodeConfig, Error, NBestFile, NullOdds, Predictions, decode};

use super::tensors::Rows;
use super::windows::{Block, CutArgs};
use super::{Stop, print, say};

/// Choose answers by the logits that a model gave for the rows of `mlqa-eval windows`.
///
/// The windows are cut again, so their options have to be those of then. Where the logits have the
/// metadata `windows` of the file that `mlqa-eval windows` wrote, another --compatible gets a
/// warning.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
After a model has read the windows:
  mlqa-eval decode xquad.de.json --tokenizer xlmr --logits logits.safetensors \\
    --out predictions.json --n-best n_best.json
The numbers of transformers' run_qa.py:
  mlqa-eval windows xquad.de.json --tokenizer xlmr --out windows.safetensors \\
    --compatible run_qa
  xlmr-model run --model xlmr --inputs windows.safetensors \\
    --out logits.safetensors
  mlqa-eval decode xquad.de.json --tokenizer xlmr --logits logits.safetensors \\
    --out predictions.json --compatible run_qa
  mlqa-eval score --norm squad xquad.de.json predictions.json")]
pub struct Args {
    /// Questions, SQuAD-style JSON or rows
    dataset: PathBuf,
    #[command(flatten)]
    cut: CutArgs,
    /// start_logits and end_logits [rows, length], float32, a safetensors file
    #[arg(long, value_name = "FILE")]
    logits: PathBuf,
    /// Where the predictions go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the best answers of every question to this JSON file
    #[arg(long, value_name = "FILE")]
    n_best: Option<PathBuf>,
    /// Also write how sure it is that a question has no answer to this JSON file
    #[arg(long, value_name = "FILE")]
    null_odds: Option<PathBuf>,
    /// Starts and ends considered in each window, and answers kept for each question
    #[arg(long, value_name = "N", default_value_t = DecodeConfig::default().n_best)]
    n_best_size: usize,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = DecodeConfig::default().max_answer_length)]
    max_answer_length: usize,
    /// A question may have no answer: where its null score exceeds the best answer's by more than
    /// this
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    null_threshold: Option<f32>,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let config = DecodeConfig {
        n_best: args.n_best_size,
        max_answer_length: args.max_answer_length,
        allow_null: args.null_threshold,
        compatible: args.cut.compatible(),
        ..DecodeConfig::default()
    };
    config.validate()?;
    let dataset = Dataset::read(&args.dataset)?;
    let cutter = args.cut.cutter()?;
    let [mut start, mut end] = [open(args, "start_logits")?, open(args, "end_logits")?];
    warn_of_other_windows(args, start.windows.as_deref());
    let mut lists = args.n_best.as_deref().map(NBestFile::create).transpose()?;
    let (mut answers, mut odds) = (BTreeMap::new(), NullOdds::default());
    let mut rows = 0;
    let mut choose = |Block { questions, windows }: Block<'_>| {
        let (Some(starts), Some(ends)) = (start.next(windows.len())?, end.next(windows.len())?)
        else {
            let needed = format!("more than {}", rows + windows.len() - 1);
            return Err(other_rows(args, start.shape, &needed));
        };
        let [starts, ends] = [&starts, &ends].map(|all| all.rows().into_iter().collect::<Vec<_>>());
        let mut all = decode(questions, &windows, &starts, &ends, &config)?;
        for candidate in all.iter_mut().flat_map(|one| &mut one.candidates) {
            candidate.window += rows;
        }
        rows += windows.len();
        if let Some(lists) = &mut lists {
            lists.add(&all)?;
        }
        if args.null_odds.is_some() {
            odds.0.extend(NullOdds::of(&all).0);
        }
        answers.extend(Predictions::from(all.as_slice()).0);
        Ok(())
    };
    // The next windows are cut while answers are chosen, so that no thread waits for what one
    // thread does alone.
    let mut blocks = cutter.blocks(&dataset.questions)?;
    let mut block = blocks.next().transpose()?;
    while let Some(now) = block {
        let (next, chosen) = rayon::join(|| blocks.next().transpose(), || choose(now));
        chosen?;
        block = next?;
    }
    if start.left() > 0 || end.left() > 0 {
        return Err(other_rows(args, start.shape, &rows.to_string()));
    }
    lists.map_or(Ok(()), NBestFile::finish)?;
    if let Some(path) = &args.null_odds {
        odds.write(path)?;
    }
    Predictions(answers).write(&args.out)?;
    print(&format!("{} questions, {rows} rows\n", dataset.questions.len()))
}

fn open(args: &Args, name: &'static str) -> Result<Rows, Error> {
    Rows::open(&args.logits, name)
}

/// Windows and decoding of different programs give answers that nobody's numbers have.
fn warn_of_other_windows(args: &Args, made: Option<&str>) {
    let chosen = args.cut.program();
    if let Some(made) = made.filter(|&made| made != chosen) {
        say(&format!(
            "warning: {} belongs to windows cut as {made} does, but answers are chosen as {chosen} \
             does; give `windows` and `decode` the same --compatible",
            args.logits.display()
        ));
    }
}

fn other_rows(args: &Args, [rows, _]: [usize; 2], needed: &str) -> Stop {
    let message = format!(
        "has {rows} rows of logits, but {} makes {needed} windows; give the options, tokenizer and \
         questions that `mlqa-eval windows` had",
        args.dataset.display()
    );
    Error::Content { path: args.logits.clone(), message }.into()
}
