//! *Enhancing Answer Boundary Detection for Multilingual Machine Reading Comprehension* (mixMRC + LAKM), from translated questions
//! and knowledge phrases to its tables.
mod data;
mod recipe;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use examples::evaluation::{Reader, evaluate};
use examples::folder::{once, open};
use examples::machine::Machine;
use examples::reading::{EntityMarks, ReadingData, ReadingTask};
use examples::{cli, vocabulary};
use kg_triples::phrases::{SpecialIds, encode_passages};
use mlqa_eval::Question;
use tasks::masked_lm::PhraseMaskingTask;
use tokenizers::Tokenizer;
use trainer::{Stage, TaskSlot, fit_tasks};
use xlmr_model::{Head, LoadOptions, Model, check_tokenizer};

use data::Material;
use recipe::{Arm, Recipe};
use report::ArmResult;

/// Trains a reader on translated and mixed questions, with masked knowledge phrases beside it, and tests it on every pair of
/// languages.
///
/// An interrupted run goes on where it was when it is started again with the same --out.
#[derive(Parser)]
#[command(after_help = "Examples:
  mixmrc-lakm examples/mixmrc-lakm/small.toml --out runs/mixmrc --seeds 3
  mixmrc-lakm examples/mixmrc-lakm/small.toml --set 'run_arms=[\"baseline\", \"lakm\", \"lakm-ngrams\"]' --out runs/table8
  mixmrc-lakm examples/mixmrc-lakm/recipe.toml --model xlm-roberta-base --set data.train=train-v1.1.json \\
      --set data.translated=translated --set data.phrases=phrases.jsonl --set data.evaluation=MLQA_V1/test --out runs/paper")]
struct Args {
    /// The recipe.
    recipe: PathBuf,
    /// Short for --set model.path=DIR.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Overrides a key of the recipe.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Runs the seeds 0 to N - 1 and reports the spread.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The run folder.
    #[arg(long, default_value = "runs/mixmrc-lakm")]
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
    if let Some(path) = &args.model {
        recipe.model.path.clone_from(path);
    }
    if let Some(count) = args.seeds {
        recipe.seeds = (0..count).collect();
    }
    let folder = args.resume.as_ref().unwrap_or(&args.out);
    let machine = open(&recipe, folder)?;
    let tokenizer = vocabulary::read(&recipe.model.path.join("tokenizer.json"))?;

    // 3.1 and 3.2: translations with their answers, questions mixed with passages of other languages, knowledge phrases.
    let material = Material::load(&recipe, folder)?;
    cli::say(&material.report)?;

    let method =
        Method { recipe: &recipe, machine: &machine, tokenizer: &tokenizer, material: &material };
    let mut results = Vec::new();
    for &seed in &recipe.seeds {
        for name in &recipe.run_arms {
            let arm = recipe.arms.get(name).context("arms")?;
            let place = folder.join(format!("seed-{seed}")).join(name);
            let result = once(&place, &["train"], || method.train(seed, name, arm, &place))?;
            results.push((seed, name.clone(), result));
        }
    }
    cli::say(format!("\n{}", report::write(&recipe, folder, &results)?))?;
    cli::say(format!(
        "Everything is in {}; open matrix/<arm>/matrix.html there.",
        folder.display()
    ))?;
    Ok(())
}

/// What all models of a run share.
struct Method<'a> {
    recipe: &'a Recipe,
    machine: &'a Machine,
    tokenizer: &'a Tokenizer,
    material: &'a Material,
}

impl Method<'_> {
    /// Trains and evaluates one model.
    fn train(&self, seed: u64, name: &str, arm: &Arm, place: &Path) -> Result<ArmResult> {
        let recipe = self.recipe;
        let options = LoadOptions { segments: recipe.model.segments, seed };
        let heads = [Head::MaskedLm, Head::Span];
        let (model, loaded) =
            Model::load(&recipe.model.path, &heads, self.machine.device, options)?;
        let specials = check_tokenizer(self.tokenizer, model.config())?;
        if !loaded.missing.is_empty() {
            cli::say(format!("freshly initialised: {}", loaded.missing.join(", ")))?;
        }

        // 4.3: one batch of each task in turn, each with an update of its own.
        let mut reading = self.reading(&model, &self.material.unmixed(arm.translated))?;
        let mut mixed = match arm.mixed {
            true => Some(self.reading(&model, &self.material.mixed())?),
            false => None,
        };
        let mut phrases = match arm.lakm {
            Some(masking) => {
                let passages = &self.material.phrases;
                let ids = SpecialIds { bos: specials.bos, eos: specials.eos, unk: specials.unk };
                let passages =
                    encode_passages(passages, self.tokenizer, ids, recipe.lakm_max_length)?;
                Some(PhraseMaskingTask::new(&model, specials, passages, &recipe.lakm(masking))?)
            }
            None => None,
        };
        let rounds = recipe.rounds;
        let mut slots =
            vec![TaskSlot { batches_per_round: rounds.mrc, ..TaskSlot::new("mrc", &mut reading) }];
        if let Some(task) = &mut mixed {
            slots
                .push(TaskSlot { batches_per_round: rounds.mixed, ..TaskSlot::new("mixed", task) });
        }
        if let Some(task) = &mut phrases {
            slots.push(TaskSlot { batches_per_round: rounds.lakm, ..TaskSlot::new("lakm", task) });
        }
        let stage = Stage::new(name, place.join("train"), self.machine.environment.clone());
        let config = recipe.training(seed, arm);
        let trained = fit_tasks(&stage, &config, &model.named_parameters(), &mut slots)?;
        let folder = place.join("model");
        model.save(&folder, Head::Span)?;
        vocabulary::copy(&recipe.model.path, &folder)?;

        // 4.4: every language of passages with every language of questions.
        let start = Instant::now();
        let reader = Reader { model: &model, tokenizer: self.tokenizer, windows: &recipe.windows };
        let matrix = evaluate(
            &reader,
            &recipe.evaluation,
            &self.material.evaluation,
            &recipe.languages,
            &place.join("predictions"),
            name,
        )?;
        let seconds = trained.seconds + start.elapsed().as_secs_f64();
        Ok(ArmResult::new(&matrix, trained.tokens, trained.steps, seconds))
    }

    fn reading<'m>(&self, model: &'m Model, questions: &[Question]) -> Result<ReadingTask<'m>> {
        let recipe = self.recipe;
        let data = ReadingData { questions, marks: &EntityMarks::new(), windows: &recipe.windows };
        ReadingTask::new(model, self.tokenizer, &data, &recipe.reading, &recipe.span_loss)
    }
}
