//! *XLM-K: Improving Cross-Lingual Language Model Pre-training with Multilingual Knowledge* (Jiang
//! et al. 2022), from mentions and triples to its probes.
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result};
use experiment::{Cell, Experiment};
use kg_triples::knowledge::{EntailmentDataset, MentionDataset};
use tasks::knowledge::{FrequencyBaseline, KnowledgeProbe, KnowledgeTask, ProbeScores};
use xlmr_model::{Head, KnowledgeHeads, Segments, read_tokenizer};

use recipe::Recipe;

fn main() -> ExitCode {
    experiment::main(run)
}

/// Section 3.1: entities with mentions and descriptions in many languages, and the triples between
/// them.
struct Data {
    mentions: MentionDataset,
    /// Descriptions in the passages' languages; only if an arm trains on them.
    within_language: Option<MentionDataset>,
    triples: EntailmentDataset,
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    let tokenizer = read_tokenizer(&recipe.model.path)?;
    let mentions = |multilingual| MentionDataset::load(&recipe.mentions, multilingual, &tokenizer);
    let mut arms = experiment.arms().iter().filter_map(|name| recipe.arms.get(name));
    let data = Data {
        mentions: mentions(true)?,
        within_language: arms
            .any(|arm| !arm.multilingual())
            .then(|| mentions(false))
            .transpose()?,
        triples: EntailmentDataset::load(
            &recipe.triples.or_pages(&recipe.mentions.pages),
            &tokenizer,
        )?,
    };
    experiment.log(format!("{}\n{}", data.mentions.report, data.triples.report()));
    let results = experiment.each(|cell| pretrain(cell, &data), |cell, _| probe(cell, &data))?;

    // What counting the training examples is worth at XEP.
    let count = |baseline: FrequencyBaseline| baseline.all(&data.mentions, &recipe.probe);
    let baselines = [
        ("Guess: the entity most trained in the language", count(FrequencyBaseline::Entity)?),
        (
            "Guess: the same with the description's language",
            count(FrequencyBaseline::LanguagePair)?,
        ),
    ];
    report::write(experiment, &baselines, &results)
}

/// Trains an arm; the loss at the end.
fn pretrain(cell: &Cell<'_, Recipe>, data: &Data) -> Result<f64> {
    let (recipe, arm, config) = (cell.recipe, cell.arm, cell.recipe.task(cell.arm));
    let base = cell.load(&recipe.model.path, &[Head::MaskedLm], recipe.model.segments)?;
    let (heads, relations) =
        (config.heads(&recipe.heads, &data.mentions), data.triples.relations());
    let heads =
        KnowledgeHeads::new(base.model.config(), &heads, relations, cell.device(), cell.seed)?;

    // 3.2 to 3.4, Eq. 6: masked entity prediction and object entailment beside masked language
    // modelling, each with its weight in this arm.
    let within = || data.within_language.as_ref().context("mentions within a language");
    let mentions = if arm.multilingual() { &data.mentions } else { within()? };
    let mut task = KnowledgeTask::new(&base.model, base.specials, &heads, config)?
        .with_mentions(mentions)?
        .with_triples(&data.triples, arm.multilingual())?;
    let mut parameters = base.model.named_parameters();
    parameters.extend(heads.named_parameters());
    let fitted = cell.fit("pretrain", &recipe.pretraining(), &parameters, &mut task)?;
    base.save(cell.dir("model"), Head::MaskedLm)?;
    heads.save(cell.dir("model"))?;
    Ok(fitted.final_loss)
}

/// Appendix B: XEP and XOR. Heads that were not trained are not asked.
fn probe(cell: &Cell<'_, Recipe>, data: &Data) -> Result<ProbeScores> {
    let (recipe, folder, trained_with) =
        (cell.recipe, cell.dir("model"), cell.recipe.task(cell.arm));
    let base = cell.load(&folder, &[], Segments::AsSaved)?;
    let heads = KnowledgeHeads::load(&folder, base.model.config(), cell.device())?;
    let probe =
        KnowledgeProbe::new(&base.model, base.specials, &heads, &trained_with, &recipe.probe)?;
    Ok(probe.all(&data.mentions, &data.triples, cell.run_dir(""))?)
}
