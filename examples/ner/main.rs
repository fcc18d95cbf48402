//! Zero-shot named entity recognition by the protocol of *XLM-K*: fine-tuned on English, tested on other languages.
mod data;
mod recipe;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples::machine::Machine;
use examples::{cli, folder, vocabulary};
use tasks::token_classification::{EncodedSentences, TokenClassificationTask};
use trainer::selection::{BestEpoch, Selection};
use trainer::{Stage, TaskError, TrainConfig, fit};
use transfer_eval::ner::{Labels, write_ner};
use transfer_eval::{Scores, select_epoch};
use xlmr_model::{Config, Head, LoadOptions, Model, check_tokenizer};

use data::{Sentences, Sets};
use recipe::Recipe;
use report::{TaggerResult, report};

/// Fine-tunes XLM-R on English named entities and tests it on other languages.
///
/// Several starts make one table. An interrupted run goes on where it was when it is started again with the same --out.
#[derive(Parser)]
#[command(after_help = "Examples:
  ner examples/ner/small.toml --out runs/ner --seeds 2
  ner examples/ner/small.toml --model data/base --model xlm-k=runs/xlm-k/model --out runs/compare
  ner examples/ner/recipe.toml --model xlm-roberta-base --set data.train=en.train \\
      --set data.dev.en=en.dev --set data.dev.de=de.dev \\
      --set data.test.en=en.test --set data.test.de=de.test --out runs/paper")]
struct Args {
    /// The recipe.
    recipe: PathBuf,
    /// A folder to start from, in place of the recipe's; several are compared. The row of the table is called NAME, or as the
    /// folder.
    #[arg(long = "model", value_name = "[NAME=]DIR")]
    models: Vec<String>,
    /// Overrides a key of the recipe.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Runs the seeds 0 to N - 1.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The run folder.
    #[arg(long, default_value = "runs/ner")]
    out: PathBuf,
    /// Goes on with the run in this folder; short for --out with the same recipe.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
}

fn main() -> ExitCode {
    cli::exit(start(&Args::parse()))
}

fn start(args: &Args) -> Result<()> {
    let mut recipe: Recipe = examples::recipe::read(&args.recipe, &args.set)?;
    if !args.models.is_empty() {
        recipe.models.clear();
    }
    for given in &args.models {
        let (name, path) = named(given)?;
        if recipe.models.insert(name.clone(), path).is_some() {
            bail!("--model {given}: another start is called {name:?}; give it as NAME=DIR");
        }
    }
    if let Some(count) = args.seeds {
        recipe.seeds = (0..count).collect();
    }
    let out = args.resume.as_ref().unwrap_or(&args.out);
    let machine = folder::open(&recipe, out)?;
    let sentences = Sentences::read(&recipe.data)?;
    let counts = |sets: &Sets| {
        let one = |(code, set): (&String, &Vec<_>)| format!("{} {code}", set.len());
        sets.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    cli::say(format!(
        "sentences: train {} en; dev {}; test {}",
        sentences.train.len(),
        counts(&sentences.dev),
        counts(&sentences.test)
    ))?;

    let method = Method {
        recipe: &recipe,
        machine: &machine,
        sentences: &sentences,
        labels: Labels::iob2(&recipe.types),
    };
    let mut results = Vec::new();
    for &seed in &recipe.seeds {
        for (name, path) in &recipe.models {
            let place = out.join(format!("seed-{seed}")).join(name);
            let fine_tune = || method.fine_tune(seed, name, path, &place);
            let result = folder::once(&place, &["fine-tune"], fine_tune)?;
            results.push((seed, name.clone(), result));
        }
    }
    cli::say(format!("\n{}", report(&recipe, out, &results)?))?;
    cli::say(format!("Everything is in {}.", out.display()))?;
    Ok(())
}

/// `NAME=DIR`, or `DIR` with its last part as the name.
fn named(given: &str) -> Result<(String, PathBuf)> {
    if let Some((name, path)) = given.split_once('=') {
        return Ok((name.to_owned(), path.into()));
    }
    let name = Path::new(given).file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("--model {given}: give it as NAME=DIR"))?;
    Ok((name.to_owned(), given.into()))
}

/// What all models of a run share.
struct Method<'a> {
    recipe: &'a Recipe,
    machine: &'a Machine,
    sentences: &'a Sentences,
    labels: Labels,
}

