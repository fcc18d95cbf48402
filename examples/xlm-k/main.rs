//! *XLM-K: Improving Cross-Lingual Language Model Pre-training with Multilingual Knowledge*, from mentions and triples to its
//! probes.
mod recipe;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use examples::folder::{once, open};
use examples::machine::Machine;
use examples::{cli, vocabulary};
use kg_triples::knowledge::{EntailmentDataset, MentionDataset, MentionExample};
use tasks::knowledge::{FrequencyBaseline, KnowledgeProbe, KnowledgeTask, LanguageDomains};
use tokenizers::Tokenizer;
use trainer::{Stage, fit};
use xlmr_model::{Head, KnowledgeConfig, KnowledgeHeads, LoadOptions, Model, check_tokenizer};

use recipe::{Arm, Recipe};
use report::{ArmResult, Score};

/// Goes on training XLM-R with masked entity prediction and object entailment beside masked language modelling, and asks it
/// for entities and objects across languages.
///
/// An interrupted run goes on where it was when it is started again with the same --out.
#[derive(Parser)]
#[command(after_help = "Examples:
  xlm-k examples/xlm-k/small.toml --out runs/xlm-k --seeds 3
  xlm-k examples/xlm-k/small.toml --out runs/xlm-k-ablations --ablate table4
  xlm-k examples/xlm-k/recipe.toml --model xlm-roberta-base --set mentions.pages=pages --set facts.kg=kg \\
      --set pretraining.steps=100000 --out runs/paper")]
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
    /// Runs the arms of an ablation in place of `run_arms`: those named `table4-*`, `fig4-*` or `language-*`.
    #[arg(long)]
    ablate: Option<Ablation>,
    /// The run folder.
    #[arg(long, default_value = "runs/xlm-k")]
    out: PathBuf,
    /// Goes on with the run in this folder; short for --out with the same recipe.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Ablation {
    /// Each task alone, no multilingual descriptions, no contrast, no knowledge task
    Table4,
    /// Sizes of the queue
    Fig4,
    /// What the language of a mention gives away
    Language,
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
    if let Some(ablation) = args.ablate {
        let prefix = match ablation {
            Ablation::Table4 => "table4-",
            Ablation::Fig4 => "fig4-",
            Ablation::Language => "language-",
        };
        let own = recipe.arms.keys().filter(|name| name.starts_with(prefix));
        recipe.run_arms = own.cloned().collect();
        if recipe.run_arms.is_empty() {
            bail!("{}: no arm is called {prefix}…", args.recipe.display());
        }
    }
    let folder = args.resume.as_ref().unwrap_or(&args.out);
    let machine = open(&recipe, folder)?;
    let tokenizer = vocabulary::read(&recipe.model.path.join("tokenizer.json"))?;

    // 3.1: entities with mentions and descriptions in many languages, and the triples between them.
    let across = MentionDataset::load(&recipe.mentions, true, &tokenizer)?;
    let within = if recipe
        .run_arms
        .iter()
        .filter_map(|name| recipe.arms.get(name))
        .all(|arm| arm.multilingual)
    {
        None
    } else {
        Some(MentionDataset::load(&recipe.mentions, false, &tokenizer)?)
    };
    let facts = EntailmentDataset::load(&recipe.facts, &tokenizer)?;
    cli::say(format!("{}\n{}", across.report, facts.report()))?;

    let method = Method {
        recipe: &recipe,
        machine: &machine,
        tokenizer: &tokenizer,
        across: &across,
        within: within.as_ref(),
        facts: &facts,
        folder,
    };
    let mut results = Vec::new();
    for &seed in &recipe.seeds {
        for name in &recipe.run_arms {
            let arm = recipe.arms.get(name).context("arms")?;
            let place = folder.join(format!("seed-{seed}")).join(name);
            let result = once(&place, &["pretrain"], || method.train(seed, name, arm, &place))?;
            results.push((seed, name.clone(), result));
        }
    }
    let guesses = method.guesses()?;
    cli::say(format!("\n{}", report::write(&recipe, folder, &guesses, &results)?))?;
    cli::say(format!("Everything is in {}.", folder.display()))?;
    Ok(())
}

