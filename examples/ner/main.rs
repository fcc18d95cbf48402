//! Zero-shot named entity recognition by the protocol of *XLM-K*: fine-tuned on English, tested on
//! other languages.
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Cell, Experiment};
use tasks::token_classification::{self, EncodedSentences, TokenClassificationTask};
use trainer::TaskError;
use trainer::selection::{BestEpoch, Selection};
use transfer_eval::ner::{Labels, write_ner};
use transfer_eval::{Scores, select_epoch};
use xlmr_model::Segments;

use recipe::{Corpus, Recipe};
use report::{Metrics, Trained};

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let corpus = Corpus::read(&experiment.recipe.data)?;
    experiment.log(corpus.counts());
    let train = |cell: &Cell<'_, Recipe>| fine_tune(cell, &corpus);
    let results = experiment.each(train, |cell, _| test(cell, &corpus))?;
    report::write(experiment, &results)
}

/// Section 4.1: English training; the development sets choose the epoch.
fn fine_tune(cell: &Cell<'_, Recipe>, corpus: &Corpus) -> Result<Trained> {
    let (recipe, labels) = (cell.recipe, Labels::iob2(&cell.recipe.types));
    let start = cell.load(cell.arm, &[token_classification::head(&labels)], Segments::AsSaved)?;
    let (model, parameters) = (&start.model, start.model.named_parameters());
    let train = recipe.encode(&corpus.train, &start.tokenizer)?;
    let dev = recipe.encode(&corpus.dev, &start.tokenizer)?;

    let score = || -> Result<Scores, TaskError> {
        let f1 = |(language, sentences): (&String, &EncodedSentences)| {
            let tagged = sentences.predict(model, &labels, recipe.evaluation_batch_size)?;
            Ok((language.clone(), 100.0 * tagged.score.micro.f1))
        };
        dev.iter().map(f1).collect()
    };
    let selection = Selection {
        rule: format!("{:?}", recipe.selection),
        names: dev.keys().cloned().collect(),
        score: Box::new(score),
        choose: Box::new(|epochs| Ok(select_epoch(epochs, recipe.selection)?)),
    };
    let inputs: Vec<_> = train.into_values().flat_map(|sentences| sentences.inputs).collect();
    let task = TokenClassificationTask::new(model, &inputs)?;
    let mut task = BestEpoch::new(task, &parameters, selection);
    cell.fit("fine-tune", &recipe.fine_tuning, &parameters, &mut task)?;
    let (best, dev) = task.finish()?;

    token_classification::save(&start, &labels, cell.dir("model"))?;
    let (epoch, f1) = (best + 1, list(dev.get(best)));
    experiment::log(format!("{}: epoch {epoch} of {}, dev F1 {f1}", cell.label(), dev.len()));
    Ok(Trained { epoch, dev })
}

/// Table 2: entity-level F1 in every language.
fn test(cell: &Cell<'_, Recipe>, corpus: &Corpus) -> Result<Metrics> {
    let (recipe, labels) = (cell.recipe, Labels::iob2(&cell.recipe.types));
    let heads = [token_classification::head(&labels)];
    let tagger = cell.load(cell.dir("model"), &heads, Segments::AsSaved)?;
    let mut metrics = Metrics::new();
    for (language, sentences) in recipe.encode(&corpus.test, &tagger.tokenizer)? {
        let tagged = sentences.predict(&tagger.model, &labels, recipe.evaluation_batch_size)?;
        write_ner(cell.dir("predictions").join(format!("{language}.conll")), &tagged.sentences)?;
        let all = tagged.score.micro;
        let scores = [("f1", all.f1), ("precision", all.precision), ("recall", all.recall)];
        for (metric, share) in scores {
            let by_language = metrics.entry(metric.to_owned()).or_default();
            by_language.insert(language.clone(), 100.0 * share);
        }
    }
    experiment::log(format!("{}: test F1 {}", cell.label(), list(metrics.get("f1"))));
    Ok(metrics)
}

/// Scores on one line.
fn list(scores: Option<&Scores>) -> String {
    let text = |(language, score): (&String, &f64)| format!("{language} {score:.1}");
    scores.into_iter().flatten().map(text).collect::<Vec<_>>().join(", ")
}
