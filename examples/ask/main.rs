//! Answers a question typed in any of seven languages about an English text.
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use experiment::{RunConfig, Runtime, log};
use mlqa_eval::{DecodeConfig, Question, WindowConfig};
use tasks::question_answering::QaPredictor;
use xlmr_model::{Head, Pretrained};

/// Answers questions about a text with a model that a run left behind.
#[derive(Parser)]
#[command(after_help = "Examples:
  ask                                                  the demo's model, its text, your questions
  ask --question 'Was ist die Amtssprache von Peru ?'
  ask --model runs/demo/seed-0/base/all/model --text story.txt")]
struct Args {
    /// The model: a Hugging Face folder, trained to answer questions.
    #[arg(long, default_value = "runs/demo/seed-0/injected/all/model")]
    model: PathBuf,
    /// The text; without it, facts in the demo's form.
    #[arg(long)]
    text: Option<PathBuf>,
    /// One question; without it they are read line by line.
    #[arg(long)]
    question: Option<String>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Longest answer, in tokens.
    #[arg(long, default_value_t = 8)]
    max_answer_length: usize,
}

/// Bytes of the longest text that is answered about.
const LONGEST_TEXT: u64 = 64 << 20;

const TEXT: &str = "The official language of Peru is Spanish . The official language of Germany is German . \
    The official language of Japan is Japanese . The official language of Egypt is Arabic .";

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    experiment::exit(run(&args))
}

fn run(args: &Args) -> Result<()> {
    if !args.model.exists() {
        bail!(
            "{}: no such folder; `cargo xtask demo` makes the demo's model, --model names another",
            args.model.display()
        );
    }
    if let Some(question) = &args.question {
        ensure!(!question.trim().is_empty(), "--question is empty: give a question");
    }
    let text = match &args.text {
        Some(path) => whole_file::read_to_string_limited(path, LONGEST_TEXT)
            .with_context(|| path.display().to_string())?,
        None => TEXT.to_owned(),
    };
    let text: Arc<str> = text.trim().into();
    ensure!(!text.is_empty(), "the text is empty: give a file with --text");

    let run = RunConfig { device: args.device.clone(), ..RunConfig::default() };
    let device = Runtime::set_up(&run)?.device;
    let trained = Pretrained::load_trained(&args.model, Head::Span, device)?;
    let config = trained.model.config();
    let positions = usize::try_from(config.max_length())?;
    let windows = WindowConfig::fitting(positions, usize::try_from(config.type_vocab_size)?);
    let decoding =
        DecodeConfig { max_answer_length: args.max_answer_length, ..DecodeConfig::default() };
    let predictor = QaPredictor::new(&trained.model, &trained.tokenizer, &windows)
        .with_decoding(&decoding)
        .with_batch_size(16);
    match &args.question {
        Some(question) => answer(&predictor, &text, question.trim()),
        None => converse(&predictor, &text),
    }
}

/// Answers questions from standard input, one on each line, until it ends.
fn converse(predictor: &QaPredictor<'_>, text: &Arc<str>) -> Result<()> {
    let terminal = std::io::stdin().is_terminal();
    log(format!("{text}\n"));
    loop {
        if terminal {
            print!("question> ");
            std::io::stdout().flush()?;
        }
        let mut line = Vec::new();
        if std::io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match std::str::from_utf8(&line).map(str::trim) {
            Ok("") => {}
            Ok(question) => answer(predictor, text, question)?,
            Err(_) => eprintln!("this line is not UTF-8 and has no answer; convert it first"),
        }
    }
}

/// Prints the best answers, the first in its sentence.
fn answer(predictor: &QaPredictor<'_>, text: &Arc<str>, question: &str) -> Result<()> {
    let question = Question {
        id: "typed".into(),
        question: question.into(),
        context: text.clone(),
        answers: Vec::new(),
        title: "".into(),
    };
    let answers = predictor.predict(std::slice::from_ref(&question))?;
    let Some((best, others)) = answers.first().and_then(|one| one.candidates.split_first()) else {
        log("no answer fits");
        return Ok(());
    };
    log(format!("{}  ({:.0} %)", best.text, 100.0 * best.probability));
    log(format!("  {}", in_sentence(text, best.answer_start, best.text.chars().count())));
    for other in others.iter().take(2) {
        log(format!("  or {}  ({:.0} %)", other.text, 100.0 * other.probability));
    }
    Ok(())
}

/// The sentence around a span of code points, the span in brackets.
fn in_sentence(text: &str, start: usize, length: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    let end = start + length;
    let stops = |c: &char| matches!(c, '.' | '!' | '?' | '\n');
    let before = characters.get(..start).unwrap_or_default();
    let first = before.iter().rposition(stops).map_or(0, |stop| stop + 1);
    let after = characters.get(end..).unwrap_or_default();
    let last = after.iter().position(stops).map_or(characters.len(), |stop| end + stop + 1);
    let part = |from: usize, to: usize| -> String {
        characters.get(from..to).unwrap_or_default().iter().collect()
    };
    format!("{}[{}]{}", part(first, start).trim_start(), part(start, end), part(end, last))
}