/// What all models of a run share.
struct Method<'a> {
    recipe: &'a Recipe,
    machine: &'a Machine,
    tokenizer: &'a Tokenizer,
    across: &'a MentionDataset,
    within: Option<&'a MentionDataset>,
    facts: &'a EntailmentDataset,
    folder: &'a Path,
}

impl Method<'_> {
    /// What counting the training examples is worth at XEP.
    fn guesses(&self) -> Result<Vec<(&'static str, ArmResult)>> {
        let candidates = &self.recipe.probe;
        let score =
            |queries: &[MentionExample], baseline: FrequencyBaseline| -> Result<Option<Score>> {
                if queries.is_empty() {
                    return Ok(None);
                }
                Ok(Some(Score::from(&baseline.score(self.across, queries, candidates)?)))
            };
        let guess = |guess| -> Result<ArmResult> {
            Ok(ArmResult {
                xep_seen: score(&self.across.test_seen_pairs, guess)?,
                xep: score(&self.across.test_unseen_pairs, guess)?,
                ..ArmResult::default()
            })
        };
        Ok(vec![
            ("Guess: the entity most trained in the language", guess(FrequencyBaseline::Entity)?),
            (
                "Guess: the same with the description's language",
                guess(FrequencyBaseline::LanguagePair)?,
            ),
        ])
    }

    /// Trains and probes one model.
    fn train(&self, seed: u64, name: &str, arm: &Arm, place: &Path) -> Result<ArmResult> {
        let recipe = self.recipe;
        let options = LoadOptions { seed, ..LoadOptions::default() };
        let device = self.machine.device;
        let (model, loaded) = Model::load(&recipe.model.path, &[Head::MaskedLm], device, options)?;
        let specials = check_tokenizer(self.tokenizer, model.config())?;
        if !loaded.missing.is_empty() {
            cli::say(format!("freshly initialised: {}", loaded.missing.join(", ")))?;
        }
        let config = recipe.task(arm);
        let heads = KnowledgeConfig {
            batch_norm_domains: config
                .losses
                .norm_by_language
                .then(|| i64::try_from(LanguageDomains::new(self.across).count()))
                .transpose()?,
            ..recipe.heads.clone()
        };
        let heads =
            KnowledgeHeads::new(model.config(), &heads, self.facts.relations(), device, seed)?;

        // 3.2 to 3.4: masked entity prediction, object entailment, and their sum with masked language modelling.
        let mentions = if arm.multilingual { self.across } else { self.within.context("arm")? };
        let mut task = KnowledgeTask::new(&model, specials, &heads, config.clone())?
            .with_mentions(mentions)?
            .with_triples(self.facts, arm.multilingual)?;
        let mut parameters = model.named_parameters();
        parameters.extend(heads.named_parameters());
        let stage = Stage::new(name, place.join("pretrain"), self.machine.environment.clone());
        let trained = fit(&stage, &recipe.pretraining(seed), &parameters, &mut task)?;
        let folder = place.join("model");
        model.save(&folder, Head::MaskedLm)?;
        heads.save(&folder)?;
        vocabulary::copy(&recipe.model.path, &folder)?;

        // Appendix B: XEP and XOR. What was not trained has no heads to be asked with.
        let start = Instant::now();
        let probe = KnowledgeProbe::new(&model, specials, &heads, &config, &recipe.probe)?;
        let list = |name: &str| self.folder.join(format!("candidates-{name}.json"));
        let entities = |queries, name| -> Result<Option<Score>> {
            let queries: &[_] = queries;
            if queries.is_empty() {
                return Ok(None);
            }
            let score = probe.entities(self.across, queries, &list(name))?;
            Ok(Some(Score::from(&score)))
        };
        Ok(ArmResult {
            xep_seen: entities(&self.across.test_seen_pairs, "xep-seen")?,
            xep: entities(&self.across.test_unseen_pairs, "xep")?,
            xep_new: entities(&self.across.test_unseen_entities, "xep-new")?,
            xor: Some(Score::from(&probe.objects(self.facts, &list("xor"))?)),
            tokens: trained.tokens,
            final_loss: trained.final_loss,
            seconds: trained.seconds + start.elapsed().as_secs_f64(),
        })
    }
}
