//! *From Good to Best: Two-Stage Training for Cross-Lingual Machine Reading Comprehension*, from a reader's candidates to answers
//! with the right boundaries.
mod recipe;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use examples::folder::{once, open};
use examples::machine::Machine;
use examples::{cli, vocabulary};
use mlqa_eval::{Dataset, Purpose, Question, Window, windows};
use tasks::question_answering::{QaData, QaPredictor, QaTask, QuestionFile, evaluate};
use tasks::two_stage::{BoundaryTask, CandidateMiner, Candidates};
use tokenizers::Tokenizer;
use trainer::{Stage, TrainConfig, fit};
use xlmr_model::{Head, LoadOptions, Model, check_tokenizer};

use recipe::{Arm, Recipe, StageTwoStart, Sweep};
use report::ModelResult;

/// Trains a reader, takes its best spans as candidates, and trains again with hard learning and answer-aware contrast.
///
/// An interrupted run goes on where it was when it is started again with the same --out.
#[derive(Parser)]
#[command(after_help = "Examples:
  good-to-best examples/good-to-best/small.toml --out runs/good-to-best --seeds 3
  good-to-best examples/good-to-best/small.toml --out runs/good-to-best --ablate weighting
  good-to-best examples/good-to-best/recipe.toml --model xlm-roberta-base --set 'data.train=[\"train-v1.1.json\"]' \\
      --set data.mlqa=MLQA_V1/test --set data.xquad=xquad --out runs/paper")]
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
    /// Runs the arms of a sweep in place of `run_arms`.
    #[arg(long)]
    ablate: Option<Sweep>,
    /// The run folder.
    #[arg(long, default_value = "runs/good-to-best")]
    out: PathBuf,
    /// Goes on with the run in this folder; short for --out with the same recipe.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    cli::exit(start(&args))
}

fn start(args: &Args) -> Result<()> {
    let mut recipe: Recipe = examples::recipe::read(&args.recipe, &args.set)?;
    if let Some(path) = &args.model {
        recipe.model.path.clone_from(path);
    }
    if let Some(count) = args.seeds {
        recipe.seeds = (0..count).collect();
    }
    recipe.add_sweeps()?;
    if let Some(sweep) = args.ablate {
        recipe.run_sweep(sweep)?;
    }
    let folder = args.resume.as_ref().unwrap_or(&args.out);
    let machine = open(&recipe, folder)?;
    let tokenizer = vocabulary::read(&recipe.model.path.join("tokenizer.json"))?;

    let made = folder.join("data");
    if let Some(cloze) = &recipe.data.cloze {
        cloze.make()?.write(&made)?;
    }
    let mut questions = Vec::new();
    for path in recipe.train_files(&made) {
        questions.extend(Dataset::read(&path)?.questions);
    }
    // Windows that do not hold their gold span have neither candidates nor a positive.
    let gold_windows = windows(&questions, &tokenizer, &recipe.gold_windows(), Purpose::Train)?;
    cli::say(format!(
        "{} training questions, {} windows with their gold span",
        questions.len(),
        gold_windows.len()
    ))?;
    let method = Method {
        sets: recipe.evaluation_files(&made)?,
        recipe: &recipe,
        machine: &machine,
        tokenizer: &tokenizer,
        questions: &questions,
        windows: &gold_windows,
    };
    let (mut before, mut results) = (Vec::new(), Vec::new());
    for &seed in &recipe.seeds {
        let place = folder.join(format!("seed-{seed}"));
        let first = place.join("stage-one");
        let reader = once(&first, &["train"], || method.stage_one(seed, &first))?;
        before.push((seed, reader));
        for name in &recipe.run_arms {
            let arm = recipe.arms.get(name).context("arms")?;
            let own = place.join(name);
            let result =
                once(&own, &["train"], || method.stage_two(seed, name, arm, &first, &own))?;
            results.push((seed, name.clone(), result));
        }
    }
    cli::say(format!("\n{}", report::write(&recipe, folder, &before, &results)?))?;
    cli::say(format!(
        "Everything is in {}; open matrix/<arm>/<set>/matrix.html there.",
        folder.display()
    ))?;
    Ok(())
}

/// What all models of a run share.
struct Method<'a> {
    recipe: &'a Recipe,
    machine: &'a Machine,
    tokenizer: &'a Tokenizer,
    questions: &'a [Question],
    /// Of the questions, those that hold their gold span.
    windows: &'a [Window],
    /// Evaluation files by set.
    sets: BTreeMap<String, Vec<QuestionFile>>,
}

