//! *Bridging the Language Gap* (Duan et al. 2021), from triples to its Table I.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use data::Questions;
use experiment::{Cell, Experiment};
use kg_triples::{KnowledgeGraph, sample};
use recipe::Recipe;
use report::Trained;
use tasks::label_retrieval::label_retrieval;
use tasks::masked_lm::EntityCompletionTask;
use tasks::question_answering::{FileScore, QaData, QaPredictor, QaTask, evaluate};
use tasks::word_embeddings;
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    // III-A: triples with labels in every language, the same for all models.
    let graph = KnowledgeGraph::read_dir(&recipe.data.kg)?;
    let (graph, sampled) =
        sample(&graph, &recipe.sampling.clone().or_languages(&recipe.languages))?;
    experiment.log(format!("{} facts in {} languages", sampled.kept, recipe.languages.len()));
    let questions = data::questions(recipe, &graph, &experiment.dir("questions"))?;
    let results = experiment
        .each(|cell| train(cell, &graph, &questions), |cell, _| answer(cell, &questions))?;
    report::write(experiment, &results)
}

/// Injects triples into the base model and fine-tunes it.
fn train(cell: &Cell<Recipe>, graph: &KnowledgeGraph, questions: &Questions) -> Result<Trained> {
    let (recipe, arm) = (cell.recipe, cell.arm);
    let segments = recipe.model.segments;
    let base = cell.load(&recipe.model.path, &[Head::MaskedLm, Head::Span], segments)?;
    let (model, tokenizer) = (&base.model, &base.tokenizer);
    let norm = word_embeddings::mean_norm(model)?;

    // III-B: entity completion (Eq. 2) on monolingual, mixed and concatenated triples.
    if !arm.kinds.is_empty() {
        let (sequences, config) = data::injection(cell, graph, tokenizer)?;
        let mut task = EntityCompletionTask::new(model, &sequences, &recipe.injection_loss)?;
        cell.fit("inject", &config, &model.named_parameters(), &mut task)?;
    }
    let injected_tokens = cell.tokens();
    let languages = recipe.languages_of(cell);
    let retrieval = label_retrieval(model, tokenizer, graph, &languages)?;

    // III-C: extractive question answering, in English alone.
    if recipe.center_word_embeddings {
        word_embeddings::center(model, norm)?;
    }
    let data = QaData {
        questions: &questions.train.questions,
        question_entity_spans: Some(&questions.train.entity_spans),
        windows: &recipe.windows,
    };
    let mut task = QaTask::new(model, tokenizer, &data, &recipe.qa)?;
    cell.fit("fine-tune", &recipe.fine_tuning, &model.named_parameters(), &mut task)?;
    base.save(cell.dir("model"), Head::Span)?;
    Ok(Trained { retrieval, injected_tokens })
}

/// IV: English contexts, questions in every language (G-XLT), scored as MLQA is.
fn answer(cell: &Cell<Recipe>, questions: &Questions) -> Result<Vec<FileScore>> {
    let evaluation = &cell.recipe.evaluation;
    let trained = cell.load(cell.dir("model"), &[Head::Span], cell.recipe.model.segments)?;
    let predictor = QaPredictor::new(&trained.model, &trained.tokenizer, &cell.recipe.windows)
        .with_decoding(&evaluation.decoding)
        .with_batch_size(evaluation.batch_size);
    let languages = cell.recipe.languages_of(cell);
    let files = evaluation.files(&questions.evaluation, &languages);
    Ok(evaluate(&predictor, &files, &evaluation.split, &[], &cell.dir("predictions"))?)
}
