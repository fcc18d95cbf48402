//! Trains the small multilingual base that the demo starts from.
mod cloze;
mod mimetic;
mod recipe;
mod vocabulary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;
use cloze::ClozeTask;
use examples::corpus::{Corpus, LANGUAGES};
use experiment::{log, resolve_roles};
use kg_triples::KnowledgeGraph;
use mimetic::mimetic_start;
use recipe::Recipe;
use tokenizers::Tokenizer;
use trainer::{Stage, fit};
use xlmr_model::{Head, Model, TokenizerFiles, check_tokenizer};

/// Trains the small multilingual base that the demo starts from: self-supervised question answering
/// and masked language modelling.
///
/// An interrupted run goes on from its last checkpoint when it is started again.
#[derive(Parser)]
#[command(after_help = "Examples:
  pretrain-base examples/pretrain-base/recipe.toml
  pretrain-base --set training.steps=20 --run /tmp/try --out /tmp/try/base")]
struct Args {
    /// The recipe.
    #[arg(default_value = "examples/pretrain-base/recipe.toml")]
    recipe: PathBuf,
    /// Overrides a key of the recipe.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Holds checkpoints and metrics.
    #[arg(long, default_value = "runs/pretrain-base")]
    run: PathBuf,
    /// Receives the finished model as a Hugging Face folder.
    #[arg(long, default_value = "data/base")]
    out: PathBuf,
}

/// The vocabulary's file in the run folder.
const TOKENIZER: &str = "tokenizer.json";

/// Tokens of the shortest paragraph that is a passage.
const SHORTEST_PASSAGE: usize = 20;

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    experiment::exit(run(&args))
}

fn run(args: &Args) -> Result<()> {
    let recipe = Recipe::read(&args.recipe, &args.set)?;
    let runtime = recipe.runtime()?;
    recipe.claim(&args.run)?;

    let corpus = recipe.corpus.read()?;
    let (tokenizer, files) = vocabulary_of_run(&recipe, &corpus, &args.run)?;
    let passages = passages(&tokenizer, &corpus)?;
    for (language, passages) in LANGUAGES.iter().zip(&passages) {
        let tokens: usize = passages.iter().map(Vec::len).sum();
        log(format!("{language}: {} passages, {tokens} tokens", passages.len()));
    }

    let config = recipe.model.config(i64::try_from(tokenizer.get_vocab_size(true))?);
    let specials = check_tokenizer(&tokenizer, &config)?;
    let heads = [Head::MaskedLm, Head::Span];
    let model = Model::new(&config, &heads, runtime.device, recipe.seed)?;
    mimetic_start(&model, recipe.seed)?;

    let (training, examples) = recipe.training()?;
    let mut task = ClozeTask::new(&model, specials, passages, examples, &recipe.cloze)?;
    let stage = Stage::new("pretrain-base", args.run.clone(), runtime.environment)
        .with_precision(runtime.precision)
        .stop_on_signals();
    let parameters = model.named_parameters();
    let training = resolve_roles(&training, &parameters)?;
    let report = fit(&stage, &training, &parameters, &mut task)?;

    model.save(&args.out, Head::MaskedLm)?;
    files.write(&args.out, &tokenizer, &config)?;
    log(format!(
        "{} steps in {:.0} s, loss {:.3}; the model is in {}",
        report.steps,
        report.seconds,
        report.final_loss,
        args.out.display()
    ));
    Ok(())
}

/// The vocabulary in the run folder, trained where there is none.
fn vocabulary_of_run(
    recipe: &Recipe,
    corpus: &Corpus,
    folder: &Path,
) -> Result<(Tokenizer, TokenizerFiles)> {
    let path = folder.join(TOKENIZER);
    if !path.exists() {
        let graph = KnowledgeGraph::read_dir(&recipe.kg)?;
        let tokenizer = vocabulary::train(&recipe.vocabulary, corpus, &graph)?;
        let text = tokenizer.to_string(true).map_err(|error| anyhow!("{TOKENIZER}: {error}"))?;
        experiment::write_text(&path, &text)?;
    }
    Ok(TokenizerFiles::of_file(&path)?)
}

/// Token ids of every long enough paragraph, by language.
fn passages(tokenizer: &Tokenizer, corpus: &Corpus) -> Result<Vec<Vec<Vec<u32>>>> {
    let encode = |language: &str| -> Result<Vec<Vec<u32>>> {
        let text: Vec<&str> =
            corpus.get(language).into_iter().flatten().map(String::as_str).collect();
        let encoded = tokenizer.encode_batch_fast(text, false);
        let encoded = encoded.map_err(|error| anyhow!("tokenizer: {error}"))?;
        let ids = encoded.iter().map(|encoding| encoding.get_ids().to_vec());
        Ok(ids.filter(|ids| ids.len() >= SHORTEST_PASSAGE).collect())
    };
    LANGUAGES.into_iter().map(encode).collect()
}