impl Method<'_> {
    /// The reader: Eq. 3 alone.
    fn stage_one(&self, seed: u64, place: &Path) -> Result<ModelResult> {
        let recipe = self.recipe;
        let model = self.load(&recipe.model.path, seed)?;
        let data = QaData {
            questions: self.questions,
            question_entity_spans: None,
            windows: &recipe.windows,
        };
        let mut task = QaTask::new(&model, self.tokenizer, &data, &recipe.qa)?;
        let config = TrainConfig { seed, ..recipe.stage_one.clone() };
        let stage = self.stage("stage one", place);
        let trained = fit(&stage, &config, &model.named_parameters(), &mut task)?;
        let result = ModelResult {
            tokens: trained.tokens,
            final_loss: trained.final_loss,
            seconds: trained.seconds,
            ..ModelResult::default()
        };
        self.finish(&model, place, result)
    }

    /// Hard learning and answer-aware contrast (Eq. 9), or the parts of it that the arm names.
    fn stage_two(
        &self,
        seed: u64,
        name: &str,
        arm: &Arm,
        reader: &Path,
        place: &Path,
    ) -> Result<ModelResult> {
        let recipe = self.recipe;
        let (boundary, wanted) = recipe.boundary(arm);
        let candidates = match arm.terms.hard_learning {
            true => {
                let miner = CandidateMiner {
                    model: &self.load(&reader.join("model"), seed)?,
                    windows: self.windows,
                    batch_size: recipe.evaluation.batch_size,
                };
                let path = reader.join(format!("candidates-{}.safetensors", wanted.count));
                Some(Candidates::load_or_compute(&path, &miner, &wanted)?.0)
            }
            false => None,
        };
        let model = match recipe.start {
            StageTwoStart::Base => self.load(&recipe.model.path, seed)?,
            StageTwoStart::StageOne => self.load(&reader.join("model"), seed)?,
        };
        let mut task = BoundaryTask::new(
            &model,
            self.windows,
            candidates.as_ref(),
            arm.terms,
            &boundary,
            recipe.qa.context_only,
        )?;
        let mut parameters = model.named_parameters();
        parameters.extend(task.parameters());
        let config = recipe.stage_two(seed, !task.parameters().is_empty());
        let trained = fit(&self.stage(name, place), &config, &parameters, &mut task)?;
        let result = ModelResult {
            candidates: candidates.as_ref().map(|all| all.report.clone()),
            weights: task.slot_weights()?,
            tokens: trained.tokens,
            final_loss: trained.final_loss,
            seconds: trained.seconds,
            ..ModelResult::default()
        };
        self.finish(&model, place, result)
    }

    fn load(&self, folder: &Path, seed: u64) -> Result<Model> {
        let options = LoadOptions { segments: self.recipe.model.segments, seed };
        let (model, loaded) = Model::load(folder, &[Head::Span], self.machine.device, options)?;
        check_tokenizer(self.tokenizer, model.config())?;
        if !loaded.missing.is_empty() {
            cli::say(format!("freshly initialised: {}", loaded.missing.join(", ")))?;
        }
        Ok(model)
    }

    fn stage(&self, name: &str, place: &Path) -> Stage {
        Stage::new(name, place.join("train"), self.machine.environment.clone())
    }

    /// Saves the model and asks it every evaluation question.
    fn finish(&self, model: &Model, place: &Path, result: ModelResult) -> Result<ModelResult> {
        let recipe = self.recipe;
        let folder = place.join("model");
        model.save(&folder, Head::Span)?;
        vocabulary::copy(&recipe.model.path, &folder)?;
        let start = Instant::now();
        let evaluation = &recipe.evaluation;
        let predictor = QaPredictor::new(model, self.tokenizer, &recipe.windows)
            .with_decoding(&evaluation.decoding)
            .with_batch_size(evaluation.batch_size);
        let mut scores = BTreeMap::new();
        for (set, files) in &self.sets {
            let out = place.join("predictions").join(set);
            let result = evaluate(&predictor, files, "predictions", &evaluation.top_k, &out)?;
            scores.insert(set.clone(), result);
        }
        let seconds = result.seconds + start.elapsed().as_secs_f64();
        Ok(ModelResult { scores, seconds, ..result })
    }
}
