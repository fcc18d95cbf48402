//! *Bridging the Language Gap: Knowledge Injected Multilingual Question Answering*, from triples to its Table I.
mod knowledge;
mod questions;
mod recipe;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use examples::cli;
use examples::evaluation::{Reader, evaluate};
use examples::reading::{ReadingData, ReadingTask, mean_norm, recentre};
use examples::retrieval::label_retrieval;
use examples::vocabulary;
use kg_triples::{KnowledgeGraph, sample};
use tasks::masked_lm::EntityCompletionTask;
use tokenizers::Tokenizer;
use trainer::{TrainConfig, fit};
use xlmr_model::{Head, LoadOptions, Model, check_tokenizer};

use knowledge::Knowledge;
use questions::{QuestionData, question_data};
use recipe::{Arm, Group, Recipe};
use run::{ModelResult, Run, Scored};

/// Injects knowledge triples into XLM-R, fine-tunes it on English questions and tests it on questions in other languages.
///
/// An interrupted run goes on where it was when it is started again with the same --out.
#[derive(Parser)]
#[command(after_help = "Examples:
  bridging-gap examples/bridging-gap/small.toml --out runs/demo --seeds 3
  bridging-gap examples/bridging-gap/recipe.toml --model xlm-roberta-base --set data.kg=kg \\
      --set data.train=train-v1.1.json --set data.evaluation=MLQA_V1/test --out runs/paper")]
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
    #[arg(long, default_value = "runs/bridging-gap")]
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
    let run = Run::open(recipe, args.resume.as_ref().unwrap_or(&args.out))?;
    let recipe = &run.recipe;

    // III-A: facts that have labels in every language, the same for all models.
    let graph = KnowledgeGraph::read_dir(&recipe.data.kg)?;
    let (facts, sampled) = sample(&graph, &recipe.sampling())?;
    cli::say(format!("{} facts in {} languages", sampled.kept, recipe.languages.len()))?;
    let tokenizer = vocabulary::read(&recipe.model.path.join("tokenizer.json"))?;
    let data = question_data(&run, &facts)?;

    let mut results = Vec::new();
    for &seed in &recipe.seeds {
        for name in &recipe.run_arms {
            let arm = recipe.arms.get(name).context("arms")?;
            for group in recipe.groups(arm) {
                let place = run.place(seed, name, &group);
                let method =
                    Method { run: &run, facts: &facts, tokenizer: &tokenizer, data: &data };
                let result = run.once(&place, || method.train(seed, name, arm, &group, &place))?;
                results.push((seed, name.clone(), result));
            }
        }
    }
    cli::say(format!("\n{}", run.report(&results)?))?;
    cli::say(format!(
        "Everything is in {}; open matrix/<arm>/matrix.html there.",
        run.folder.display()
    ))?;
    Ok(())
}

/// What all models of a run share.
struct Method<'a> {
    run: &'a Run,
    facts: &'a KnowledgeGraph,
    tokenizer: &'a Tokenizer,
    data: &'a QuestionData,
}

impl Method<'_> {
    /// Trains and evaluates one model.
    fn train(
        &self,
        seed: u64,
        name: &str,
        arm: &Arm,
        group: &Group,
        place: &Path,
    ) -> Result<ModelResult> {
        let recipe = &self.run.recipe;
        let options = LoadOptions { segments: recipe.model.segments, seed };
        let heads = [Head::MaskedLm, Head::Span];
        let (model, loaded) =
            Model::load(&recipe.model.path, &heads, self.run.machine.device, options)?;
        check_tokenizer(self.tokenizer, model.config())?;
        if !loaded.missing.is_empty() {
            cli::say(format!("freshly initialised: {}", loaded.missing.join(", ")))?;
        }
        let norm = mean_norm(&model)?;
        let mut seconds = 0.0;

        // III-B: mixed and masked triples, entity completion.
        let mut tokens = 0;
        if !arm.kinds.is_empty() {
            let knowledge = Knowledge { recipe, facts: self.facts, tokenizer: self.tokenizer };
            let (sequences, built) = knowledge.sequences(arm, group)?;
            let config = knowledge.injection(seed, arm, group, &built)?;
            let loss = &recipe.injection_loss;
            let mut task = EntityCompletionTask::new(&model, &sequences, loss)?;
            let stage = self.run.stage(name, "inject", place);
            let report = fit(&stage, &config, &model.named_parameters(), &mut task)?;
            tokens = report.tokens;
            seconds += report.seconds;
        }
        let retrieval = label_retrieval(&model, self.tokenizer, self.facts, &group.languages)?;

        // III-C: extractive question answering, in English alone.
        if recipe.reading.recentre_embeddings {
            recentre(&model, norm)?;
        }
        let data = ReadingData {
            questions: &self.data.train.questions,
            marks: &self.data.marks,
            windows: &recipe.windows,
        };
        let mut task =
            ReadingTask::new(&model, self.tokenizer, &data, &recipe.reading, &recipe.span_loss)?;
        let config = TrainConfig { seed, ..recipe.fine_tuning.clone() };
        let stage = self.run.stage(name, "fine-tune", place);
        seconds += fit(&stage, &config, &model.named_parameters(), &mut task)?.seconds;
        let folder = place.join("model");
        model.save(&folder, Head::Span)?;
        vocabulary::copy(&recipe.model.path, &folder)?;

        // IV: English contexts, questions in every language.
        let start = Instant::now();
        let reader = Reader { model: &model, tokenizer: self.tokenizer, windows: &recipe.windows };
        let matrix = evaluate(
            &reader,
            &recipe.evaluation,
            &self.data.evaluation,
            &group.languages,
            &place.join("predictions"),
            name,
        )?;
        let scores = matrix
            .cells()
            .map(|(context, question, cell)| Scored {
                context,
                question,
                f1: cell.f1,
                em: cell.em,
                questions: cell.questions,
            })
            .collect();
        seconds += start.elapsed().as_secs_f64();
        Ok(ModelResult { scores, retrieval, tokens, seconds })
    }
}
