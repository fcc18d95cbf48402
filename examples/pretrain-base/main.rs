//! Trains the small multilingual base that the demo starts from.
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use examples::cloze::{ClozeConfig, ClozeTask};
use examples::corpus::{Corpus, CorpusConfig, LANGUAGES};
use examples::machine::Machine;
use examples::mimetic::mimetic_start;
use examples::vocabulary::{self, VocabularyConfig};
use examples::{cli, recipe};
use kg_triples::KnowledgeGraph;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use trainer::{Stage, TrainConfig, fit};
use xlmr_model::{Config, Head, Model, check_tokenizer};

/// Trains the small multilingual base that the demo starts from: self-supervised reading and masked language modelling.
///
/// An interrupted run goes on from its last checkpoint when it is started again.
#[derive(Parser)]
#[command(after_help = "Examples:
  pretrain-base examples/pretrain-base/recipe.toml
  pretrain-base examples/pretrain-base/recipe.toml --set training.steps=20 --run /tmp/try --out /tmp/try/base")]
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

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Recipe {
    seed: u64,
    device: String,
    threads: usize,
    float32_matmul: String,
    kg: PathBuf,
    corpus: CorpusConfig,
    vocabulary: VocabularyConfig,
    model: Shape,
    cloze: ClozeConfig,
    training: TrainConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Shape {
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    max_position_embeddings: i64,
    initializer_range: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    cli::exit(run(&args))
}

fn run(args: &Args) -> Result<()> {
    let recipe: Recipe = recipe::read(&args.recipe, &args.set)?;
    let machine = Machine::set_up(&recipe.device, recipe.threads, &recipe.float32_matmul)?;
    std::fs::create_dir_all(&args.run).with_context(|| args.run.display().to_string())?;
    let stored = args.run.join("recipe.toml");
    if args.run.join("checkpoints").exists() && stored.exists() {
        let earlier: Recipe = recipe::read(&stored, &[])?;
        if earlier.decisive() != recipe.decisive() {
            bail!("{} holds a run of another recipe; give another --run", args.run.display());
        }
    }
    recipe::write(&stored, &recipe)?;

    let corpus = recipe.corpus.read()?;
    let tokenizer = vocabulary_of(&recipe, &corpus, &args.run.join("tokenizer.json"))?;
    let passages = passages(&tokenizer, &corpus)?;
    for (language, own) in LANGUAGES.iter().zip(&passages) {
        let tokens: usize = own.iter().map(Vec::len).sum();
        cli::say(format!("{language}: {} passages, {tokens} tokens", own.len()))?;
    }

    let config = Config {
        hidden_size: recipe.model.hidden_size,
        num_hidden_layers: recipe.model.num_hidden_layers,
        num_attention_heads: recipe.model.num_attention_heads,
        intermediate_size: recipe.model.intermediate_size,
        max_position_embeddings: recipe.model.max_position_embeddings,
        initializer_range: recipe.model.initializer_range,
        type_vocab_size: 2,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..Config::tiny(i64::try_from(tokenizer.get_vocab_size(true))?)
    };
    let specials = check_tokenizer(&tokenizer, &config)?;
    let heads = [Head::MaskedLm, Head::Span];
    let model = Model::new(&config, &heads, machine.device, recipe.seed)?;
    mimetic_start(&model, recipe.seed)?;

    let training = TrainConfig { seed: recipe.seed, ..recipe.training.clone() };
    let steps = training.steps.context("training.steps is not set: give the number of steps")?;
    let steps = usize::try_from(steps)?;
    let examples = steps.checked_mul(training.batch_size).context("training.steps is too large")?;
    let mut task = ClozeTask::new(&model, specials, passages, examples, &recipe.cloze)?;
    let stage = Stage::new("pretrain-base", args.run.clone(), machine.environment);
    let report = fit(&stage, &training, &model.named_parameters(), &mut task)?;
    model.save(&args.out, Head::MaskedLm)?;
    save_tokenizer(&tokenizer, &args.out.join("tokenizer.json"))?;
    cli::say(format!(
        "{} steps in {:.0} s, loss {:.3}; the model is in {}",
        report.steps,
        report.seconds,
        report.final_loss,
        args.out.display()
    ))?;
    Ok(())
}

impl Recipe {
    /// The keys that decide a result.
    fn decisive(&self) -> Self {
        let training = self.training.identity();
        Self { device: String::new(), threads: 0, training, ..self.clone() }
    }
}

/// The vocabulary of an earlier part of this run, or a new one.
fn vocabulary_of(recipe: &Recipe, corpus: &Corpus, path: &Path) -> Result<Tokenizer> {
    if path.exists() {
        return vocabulary::read(path);
    }
    let graph = KnowledgeGraph::read_dir(&recipe.kg)?;
    let tokenizer = vocabulary::train(&recipe.vocabulary, corpus, &graph)?;
    save_tokenizer(&tokenizer, path)?;
    Ok(tokenizer)
}

fn save_tokenizer(tokenizer: &Tokenizer, path: &Path) -> Result<()> {
    let text = tokenizer.to_string(true).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    examples::results::write_text(path, &text)
}

/// Token ids of every paragraph of 20 tokens or more, by language.
fn passages(tokenizer: &Tokenizer, corpus: &Corpus) -> Result<Vec<Vec<Vec<u32>>>> {
    let mut all = Vec::new();
    for language in LANGUAGES {
        let text: Vec<&str> =
            corpus.get(language).into_iter().flatten().map(String::as_str).collect();
        let encoded =
            tokenizer.encode_batch_fast(text, false).map_err(|error| anyhow!("{error}"))?;
        let ids = encoded
            .iter()
            .map(|encoding| encoding.get_ids().to_vec())
            .filter(|ids| ids.len() >= 20)
            .collect();
        all.push(ids);
    }
    Ok(all)
}
