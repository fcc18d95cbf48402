//! `mlqa-eval decode`: answers from a model's logits.
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{Dataset, DecodeConfig, Error, NBestFile, NullOdds, Predictions, decode};

use super::tensors::RowReader;
use super::windows::{Block, CutArgs};
use super::{Failure, print_next_to, print_stderr};

/// Decode answers from the logits that a model computed for `mlqa-eval windows`.
///
/// The windows are computed again, so the options, tokenizer and questions must be the same as for
/// `mlqa-eval windows`. If the logits file records a different --compatible, the program prints a
/// warning.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
With the logits of a model:
  mlqa-eval decode xquad.de.json --tokenizer xlmr --logits logits.safetensors \\
    --out predictions.json --n-best n_best.json
The same results as transformers' run_qa.py:
  mlqa-eval windows xquad.de.json --tokenizer xlmr --out windows.safetensors \\
    --compatible run_qa
  xlmr-model run --model xlmr --inputs windows.safetensors \\
    --out logits.safetensors
  mlqa-eval decode xquad.de.json --tokenizer xlmr --logits logits.safetensors \\
    --out predictions.json --compatible run_qa
  mlqa-eval score --norm squad xquad.de.json predictions.json")]
pub struct Args {
    /// Question file: SQuAD-style JSON or rows
    dataset: PathBuf,
    #[command(flatten)]
    cut: CutArgs,
    /// Safetensors file with start_logits and end_logits [rows, length], float32
    #[arg(long, value_name = "FILE")]
    logits: PathBuf,
    /// Output file for the predictions
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the n-best list of every question to this JSON file
    #[arg(long, value_name = "FILE")]
    n_best: Option<PathBuf>,
    /// Also write the null odds ("no answer" score) of every question to this JSON file
    #[arg(long, value_name = "FILE")]
    null_odds: Option<PathBuf>,
    /// Number of starts and ends considered per window, and of answers per question
    #[arg(long, value_name = "N", default_value_t = DecodeConfig::default().n_best)]
    n_best_size: usize,
    /// Maximum answer length in tokens
    #[arg(long, value_name = "N", default_value_t = DecodeConfig::default().max_answer_length)]
    max_answer_length: usize,
    /// Predict "no answer" if the null score exceeds the best answer's score by more than T
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    null_threshold: Option<f32>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = DecodeConfig {
        n_best: args.n_best_size,
        max_answer_length: args.max_answer_length,
        allow_null: args.null_threshold,
        compatible: args.cut.compatible(),
        ..DecodeConfig::default()
    };
    config.validate()?;
    let dataset = Dataset::read(&args.dataset)?;
    let cutter = args.cut.create_cutter()?;
    let open = |tensor| RowReader::open(&args.logits, tensor);
    let [mut start, mut end] = [open("start_logits")?, open("end_logits")?];
    warn_if_windows_differ(args, start.program.as_deref());
    let mut n_best_file = args.n_best.as_deref().map(NBestFile::create).transpose()?;
    let (mut answers, mut odds) = (BTreeMap::new(), NullOdds::default());
    let mut row_count = 0;
    let mut decode_block = |Block { questions, windows }: Block<'_>| {
        let (Some(starts), Some(ends)) = (start.read(windows.len())?, end.read(windows.len())?)
        else {
            let expected = format!("more than {}", row_count + windows.len() - 1);
            return Err(row_count_error(args, start.shape, &expected));
        };
        let [starts, ends] = [&starts, &ends].map(|all| all.rows().into_iter().collect::<Vec<_>>());
        let mut lists = decode(questions, &windows, &starts, &ends, &config)?;
        for candidate in lists.iter_mut().flat_map(|list| &mut list.candidates) {
            candidate.window += row_count;
        }
        row_count += windows.len();
        if let Some(file) = &mut n_best_file {
            file.add(&lists)?;
        }
        if args.null_odds.is_some() {
            odds.0.extend(NullOdds::of(&lists).0);
        }
        answers.extend(Predictions::from(lists.as_slice()).0);
        Ok(())
    };
    // The windows of the next block are computed while the current block is decoded.
    let mut blocks = cutter.blocks(&dataset.questions)?;
    let mut block = blocks.next().transpose()?;
    while let Some(current) = block {
        let (next, decoded) = rayon::join(|| blocks.next().transpose(), || decode_block(current));
        decoded?;
        block = next?;
    }
    if start.remaining_rows() > 0 || end.remaining_rows() > 0 {
        return Err(row_count_error(args, start.shape, &row_count.to_string()));
    }
    n_best_file.map_or(Ok(()), NBestFile::finish)?;
    if let Some(path) = &args.null_odds {
        odds.write(path)?;
    }
    Predictions(answers).write(&args.out)?;
    let outputs = [&args.out].into_iter().chain(&args.n_best).chain(&args.null_odds);
    print_next_to(outputs, &format!("{} questions, {row_count} rows\n", dataset.questions.len()))
}

/// Prints a warning if the windows are not those of the program that decoding follows, because the
/// answers would then match neither program. `source` is the program of the windows.
fn warn_if_windows_differ(args: &Args, source: Option<&str>) {
    let program = args.cut.program();
    if let Some(source) = source.filter(|&source| source != program) {
        print_stderr(&format!(
            "warning: {}: the logits are for windows of {source}, but decoding follows {program}; use the \
             same --compatible for `windows` and `decode`",
            args.logits.display()
        ));
    }
}

fn row_count_error(args: &Args, [rows, _]: [usize; 2], expected: &str) -> Failure {
    let message = format!(
        "has {rows} rows of logits, but {} has {expected} windows; use the same options, tokenizer \
         and questions as for `mlqa-eval windows`",
        args.dataset.display()
    );
    Error::Content { path: args.logits.clone(), message }.into()
}