impl Method<'_> {
    /// Fine-tunes one start with one seed and tests it.
    fn fine_tune(&self, seed: u64, name: &str, path: &Path, place: &Path) -> Result<TaggerResult> {
        let (recipe, labels) = (self.recipe, &self.labels);
        let tokenizer = vocabulary::read(&path.join("tokenizer.json"))?;
        let head = Head::TokenClassification { labels: i64::try_from(labels.len())? };
        let options = LoadOptions { seed, ..LoadOptions::default() };
        let (model, _) = Model::load(path, &[head], self.machine.device, options)?;
        check_tokenizer(&tokenizer, model.config())?;
        let tagged = |sets: &Sets| -> Result<Vec<(String, EncodedSentences)>> {
            let encode = |(code, sentences): (&String, &Vec<_>)| {
                let own =
                    EncodedSentences::new(sentences.clone(), &tokenizer, labels, &recipe.encoding);
                Ok((code.clone(), own.with_context(|| code.clone())?))
            };
            sets.iter().map(encode).collect()
        };
        let (dev, test) = (tagged(&self.sentences.dev)?, tagged(&self.sentences.test)?);
        let train = self.sentences.train.clone();
        let train = EncodedSentences::new(train, &tokenizer, labels, &recipe.encoding)
            .context("data.train")?;

        // Section 4.1: English training, the development sets choose the epoch.
        let size = recipe.evaluation_batch_size;
        let score = || -> Result<Scores, TaskError> {
            let f1 = |(code, set): &(String, EncodedSentences)| {
                Ok((code.clone(), 100.0 * set.predict(&model, labels, size)?.score.micro.f1))
            };
            dev.iter().map(f1).collect()
        };
        let selection = Selection {
            rule: format!("{:?}", recipe.selection),
            names: dev.iter().map(|(code, _)| code.clone()).collect(),
            score: Box::new(score),
            choose: Box::new(|epochs| Ok(select_epoch(epochs, recipe.selection)?)),
        };
        let tagging = TokenClassificationTask::new(&model, &train.inputs)?;
        let mut task = BestEpoch::new(tagging, &model.named_parameters(), selection);
        let config = TrainConfig { seed, ..recipe.fine_tuning.clone() };
        let stage = Stage::new(
            format!("{name}, seed {seed}"),
            place.join("fine-tune"),
            self.machine.environment.clone(),
        );
        let mut seconds = fit(&stage, &config, &model.named_parameters(), &mut task)?.seconds;
        let start = Instant::now();
        let (best, epochs) = task.finish()?;
        self.save(&model, head, path, &place.join("model"))?;

        // Table 2: entity-level F1 in every language.
        let mut result = TaggerResult { epoch: best + 1, dev: epochs, ..TaggerResult::default() };
        for (code, set) in &test {
            let tagging = set.predict(&model, labels, size)?;
            let file = place.join("predictions").join(format!("{code}.conll"));
            write_ner(file, &tagging.sentences)?;
            let micro = tagging.score.micro;
            result.f1.insert(code.clone(), 100.0 * micro.f1);
            result.precision.insert(code.clone(), 100.0 * micro.precision);
            result.recall.insert(code.clone(), 100.0 * micro.recall);
        }
        let list = |scores: &Scores| {
            let one = |(code, f1): (&String, &f64)| format!("{code} {f1:.1}");
            scores.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let of_best = result.dev.get(best).map(list).unwrap_or_default();
        cli::say(format!(
            "{name}, seed {seed}: epoch {} of {}, dev F1 {of_best}; test F1 {}",
            result.epoch,
            result.dev.len(),
            list(&result.f1)
        ))?;
        seconds += start.elapsed().as_secs_f64();
        Ok(TaggerResult { seconds, ..result })
    }

    /// Writes the tagger with the names of its labels.
    fn save(&self, model: &Model, head: Head, from: &Path, folder: &Path) -> Result<()> {
        model.save(folder, head)?;
        vocabulary::copy(from, folder)?;
        let path = folder.join("config.json");
        let tags = (0..).zip(self.labels.tags().iter().cloned());
        let config = Config { id2label: Some(tags.collect()), ..Config::from_file(&path)? };
        Ok(config.write(&path)?)
    }
}
