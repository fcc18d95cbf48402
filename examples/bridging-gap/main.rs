//! *Bridging the Language Gap* (Duan et al. 2021), from triples to its Table I.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Cell, Experiment, ShardPaths};
use kg_triples::KnowledgeGraph;
use recipe::Recipe;
use report::Trained;
use tasks::label_retrieval::{label_retrieval, mapped_label_retrieval};
use tasks::masked_lm::{EntityCompletionTask, SequenceFiles};
use tasks::question_answering::{FileScore, QaTask, TrainingQuestions, evaluate};
use tasks::word_embeddings;
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    // III-A: triples with labels in every language, the same for all models, and their sequences.
    let graph = KnowledgeGraph::read_dir(&recipe.data.kg)?;
    experiment.log(format!("triples: {}", graph.len()));
    let sequences = data::sequences(experiment)?;
    let questions = data::questions(recipe)?;
    let results = experiment
        .each(|cell| train(cell, &graph, &sequences, &questions), |cell, _| answer(cell))?;
    report::write(experiment, &results)
}

/// Injects triples into the base model and fine-tunes it.
fn train(
    cell: &Cell<Recipe>,
    graph: &KnowledgeGraph,
    sequences: &[(&ShardPaths, SequenceFiles)],
    questions: &TrainingQuestions,
) -> Result<Trained> {
    let (recipe, arm, start) = (cell.recipe, cell.arm, &cell.recipe.model);
    let base = cell.load(&start.path, &[Head::MaskedLm, Head::Span], start.segments)?;
    let (model, tokenizer) = (&base.model, &base.tokenizer);
    let norm = word_embeddings::mean_norm(model)?;

    // III-B: entity completion (Eq. 2) on monolingual, mixed and concatenated triples.
    if !arm.kinds.is_empty() {
        let (sequences, config) = data::injection(cell, sequences)?;
        let mut task = EntityCompletionTask::of(model, &sequences, &recipe.injection_loss)?;
        cell.fit("inject", &config, &model.named_parameters(), &mut task)?;
        if recipe.keep_injected {
            base.save(cell.dir("injected"), Head::MaskedLm)?;
        }
    }

    // Beside the paper: which labels lie together before anything is fine-tuned.
    let injected_tokens = cell.tokens();
    let languages = recipe.languages_of(cell);
    let retrieval = label_retrieval(model, tokenizer, graph, &languages)?;
    let mapped = mapped_label_retrieval(model, tokenizer, graph, &languages, &recipe.label_map)?;

    // III-C: extractive question answering, in English alone.
    if recipe.center_word_embeddings {
        word_embeddings::center(model, norm)?;
    }
    let data = questions.data(&recipe.windows);
    let mut task = QaTask::new(model, tokenizer, &data, &recipe.qa)?;
    cell.fit("fine-tune", &recipe.fine_tuning, &model.named_parameters(), &mut task)?;
    base.save(cell.dir("model"), Head::Span)?;
    Ok(Trained { retrieval, mapped, injected_tokens })
}

/// IV: English contexts, questions in every language (G-XLT), scored as MLQA is.
fn answer(cell: &Cell<Recipe>) -> Result<Vec<FileScore>> {
    let evaluation = &cell.recipe.evaluation;
    let trained = cell.load(cell.dir("model"), &[Head::Span], cell.recipe.model.segments)?;
    let predictor = evaluation.predictor(&trained.model, &trained.tokenizer, &cell.recipe.windows);
    let files = evaluation.files(&cell.recipe.data.evaluation, &cell.recipe.languages_of(cell));
    Ok(evaluate(&predictor, &files, &evaluation.split, &[], &cell.dir("predictions"))?)
}
