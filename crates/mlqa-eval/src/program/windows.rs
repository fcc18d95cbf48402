//! `mlqa-eval windows`: model inputs.
use std::path::PathBuf;

use crate::{
    Compatible, Dataset, Error, Purpose, Question, Window, WindowConfig, WindowCutter,
    load_tokenizer,
};
use clap::ValueEnum;
use tokenizers::Tokenizer;

use super::tensors::{IntTensor, write_tensors};
use super::{Failure, print_next_to};

/// Split questions and contexts into windows of token ids, the inputs of a model.
///
/// The output is a safetensors file with input_ids [rows, length] (int32), attention_mask [rows,
/// length] (uint8) and question [rows] (int32, the index of the question in the file, from 0). The
/// file's metadata key `windows` is `mlqa-eval`, or `run_qa` with --compatible. `mlqa-eval decode`
/// decodes the logits of a model for these windows.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval windows data/xquad/xquad.de.json \\
    --tokenizer data/base/tokenizer.json --out windows.safetensors
With a model:
  mlqa-eval windows xquad.de.json --tokenizer xlmr --out windows.safetensors
  xlmr-model run --model xlmr --inputs windows.safetensors \\
    --out logits.safetensors
  mlqa-eval decode xquad.de.json --tokenizer xlmr --logits logits.safetensors \\
    --out predictions.json")]
pub struct Args {
    /// Question file: SQuAD-style JSON or rows
    dataset: PathBuf,
    #[command(flatten)]
    cut: CutArgs,
    /// Output safetensors file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Options for splitting questions and contexts into windows.
#[derive(clap::Args)]
pub struct CutArgs {
    /// Hugging Face tokenizer.json, or a folder with this file
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Maximum number of tokens per window, including special tokens
    #[arg(long, value_name = "N", default_value_t = WindowConfig::default().max_length)]
    max_length: usize,
    /// Number of context tokens shared by adjacent windows
    #[arg(long, value_name = "N", default_value_t = WindowConfig::default().doc_stride)]
    doc_stride: usize,
    /// Maximum number of question tokens; longer questions are truncated (not with run_qa)
    #[arg(long, value_name = "N", default_value_t = WindowConfig::default().max_question_length)]
    max_question_length: usize,
    /// Reproduce the windows of another program exactly
    #[arg(long, value_name = "PROGRAM")]
    compatible: Option<Program>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Program {
    /// transformers' examples/pytorch/question-answering/run_qa.py
    #[value(name = "run_qa")]
    RunQa,
}

impl CutArgs {
    pub fn compatible(&self) -> Option<Compatible> {
        self.compatible.map(|Program::RunQa| Compatible::RunQa)
    }

    /// The `windows` metadata value: the program whose windows are reproduced.
    pub fn program(&self) -> &'static str {
        match self.compatible {
            None => "mlqa-eval",
            Some(Program::RunQa) => "run_qa",
        }
    }

    pub fn create_cutter(&self) -> Result<BlockCutter, Failure> {
        let config = WindowConfig {
            max_length: self.max_length,
            doc_stride: self.doc_stride,
            max_question_length: self.max_question_length,
            compatible: self.compatible(),
            ..WindowConfig::default()
        };
        config.validate(usize::MAX, 1)?;
        Ok(BlockCutter { config, tokenizer: load_tokenizer(&self.tokenizer)? })
    }
}

/// Number of questions in a block.
const BLOCK_QUESTIONS: usize = 256;

/// A block of questions and their windows. [`Window::question`] is an index in the block.
pub struct Block<'a> {
    pub questions: &'a [Question],
    pub windows: Vec<Window>,
}

/// Splits questions into windows, in blocks.
pub struct BlockCutter {
    config: WindowConfig,
    tokenizer: Tokenizer,
}

impl BlockCutter {
    /// Iterates over blocks of questions with their windows.
    pub fn blocks<'a>(
        &'a self,
        questions: &'a [Question],
    ) -> Result<impl Iterator<Item = Result<Block<'a>, Error>> + Send, Error> {
        let cutter = WindowCutter::new(&self.tokenizer, &self.config)?;
        Ok(questions.chunks(BLOCK_QUESTIONS).map(move |questions| {
            let windows = cutter.windows(questions, Purpose::Eval)?;
            Ok(Block { questions, windows })
        }))
    }

    /// Returns the row length: the length of the longest window, or `max_length` for run_qa.
    fn row_length(&self, longest_window: usize) -> usize {
        match self.config.compatible {
            None => longest_window,
            Some(Compatible::RunQa) => self.config.max_length,
        }
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    atomic_file::check_output(&args.out).map_err(Error::from)?;
    let dataset = Dataset::read(&args.dataset)?;
    let cutter = args.cut.create_cutter()?;
    let (mut rows, mut question_indices) = (Vec::new(), Vec::new());
    for (k, block) in cutter.blocks(&dataset.questions)?.enumerate() {
        for window in block?.windows {
            let index = k * BLOCK_QUESTIONS + window.question;
            let index = u32::try_from(index).expect("a file has fewer than 2^32 questions");
            question_indices.push(index);
            rows.push(window.input_ids);
        }
    }
    let row_length = cutter.row_length(rows.iter().map(Vec::len).max().unwrap_or(0));
    let pad = WindowCutter::new(&cutter.tokenizer, &cutter.config)?.pad_id();
    let tensors = [
        IntTensor::from_rows("input_ids", &rows, row_length, pad),
        IntTensor::mask_of("attention_mask", &rows, row_length),
        IntTensor::from_values("question", &question_indices),
    ];
    write_tensors(&args.out, &tensors, args.cut.program())?;
    let (rows, questions) = (rows.len(), dataset.questions.len());
    let counts = format!("{questions} questions, {rows} rows of {row_length} tokens\n");
    print_next_to([&args.out], &counts)
}
