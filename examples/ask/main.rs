//! Answers a question typed in any of seven languages about an English text.
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples::machine::Machine;
use examples::{cli, vocabulary};
use mlqa_eval::{DecodeConfig, Question, WindowConfig};
use tasks::question_answering::QaPredictor;
use xlmr_model::{Head, LoadOptions, Model, check_tokenizer};

/// Answers questions about a text with a model that a run left behind.
#[derive(Parser)]
#[command(after_help = "Examples:
  ask                                                  the demo's model, its text, your questions
  ask --question 'Was ist die Amtssprache von Peru ?'
  ask --model runs/demo/seed-0/base/all/model --text story.txt")]
struct Args {
    /// The model: a Hugging Face folder with a span head and tokenizer.json.
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

const TEXT: &str = "The official language of Peru is Spanish . The official language of Germany is German . \
    The official language of Japan is Japanese . The official language of Egypt is Arabic .";

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    cli::exit(run(&args))
}

fn run(args: &Args) -> Result<()> {
    if !args.model.exists() {
        bail!(
            "{}: no such folder; `cargo xtask demo` makes the demo's model, --model names another",
            args.model.display()
        );
    }
    let machine = Machine::set_up(&args.device, 0, "auto")?;
    let heads = [Head::Span];
    let (model, report) = Model::load(&args.model, &heads, machine.device, LoadOptions::default())?;
    if !report.missing.is_empty() {
        bail!("{}: no trained span head ({})", args.model.display(), report.missing.join(", "));
    }
    let tokenizer = vocabulary::read(&args.model.join("tokenizer.json"))?;
    check_tokenizer(&tokenizer, model.config())?;
    let max_length = usize::try_from(model.config().max_length())?.min(384);
    let windows = WindowConfig {
        max_length,
        doc_stride: max_length / 4,
        max_question_length: max_length / 4,
        segment_ids: model.config().type_vocab_size > 1,
        ..WindowConfig::default()
    };
    let text = match &args.text {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => TEXT.to_owned(),
    };
    let text: Arc<str> = text.trim().into();
    let decoding =
        DecodeConfig { max_answer_length: args.max_answer_length, ..DecodeConfig::default() };
    let predictor =
        QaPredictor::new(&model, &tokenizer, &windows).with_decoding(&decoding).with_batch_size(16);
    if let Some(question) = &args.question {
        return answer(&predictor, &text, question);
    }
    let terminal = std::io::stdin().is_terminal();
    cli::say(format!("{text}\n"))?;
    loop {
        if terminal {
            print!("question> ");
            std::io::stdout().flush()?;
        }
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        if !line.trim().is_empty() {
            answer(&predictor, &text, line.trim())?;
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
    let Some(best) = answers.first().and_then(|one| one.candidates.first()) else {
        cli::say("no answer fits")?;
        return Ok(());
    };
    cli::say(format!("{}  ({:.0} %)", best.text, 100.0 * best.probability))?;
    cli::say(format!("  {}", in_sentence(text, best.answer_start, best.text.chars().count())))?;
    for other in answers.iter().flat_map(|one| &one.candidates).skip(1).take(2) {
        cli::say(format!("  or {}  ({:.0} %)", other.text, 100.0 * other.probability))?;
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
