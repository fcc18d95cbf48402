//! Output folders of other programs: lm-evaluation-harness and transformers' `run_qa`.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlqa_eval::{Error, Language};
use serde_json::Value as Json;

use crate::about::json;
use crate::input::{AnswerFile, Pair, RunFiles, names, of_file};
use crate::samples::{Samples, SamplesName};
use crate::{QuestionFiles, ReportRun};

/// The supported content of a folder, for the error about a folder without any.
pub(crate) const LOOKED_FOR: &str = "predictions: neither run.json, nor predictions named as MLQA's files \
    (test-context-en-question-de.json) or in a questions.json, nor samples_<task>_<time>.jsonl of \
    lm-evaluation-harness, nor eval_predictions.json or predict_predictions.json of run_qa";

/// Prefixes of `run_qa`'s file names: for questions with gold answers, for questions without, and
/// for the latter in older versions.
const PARTS: [&str; 3] = ["eval", "predict", "test"];

/// Finds the runs in another program's folder; empty if it is of neither program.
pub(crate) fn of_folder(folder: &Path, files: &QuestionFiles) -> Result<Vec<ReportRun>, Error> {
    let here = samples_here(folder)?;
    if !here.is_empty() {
        return Ok(vec![of_samples_in(folder, here, files)?]);
    }
    if let Some(run) = of_run_qa(folder, files)? {
        return Ok(vec![run]);
    }
    // The harness's output path has a folder for each model.
    let mut runs = Vec::new();
    for name in names(folder)? {
        let below = folder.join(name);
        let here = if below.is_dir() { samples_here(&below)? } else { Vec::new() };
        if !here.is_empty() {
            runs.push(of_samples_in(&below, here, files)?);
        }
    }
    Ok(runs)
}

/// The files of samples in a folder; files of one task are sorted by time.
fn samples_here(folder: &Path) -> Result<Vec<(SamplesName, PathBuf)>, Error> {
    let paths = names(folder)?.into_iter().map(|name| folder.join(name));
    let named = paths.filter(|path| path.is_file());
    let mut found: Vec<_> =
        named.filter_map(|path| Some((SamplesName::of(&path)?, path))).collect();
    found.sort_by(|(a, _), (b, _)| (&a.task, &a.time).cmp(&(&b.task, &b.time)));
    Ok(found)
}

