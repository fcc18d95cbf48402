//! Trains the small multilingual base model of the demo: self-supervised question answering and
//! masked language modelling.
mod cloze;
mod mimetic;
mod recipe;
mod vocabulary;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cloze::ClozeTask;
use experiment::{Experiment, Trial, log};
use kg_triples::KnowledgeGraph;
use mimetic::mimetic_start;
use recipe::Recipe;
use results::{Table, cell};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use torch_ext::Precision;
use vocabulary::LANGUAGES;
use xlmr_model::{Head, Model, TokenizerFiles, check_tokenizer};

/// File name of the tokenizer.
const TOKENIZER: &str = "tokenizer.json";

/// Minimum number of tokens of a paragraph that is used as a passage.
const MIN_PASSAGE_TOKENS: usize = 20;

/// Paragraphs by language.
type Corpus = BTreeMap<&'static str, Vec<String>>;

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let corpus = experiment.recipe.corpus()?;
    let precision = experiment.runtime.precision;
    let train = |trial: &Trial<'_, Recipe>| train(trial, precision, &corpus);
    let results = experiment.each(train, |_, _| Ok(()))?;
    let mut by_seed = BTreeMap::new();
    let mut table = Table::new("seed", ["loss"]);
    for result in results.iter() {
        by_seed.insert(result.seed, &result.trained);
        let loss = cell(Some(format!("{:.3}", result.trained.loss)));
        table.add_row(result.seed.to_string(), [loss]);
    }
    Ok(experiment.finish(&by_seed, &table.to_string(), "")?)
}

/// The result of a seed.
#[derive(Deserialize, Serialize)]
struct Trained {
    /// Mean loss of the last steps.
    loss: f64,
}

/// Trains a vocabulary, and an encoder from scratch.
fn train(trial: &Trial<'_, Recipe>, precision: Precision, corpus: &Corpus) -> Result<Trained> {
    let recipe = trial.recipe;
    let (tokenizer, files) = tokenizer(trial, corpus)?;
    let passages = passages(&tokenizer, corpus)?;
    for (language, passages) in LANGUAGES.iter().zip(&passages) {
        let tokens: usize = passages.iter().map(Vec::len).sum();
        log(format!("{language}: {} passages, {tokens} tokens", passages.len()));
    }

    let config = recipe.model.config(i64::try_from(tokenizer.get_vocab_size(true))?);
    let specials = check_tokenizer(&tokenizer, &config)?;
    let heads = [Head::MaskedLm, Head::Span];
    let mut model = Model::new(&config, &heads, trial.device(), trial.seed)?;
    model.set_precision(precision)?;
    mimetic_start(&model, trial.seed)?;

    let example_count = recipe.example_count()?;
    let mut task = ClozeTask::new(&model, specials, passages, example_count, &recipe.cloze)?;
    let parameters = model.named_parameters();
    let report = trial.fit("pretrain", &recipe.training, &parameters, &mut task)?;
    model.save(trial.dir("model"), Head::MaskedLm)?;
    files.write(trial.dir("model"), &tokenizer, &config)?;
    Ok(Trained { loss: report.final_loss })
}

/// Returns the tokenizer, whose vocabulary is trained unless its file exists.
fn tokenizer(trial: &Trial<'_, Recipe>, corpus: &Corpus) -> Result<(Tokenizer, TokenizerFiles)> {
    let path = trial.dir(TOKENIZER);
    if !path.exists() {
        let graph = KnowledgeGraph::read_dir(&trial.recipe.data.kg)?;
        let tokenizer = vocabulary::train(&trial.recipe.vocabulary, corpus, &graph)?;
        let text = tokenizer.to_string(true).map_err(|error| anyhow!("{TOKENIZER}: {error}"))?;
        experiment::write_text(&path, &text)?;
    }
    Ok(TokenizerFiles::of_file(&path)?)
}

/// Returns the token ids of every sufficiently long paragraph, by language.
fn passages(tokenizer: &Tokenizer, corpus: &Corpus) -> Result<Vec<Vec<Vec<u32>>>> {
    let encode = |language: &str| -> Result<Vec<Vec<u32>>> {
        let text: Vec<&str> =
            corpus.get(language).into_iter().flatten().map(String::as_str).collect();
        let encoded = tokenizer.encode_batch_fast(text, false);
        let encoded = encoded.map_err(|error| anyhow!("tokenizer: {error}"))?;
        let ids = encoded.iter().map(|encoding| encoding.get_ids().to_vec());
        Ok(ids.filter(|ids| ids.len() >= MIN_PASSAGE_TOKENS).collect())
    };
    LANGUAGES.into_iter().map(encode).collect()
}
