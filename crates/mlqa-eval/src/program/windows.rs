//! `mlqa-eval windows`: the rows that a model reads.
use std::path::PathBuf;

use crate::{
    Compatible, Dataset, Error, Purpose, Question, Window, WindowConfig, WindowCutter,
    load_tokenizer,
};
use clap::ValueEnum;
use tokenizers::Tokenizer;

use super::tensors::{IntTensor, write_ints};
use super::{Stop, print};

/// Cut questions and contexts into the rows of token ids that a model reads.
///
/// The file holds input_ids [rows, length], 32-bit integers, attention_mask of the same shape,
/// bytes, and question [rows], which counts questions from 0 in file order, as safetensors, with
/// the metadata `windows`: `mlqa-eval`, or `run_qa` with --compatible.
/// `mlqa-eval decode` reads the logits that come of it.
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
    /// Questions, SQuAD-style JSON or rows
    dataset: PathBuf,
    #[command(flatten)]
    cut: CutArgs,
    /// Where the rows go, a safetensors file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// How windows are cut.
#[derive(clap::Args)]
pub struct CutArgs {
    /// Hugging Face tokenizer.json, or its folder
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Tokens of a window, special tokens included
    #[arg(long, value_name = "N", default_value_t = WindowConfig::default().max_length)]
    max_length: usize,
    /// Context tokens that neighbouring windows share
    #[arg(long, value_name = "N", default_value_t = WindowConfig::default().doc_stride)]
    doc_stride: usize,
    /// Question tokens beyond this are cut off (not by run_qa)
    #[arg(long, value_name = "N", default_value_t = WindowConfig::default().max_question_length)]
    max_question_length: usize,
    /// Follow another program step by step
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

    /// The program whose windows these are, as files name it.
    pub fn program(&self) -> &'static str {
        match self.compatible {
            None => "mlqa-eval",
            Some(Program::RunQa) => "run_qa",
        }
    }

    pub fn cutter(&self) -> Result<Cutter, Stop> {
        let config = WindowConfig {
            max_length: self.max_length,
            doc_stride: self.doc_stride,
            max_question_length: self.max_question_length,
            compatible: self.compatible(),
            ..WindowConfig::default()
        };
        config.validate(usize::MAX, 1)?;
        Ok(Cutter { config, tokenizer: load_tokenizer(&self.tokenizer)? })
    }
}

/// Questions whose windows are in memory at once.
const BLOCK: usize = 256;

/// Some questions and their windows, which count these questions from 0.
pub struct Block<'a> {
    pub questions: &'a [Question],
    pub windows: Vec<Window>,
}

/// A tokenizer and how windows are cut with it.
pub struct Cutter {
    config: WindowConfig,
    tokenizer: Tokenizer,
}

impl Cutter {
    /// Blocks of questions with their windows, so that not all of them are in memory.
    pub fn blocks<'a>(
        &'a self,
        questions: &'a [Question],
    ) -> Result<impl Iterator<Item = Result<Block<'a>, Error>> + Send, Error> {
        let cutter = WindowCutter::new(&self.tokenizer, &self.config)?;
        Ok(questions.chunks(BLOCK).map(move |questions| {
            let windows = cutter.windows(questions, Purpose::Eval)?;
            Ok(Block { questions, windows })
        }))
    }

    /// Rows are as long as the longest; those of run_qa have the full length.
    fn width(&self, longest: usize) -> usize {
        match self.config.compatible {
            None => longest,
            Some(Compatible::RunQa) => self.config.max_length,
        }
    }
}

pub fn run(args: &Args) -> Result<(), Stop> {
    whole_file::check_output(&args.out)
        .map_err(|source| Error::Write { path: args.out.clone(), source })?;
    let dataset = Dataset::read(&args.dataset)?;
    let cutter = args.cut.cutter()?;
    let (mut rows, mut of) = (Vec::new(), Vec::new());
    for (k, block) in cutter.blocks(&dataset.questions)?.enumerate() {
        for window in block?.windows {
            of.push(u32::try_from(k * BLOCK + window.question).unwrap_or(u32::MAX));
            rows.push(window.input_ids);
        }
    }
    let width = cutter.width(rows.iter().map(Vec::len).max().unwrap_or(0));
    let pad = WindowCutter::new(&cutter.tokenizer, &cutter.config)?.pad_id();
    let tensors = [
        IntTensor::rows("input_ids", &rows, width, pad),
        IntTensor::mask("attention_mask", &rows, width),
        IntTensor::list("question", &of),
    ];
    write_ints(&args.out, &tensors, args.cut.program())?;
    let (rows, questions) = (rows.len(), dataset.questions.len());
    print(&format!("{questions} questions, {rows} rows of {width} tokens\n"))
}