/// The run of a model's folder, with the newest file of each task.
fn of_samples_in(
    folder: &Path,
    here: Vec<(SamplesName, PathBuf)>,
    files: &QuestionFiles,
) -> Result<ReportRun, Error> {
    let (mut notes, mut answers, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut newest = SamplesName { task: String::new(), time: String::new() };
    for of_task in here.chunk_by(|(a, _), (b, _)| a.task == b.task) {
        let Some((name, path)) = of_task.last() else { continue };
        if of_task.len() > 1 {
            notes.push(format!(
                "{}: using the newest of {} sample files, {}",
                name.task,
                of_task.len(),
                name.time
            ));
        }
        match Samples::read(path)? {
            Some(samples) => answers.push(answer_file(samples, Some(name), files, &mut notes)?),
            None => others.push((name.task.as_str(), path)),
        }
        if name.time > newest.time {
            newest = name.clone();
        }
    }
    match (answers.is_empty(), others.first()) {
        (true, Some((_, path))) => return Err(no_reading_task(path)),
        (false, Some(_)) => {
            let tasks: Vec<&str> = others.iter().map(|(task, _)| *task).collect();
            notes.push(format!("skipped tasks without a text to read: {}", tasks.join(", ")));
        }
        _ => {}
    }
    Ok(run(folder, folder, Some(&newest), answers, notes))
}

/// The run of a file of samples.
pub(crate) fn of_samples_file(path: &Path, files: &QuestionFiles) -> Result<ReportRun, Error> {
    let name = SamplesName::of(path);
    let Some(samples) = Samples::read(path)? else { return Err(no_reading_task(path)) };
    let mut notes = Vec::new();
    let answers = vec![answer_file(samples, name.as_ref(), files, &mut notes)?];
    Ok(run(path.parent().unwrap_or(path), path, name.as_ref(), answers, notes))
}

fn no_reading_task(path: &Path) -> Error {
    let message = "line 1: the task is not question answering over a text: `doc` has no `context`, \
                   `question` or `answers`";
    Error::Content { path: path.to_path_buf(), message: message.into() }
}

fn answer_file(
    samples: Samples,
    name: Option<&SamplesName>,
    files: &QuestionFiles,
    notes: &mut Vec<String>,
) -> Result<AnswerFile, Error> {
    let path = samples.path.clone();
    if !samples.other_filters.is_empty() {
        let others: Vec<&str> = samples.other_filters.iter().map(String::as_str).collect();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let others = others.join(", ");
        notes.push(format!("{file}: responses of the first filter; skipped filters: {others}"));
    }
    let given = || files.language.map(|language| (language, language));
    let Some((context, question)) = name.and_then(SamplesName::languages).or_else(given) else {
        let message = "cannot determine the language of the answers: expected a file name \
                       samples_mlqa_<context>_<question>_<time>.jsonl or \
                       samples_xquad_<language>_<time>.jsonl; give --language LANG";
        return Err(Error::Content { path, message: message.into() });
    };
    let set = name.map_or("", SamplesName::set).to_owned();
    let questions = questions(files, &set, context, question).unwrap_or_else(|| path.clone());
    let squad_rules = set == "xquad";
    let pair = Pair { set, context: context.into(), question: question.into() };
    let (predictions, samples) = (path, Some(Arc::new(samples)));
    Ok(AnswerFile { pair, predictions, n_best: None, questions, squad_rules, samples })
}

/// The given question file for two languages; `None` if the questions of the samples are used.
fn questions(
    files: &QuestionFiles,
    set: &str,
    context: Language,
    question: Language,
) -> Option<PathBuf> {
    let data = files.data.as_ref()?;
    if data.is_dir() {
        return files.in_folder(set, context, question);
    }
    files.languages().is_none_or(|known| known == (context, question)).then(|| data.clone())
}

fn run(
    folder: &Path,
    named: &Path,
    time: Option<&SamplesName>,
    answers: Vec<AnswerFile>,
    notes: Vec<String>,
) -> ReportRun {
    let results = time.map(|name| json(&folder.join(format!("results_{}.json", name.time))));
    let keys = results.map(|results| settings(&results)).unwrap_or_default();
    let model = keys.get("model").and_then(Json::as_str);
    let name = model.map_or_else(|| file_stem(named), str::to_owned);
    let about = RunFiles { seeds: vec![name.clone()], keys, notes, ..RunFiles::default() };
    ReportRun { name, seeds: vec![answers], about, ..ReportRun::default() }
}

fn file_stem(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The evaluation settings in `results_<time>.json`. The model's arguments are excluded, because
/// they may contain API keys.
fn settings(results: &Json) -> BTreeMap<String, Json> {
    let mut shots: Vec<String> =
        results["n-shot"].as_object().into_iter().flatten().map(|(_, n)| n.to_string()).collect();
    shots.sort();
    shots.dedup();
    let all = [
        ("model", results["model_name"].clone()),
        ("limit", results["config"]["limit"].clone()),
        ("n-shot", shots.join(", ").into()),
        ("chat_template_sha", results["chat_template_sha"].clone()),
        ("lm_eval_version", results["lm_eval_version"].clone()),
    ];
    let known = all.into_iter().filter(|(_, value)| !value.is_null() && *value != "");
    known.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The run of an output folder of `run_qa`; `None` if it has no predictions of `run_qa`.
fn of_run_qa(folder: &Path, files: &QuestionFiles) -> Result<Option<ReportRun>, Error> {
    let file = |part: &str, name: &str| folder.join(format!("{part}_{name}.json"));
    let mut parts = PARTS.into_iter().filter(|part| file(part, "predictions").is_file());
    let Some(part) = parts.next() else { return Ok(None) };
    let n_best = Some(file(part, "nbest_predictions")).filter(|path| path.is_file());
    let files = QuestionFiles { n_best: n_best.or(files.n_best.clone()), ..files.clone() };
    let answers = of_file(&file(part, "predictions"), &files)?;
    let others: Vec<String> = parts.map(|other| format!("{other}_predictions.json")).collect();
    let mut notes = Vec::new();
    if !others.is_empty() {
        let folder = folder.display();
        notes.push(format!(
            "{folder}: using {part}_predictions.json; skipped: {}",
            others.join(", ")
        ));
    }
    let scores = match json(&file(part, "results")) {
        Json::Null => json(&folder.join("all_results.json")),
        own => own,
    };
    let own = |(key, value): (&String, &Json)| {
        let end = key.strip_prefix(part)?.strip_prefix('_')?;
        let is_score = ["exact", "f1", "exact_match", "samples"].contains(&end);
        is_score.then(|| (format!("{key} (from run_qa)"), value.clone()))
    };
    let keys = scores.as_object().into_iter().flatten().filter_map(own).collect();
    let name = file_stem(folder);
    let about = RunFiles { seeds: vec![name.clone()], keys, notes, ..RunFiles::default() };
    Ok(Some(ReportRun { name, seeds: vec![vec![answers]], about, ..ReportRun::default() }))
}
