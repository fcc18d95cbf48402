//! Reproduces *Bridging the Language Gap* (Duan et al. 2021), from triples to Table I.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, ShardPaths, Trial};
use kg_triples::KnowledgeGraph;
use recipe::Recipe;
use report::Trained;
use tasks::label_retrieval::{label_retrieval, mapped_label_retrieval};
use tasks::masked_lm::{EntityCompletionTask, SelectedSequences, SequenceFiles};
use tasks::question_answering::{FileScore, QaTask, TrainingQuestions, evaluate};
use tasks::word_embeddings;
use trainer::WeightedSum;
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    // Section III-A: triples with labels in every language, and the sequences made from them. All
    // models use the same triples.
    let graph = KnowledgeGraph::read_dir(&recipe.data.kg)?;
    experiment.log(format!("triples: {}", graph.len()));
    let sequences = data::open_sequences(experiment)?;
    let questions = data::read_questions(recipe)?;
    let results = experiment
        .each(|trial| train(trial, &graph, &sequences, &questions), |trial, _| answer(trial))?;
    report::write(experiment, &results)
}

/// Injects triples into the base model and fine-tunes it.
fn train(
    trial: &Trial<Recipe>,
    graph: &KnowledgeGraph,
    sequences: &[(&ShardPaths, SequenceFiles)],
    questions: &TrainingQuestions,
) -> Result<Trained> {
    let (recipe, arm, options) = (trial.recipe, trial.arm, &trial.recipe.model);
    let mut base =
        trial.load_model(&options.path, &[Head::MaskedLm, Head::Span], options.segments)?;
    if trial.recipe.windows.segment_ids {
        base.enable_pair_segments()?;
    }
    let (model, tokenizer) = (&base.model, &base.tokenizer);
    let mean_norm = word_embeddings::mean_norm(model)?;

    // Section III-B: entity completion (Eq. 2) on monolingual, mixed and concatenated triples.
    if arm.is_injected() {
        let (sequences, config) = data::prepare_injection(trial, sequences)?;
        let completion = |files: &SelectedSequences| {
            EntityCompletionTask::from_files(model, files, &recipe.injection_loss)
        };
        let mut completion = sequences.as_ref().map(completion).transpose()?;
        let parameters = model.named_parameters();
        if arm.text.is_set() {
            // Eq. 1, which the paper does not use here: text is intended to preserve what the
            // encoder learned before.
            let text = data::text_task(trial, &base)?;
            let mut tasks = WeightedSum::new().with("text", recipe.text.weight, text);
            if let Some(task) = completion {
                tasks = tasks.with("facts", 1.0, task);
            }
            trial.fit("inject", &config, &parameters, tasks)?;
        } else if let Some(task) = &mut completion {
            trial.fit("inject", &config, &parameters, task)?;
        }
        if recipe.keep_injected {
            base.save(trial.dir("injected"), Head::MaskedLm)?;
        }
    }

    // Label retrieval before fine-tuning. The paper does not evaluate label retrieval.
    let injected_tokens = trial.tokens();
    let languages = recipe.languages_of(trial);
    let retrieval = label_retrieval(model, tokenizer, graph, &languages)?;
    let mapped = mapped_label_retrieval(model, tokenizer, graph, &languages, &recipe.label_map)?;

    // Section III-C: extractive question answering, in English only.
    if recipe.center_word_embeddings {
        word_embeddings::center_and_scale(model, mean_norm)?;
    }
    let data = questions.data(&recipe.windows);
    let mut task = QaTask::new(model, tokenizer, &data, &recipe.qa)?;
    trial.fit("fine-tune", &recipe.fine_tuning, &model.named_parameters(), &mut task)?;
    trial.save(&mut base, Head::Span, trial.dir("model"))?;
    Ok(Trained { retrieval, mapped, injected_tokens })
}

/// Section IV: answers questions in every language about English contexts (G-XLT), and scores the
/// answers by MLQA's rules.
fn answer(trial: &Trial<Recipe>) -> Result<Vec<FileScore>> {
    let evaluation = &trial.recipe.evaluation;
    let trained = trial.load(trial.dir("model"), &[Head::Span], trial.recipe.model.segments)?;
    let predictor = evaluation.predictor(&trained.model, &trained.tokenizer, &trial.recipe.windows);
    let files = evaluation.files(&trial.recipe.data.evaluation, &trial.recipe.languages_of(trial));
    Ok(evaluate(&predictor, &files, &evaluation.split, &[], &trial.dir("predictions"))?)
}
