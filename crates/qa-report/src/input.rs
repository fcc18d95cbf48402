//! Finds the runs of a report with their prediction files and question files.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mlqa_eval::{
    AVERAGE, Cell, DatasetName, Language, Matrix, Normalization, QuestionSource, QuestionSources,
    TableLanguage, read_json,
};
use serde_json::Value as Json;

use crate::QuestionFiles;

/// Description of the files that a folder lacks, for an error message.
const EXPECTED_PREDICTIONS: &str = "predictions: neither run.json, nor predictions named as MLQA's files \
    (test-context-en-question-de.json) or in a questions.json";

/// Name of the metrics file in a stage's folder.
pub(crate) const METRICS: &str = "metrics.jsonl";

/// A data set, a context language and a question language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    /// Name of the data set, such as `mlqa`; empty if the run has only one data set.
    pub set: String,
    /// Language of context and answer.
    pub context: TableLanguage,
    /// Language of the question.
    pub question: TableLanguage,
}

impl Pair {
    /// Returns the label in tables: the set's name, unless empty, and the languages.
    pub fn label(&self) -> String {
        let languages = format!("{}–{}", self.context, self.question);
        if self.set.is_empty() { languages } else { format!("{} {languages}", self.set) }
    }
}

/// A file with a run's answers to the questions of one pair.
#[derive(Clone, Debug)]
pub(crate) struct AnswerFile {
    pub pair: Pair,
    pub predictions: PathBuf,
    pub n_best: Option<PathBuf>,
    pub questions: PathBuf,
    /// Whether the set prescribes SQuAD's English rules.
    pub squad_rules: bool,
}

/// A run: the answers of each seed and the training curves.
#[derive(Clone, Debug, Default)]
pub struct ReportRun {
    /// Name in tables and figures.
    pub name: String,
    pub(crate) seeds: Vec<Vec<AnswerFile>>,
    /// Scores of a run without answers; `None` for a run with answers.
    pub(crate) scores: Option<Matrix>,
    pub(crate) run_files: RunFiles,
}

/// The metrics file of a training stage.
#[derive(Clone, Debug)]
pub(crate) struct CurveFile {
    /// Path of the stage's folder relative to the folder of the seed and arm, such as `fine-tune`.
    /// Names of nested folders are separated by commas.
    pub stage: String,
    pub path: PathBuf,
}

/// The files of a run other than its answer files.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunFiles {
    pub folder: Option<PathBuf>,
    /// The folders of seeds and arms that contain the run's records, `trained.json` and
    /// `result.json`.
    pub trial_folders: Vec<PathBuf>,
    /// Names of the seeds.
    pub seeds: Vec<String>,
    pub curves: Vec<CurveFile>,
}

impl RunFiles {
    fn extend(&mut self, other: Self) {
        self.folder = self.folder.take().or(other.folder);
        self.trial_folders.extend(other.trial_folders);
        self.seeds.extend(other.seeds);
        self.curves.extend(other.curves);
    }
}

impl ReportRun {
    /// Finds the runs at `path`:
    ///
    /// - a recipe's run folder: one run per arm, with its seeds, sorted by name; the question files
    ///   are listed in the `questions.json` files of the run folder, unless `files.data` is set;
    /// - a folder of prediction files with MLQA names: one run, with the question files of the same
    ///   names in `files.data`;
    /// - a prediction file, such as `eval_predictions.json` of `run_qa`: one run; `files.data` and
    ///   `files.language` are required if the question file and the languages cannot be determined
    ///   from a `questions.json` or from file names;
    /// - a `matrix.json`: one run with only scores; a recipe's `summary.json`, whose scores are for
    ///   English contexts: one run per arm, with only scores.
    ///
    /// # Errors
    /// [`mlqa_eval::Error::File`], [`mlqa_eval::Error::Json`]; [`mlqa_eval::Error::NothingFound`]
    /// if there are no predictions, or if the question file of a prediction file is missing.
    pub fn find(
        path: impl AsRef<Path>,
        files: &QuestionFiles,
    ) -> Result<Vec<Self>, mlqa_eval::Error> {
        let path = path.as_ref();
        if path != Path::new("-") {
            atomic_file::fs::metadata(path)?;
        }
        if path.is_dir() && path.join("run.json").exists() {
            let runs = Self::in_run_folder(path, files, |_, _| true)?;
            return match runs.is_empty() {
                true => Err(nothing_found("predictions that a report can show", path)),
                false => Ok(runs),
            };
        }
        if path.is_file()
            && let Some(runs) = runs_of_scores(path)?
        {
            return Ok(runs);
        }
        // The run of a file with an MLQA name is named after the file's folder.
        let stem = match path.file_name().and_then(|name| name.to_str()?.parse().ok()) {
            _ if path.is_dir() => path.file_name(),
            Some(DatasetName { .. }) => {
                path.parent().and_then(Path::file_name).or(path.file_stem())
            }
            None => path.file_stem(),
        };
        let name = run_name(stem);
        let answers = match path.is_dir() {
            true => folder_answers(path, "", None, files)?,
            false => vec![find_answer_file(path, files)?],
        };
        if answers.is_empty() {
            return Err(nothing_found(EXPECTED_PREDICTIONS, path));
        }
        let run_files = RunFiles { seeds: vec![name.clone()], ..RunFiles::default() };
        Ok(vec![Self { name, seeds: vec![answers], run_files, ..Self::default() }])
    }

    /// Finds the runs in a recipe's run folder, limited to the seeds and arms for which
    /// `include(seed, arm)` is true; empty if there are no predictions.
    ///
    /// # Errors
    /// The errors of [`ReportRun::find`].
    pub fn in_run_folder(
        folder: impl AsRef<Path>,
        files: &QuestionFiles,
        include: impl Fn(u64, &str) -> bool,
    ) -> Result<Vec<Self>, mlqa_eval::Error> {
        let folder = folder.as_ref();
        let mut runs: BTreeMap<String, Self> = BTreeMap::new();
        let mut merged_run_files =
            RunFiles { folder: Some(folder.to_owned()), ..RunFiles::default() };
        for (seed, seed_folder) in seed_folders(folder)? {
            let mut arms = sorted_names(&seed_folder)?;
            arms.retain(|arm| include(seed, arm) && seed_folder.join(arm).is_dir());
            arms.sort();
            for arm in arms {
                let mut answers = Vec::new();
                let seeds = vec![seed.to_string()];
                let mut run_files =
                    RunFiles { seeds, folder: Some(folder.to_owned()), ..RunFiles::default() };
                let arm_folder = seed_folder.join(&arm);
                scan_folder(&arm_folder, "", folder, files, &mut answers, &mut run_files)?;
                merged_run_files.extend(run_files.clone());
                let new_run = || Self { name: arm.clone(), ..Self::default() };
                let run = runs.entry(arm.clone()).or_insert_with(new_run);
                if !answers.is_empty() {
                    run.seeds.push(answers);
                }
                run.run_files.extend(run_files);
            }
        }
        let mut runs: Vec<Self> = runs.into_values().filter(|run| !run.seeds.is_empty()).collect();
        if runs.is_empty() {
            // Programs that answer a single question file write the predictions directly into the
            // run folder.
            let answers = folder_answers(folder, "", Some(folder), files)?;
            if !answers.is_empty() {
                let name = run_name(folder.file_name());
                let seeds = vec![answers];
                runs.push(Self { name, seeds, run_files: merged_run_files, ..Self::default() });
            }
        }
        Ok(runs)
    }

    /// Returns whether the run has no answers, as a `matrix.json`.
    #[cfg(feature = "cli")]
    pub(crate) fn has_only_scores(&self) -> bool {
        self.seeds.is_empty()
    }

    /// Returns the number of language pairs with answers. A pair in two sets counts twice.
    pub fn pairs(&self) -> usize {
        let pairs: BTreeSet<&Pair> = self.seeds.iter().flatten().map(|file| &file.pair).collect();
        pairs.len()
    }

    /// Adds the seeds of another run.
    #[cfg(feature = "cli")]
    pub(crate) fn add_seeds(&mut self, other: Self) {
        self.seeds.extend(other.seeds);
        self.run_files.extend(other.run_files);
    }
}

fn nothing_found(what: &str, path: &Path) -> mlqa_eval::Error {
    mlqa_eval::Error::NothingFound { what: what.to_owned(), path: path.to_path_buf() }
}

fn content_error(path: &Path, message: &str) -> mlqa_eval::Error {
    mlqa_eval::Error::Content { path: path.to_path_buf(), message: message.to_owned() }
}

/// Returns the name of a run from the name of its file or folder. Paths such as `..` have no name.
fn run_name(name: Option<&OsStr>) -> String {
    name.map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}

/// Returns the names of a folder's entries, sorted by the number after the last hyphen: `seed-10`
/// follows `seed-9`.
fn sorted_names(folder: &Path) -> Result<Vec<String>, mlqa_eval::Error> {
    let mut names = Vec::new();
    for entry in atomic_file::fs::read_dir(folder)? {
        // Predictions and seeds have ASCII names.
        names.extend(entry?.file_name().into_string().ok());
    }
    let number = |name: &String| -> Option<u64> { name.rsplit_once('-')?.1.parse().ok() };
    names.sort_by(|a, b| number(a).cmp(&number(b)).then_with(|| a.cmp(b)));
    Ok(names)
}

/// Returns the folders of a run's seeds.
fn seed_folders(folder: &Path) -> Result<Vec<(u64, PathBuf)>, mlqa_eval::Error> {
    let seed = |name: String| {
        // Other folders, such as `seed-notes`, contain no seed.
        let number = name.strip_prefix("seed-")?.parse().ok()?;
        Some((number, folder.join(name))).filter(|(_, path)| path.is_dir())
    };
    Ok(sorted_names(folder)?.into_iter().filter_map(seed).collect())
}

/// Collects the predictions, curves and records in `folder` and its subfolders. `folder` is the
/// folder of a seed and arm or one of its subfolders, and `stage` is its path relative to the
/// folder of the seed and arm.
fn scan_folder(
    folder: &Path,
    stage: &str,
    run: &Path,
    files: &QuestionFiles,
    answers: &mut Vec<AnswerFile>,
    run_files: &mut RunFiles,
) -> Result<(), mlqa_eval::Error> {
    for name in sorted_names(folder)? {
        let path = folder.join(&name);
        if name == METRICS {
            run_files.curves.push(CurveFile { stage: stage.to_owned(), path });
        } else if name == "trained.json" {
            run_files.trial_folders.push(folder.to_owned());
        } else if name == "predictions" && path.is_dir() {
            answers.extend(folder_answers(&path, "", Some(run), files)?);
            for set in sorted_names(&path)? {
                let set_folder = path.join(&set);
                if set_folder.is_dir() {
                    answers.extend(folder_answers(&set_folder, &set, Some(run), files)?);
                }
            }
        } else if path.is_dir() && name != "checkpoints" && name != "model" {
            let nested_stage = if stage.is_empty() { name } else { format!("{stage}, {name}") };
            scan_folder(&path, &nested_stage, run, files, answers, run_files)?;
        }
    }
    Ok(())
}

/// Returns the languages of context and question of a prediction file. `source` is the file's entry
/// in a `questions.json`, and takes precedence over the file's parsed name.
fn languages(
    source: Option<&QuestionSource>,
    name: Option<&DatasetName>,
) -> Option<(Language, Language)> {
    let from_name = || name.map(|name| (name.context, name.question));
    source.map(|source| (source.context, source.question)).or_else(from_name)
}

/// Returns the names of the prediction files that a `questions.json` lists in the subfolder
/// `predictions` of a run, sorted by name. A run with several development files has such files.
fn nested_names(folder: &Path, sources: Option<&QuestionSources>) -> Vec<String> {
    let names = sources.into_iter().flat_map(|sources| sources.0.keys());
    let nested =
        names.filter(|name| name.starts_with("predictions/") && folder.join(name).is_file());
    nested.cloned().collect()
}

/// Returns the answer files in a folder of predictions.
fn folder_answers(
    folder: &Path,
    set: &str,
    run: Option<&Path>,
    files: &QuestionFiles,
) -> Result<Vec<AnswerFile>, mlqa_eval::Error> {
    let sources = QuestionSources::read(folder)?;
    let mut answers: Vec<AnswerFile> = Vec::new();
    let mut names = sorted_names(folder)?;
    let nested = nested_names(folder, sources.as_ref());
    let n_nested = nested.len();
    names.extend(nested);
    for path in names {
        let source = sources.as_ref().and_then(|sources| sources.0.get(&path));
        // A path of `questions.json` has a folder before the name.
        let (subfolder, name) = match path.split_once('/') {
            Some((subfolder, name)) => (Some(subfolder), name.to_owned()),
            None => (None, path.clone()),
        };
        let dataset_name = name.parse::<DatasetName>().ok();
        let Some((context, question)) = languages(source, dataset_name.as_ref()) else { continue };
        let mlqa_name = DatasetName { split: files.split.clone(), context, question }.to_string();
        let mut candidates: Vec<PathBuf> = Vec::new();
        match (&files.data, run, source) {
            (Some(data), _, _) if data.is_dir() => candidates.extend(
                [data.join(set), data.clone()]
                    .iter()
                    .flat_map(|base| [base.join(&name), base.join(&mlqa_name)]),
            ),
            // With several question files, those of the other files are not answered.
            (Some(data), _, Some(source))
                if n_nested > 1 && source.path.file_name() != data.file_name() => {}
            (Some(data), _, _) => candidates.push(data.clone()),
            (None, Some(run), Some(source)) => candidates.extend(source_paths(run, &source.path)),
            (None, Some(run), None) => candidates.push(run.join("questions").join(&name)),
            (None, None, Some(source)) => candidates.push(source.path.clone()),
            (None, None, None) => {}
        }
        let Some(questions) = candidates.into_iter().find(|candidate| candidate.exists()) else {
            // The folder may have predictions for questions that are not in the folder of --data.
            if files.data.is_some() {
                continue;
            }
            let what = format!("questions for {name} (give --data DIR)");
            return Err(nothing_found(&what, folder));
        };
        let n_best = match (subfolder, &dataset_name) {
            (None, None) => folder.join("n-best.json"),
            (Some(_), _) | (None, Some(_)) => folder.join("n-best").join(&name),
        };
        let mut pair =
            Pair { set: set.to_owned(), context: context.into(), question: question.into() };
        if subfolder.is_some() && answers.iter().any(|other| other.pair == pair) {
            // Another file has the same languages.
            pair.set = name.trim_end_matches(".json").to_owned();
        }
        answers.push(AnswerFile {
            pair,
            predictions: folder.join(&path),
            n_best: Some(n_best).filter(|path| path.exists()),
            questions,
            squad_rules: source.is_some_and(|source| source.squad_rules),
        });
    }
    Ok(answers)
}

/// Reads the runs of a `matrix.json` or `summary.json`; `None` for a prediction file.
fn runs_of_scores(path: &Path) -> Result<Option<Vec<ReportRun>>, mlqa_eval::Error> {
    let run = |name: String, scores: Matrix| ReportRun {
        name,
        scores: Some(scores),
        ..ReportRun::default()
    };
    let file: Json = read_json(path, "predictions, a matrix.json or a summary.json")?;
    if file.get("cells").is_some_and(Json::is_array) {
        let matrix = Matrix::read_json(path)?;
        if matrix.is_empty() {
            return Err(nothing_found("scores", path));
        }
        let stem = run_name(path.file_stem());
        let name = if matrix.title.is_empty() { stem } else { matrix.title.clone() };
        return Ok(Some(vec![run(name, matrix)]));
    }
    let Some(arms) = file.get("arms").and_then(Json::as_object) else { return Ok(None) };
    let number = |scores: &Json, key: &str| scores.get(key).and_then(Json::as_f64);
    let mut runs = Vec::new();
    for (arm, arm_scores) in arms {
        let mut matrix = Matrix::new(arm);
        for (code, scores) in arm_scores.as_object().into_iter().flatten() {
            let f1_and_em = number(scores, "f1").zip(number(scores, "em"));
            if code == AVERAGE {
                continue;
            }
            // Summaries of other recipes have other metrics and keys.
            if let (Ok(question), Some((f1, em))) = (code.parse::<Language>(), f1_and_em) {
                let (f1_half_width, em_half_width) =
                    (number(scores, "f1_half_width"), number(scores, "em_half_width"));
                matrix.insert(
                    Language::EN,
                    question,
                    Cell { f1, em, questions: 0, f1_half_width, em_half_width },
                );
            }
        }
        if !matrix.is_empty() {
            runs.push(run(arm.clone(), matrix));
        }
    }
    match runs.is_empty() {
        true => Err(nothing_found("scores by language of the question", path)),
        false => Ok(Some(runs)),
    }
}

/// Returns possible paths of a run's question file: paths in the run folder, which may have been
/// moved, and the recorded `path`.
fn source_paths(run: &Path, path: &Path) -> Vec<PathBuf> {
    let components: Vec<_> = path.components().collect();
    let in_run_folder = (0..components.len().saturating_sub(1)).filter_map(|start| {
        let suffix: PathBuf = components[start..].iter().collect();
        (!suffix.is_absolute()).then(|| run.join(suffix))
    });
    in_run_folder.chain([path.to_path_buf()]).collect()
}

/// Finds the questions and languages of a single prediction file.
fn find_answer_file(path: &Path, files: &QuestionFiles) -> Result<AnswerFile, mlqa_eval::Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().expect("a file has a name").to_string_lossy();
    let sources = QuestionSources::read(folder)?;
    let source = sources.as_ref().and_then(|sources| sources.0.get(name.as_ref()));
    let derived = languages(source, name.parse().ok().as_ref()).or_else(|| files.languages());
    let argument_languages =
        files.language.map(|language| (language, derived.map_or(language, |derived| derived.1)));
    let Some((context, question)) = argument_languages.or(derived) else {
        return Err(content_error(
            path,
            "cannot determine the language of the answers; give --language LANG",
        ));
    };
    let pair = Pair { set: String::new(), context: context.into(), question: question.into() };
    let questions = match (&files.data, source) {
        (Some(data), _) if data.is_dir() => {
            let same_name = Some(data.join(name.as_ref())).filter(|same_name| same_name.exists());
            let question_file = same_name.or_else(|| files.find_in_folder("", context, question));
            let what = || format!("questions for {name} in {context} and {question}");
            question_file.ok_or_else(|| nothing_found(&what(), data))?
        }
        (Some(data), _) => data.clone(),
        (None, Some(source)) => source.path.clone(),
        (None, None) => {
            return Err(content_error(
                path,
                "cannot determine the question file; give --data FILE",
            ));
        }
    };
    Ok(AnswerFile {
        pair,
        predictions: path.to_path_buf(),
        n_best: files.n_best.clone(),
        questions,
        squad_rules: source.is_some_and(|source| source.squad_rules),
    })
}

impl Pair {
    /// Returns the normalisation for all answers of the pair. SQuAD's rules apply if `squad` is
    /// true, or if `squad` is `None` and one of `files` prescribes SQuAD's rules. Otherwise, MLQA's
    /// rules apply.
    ///
    /// # Errors
    /// [`mlqa_eval::Error::NoRules`].
    pub fn rules(
        &self,
        files: &[Vec<&AnswerFile>],
        squad: Option<bool>,
    ) -> Result<Normalization, mlqa_eval::Error> {
        let any_squad_rules = || files.iter().flatten().any(|file| file.squad_rules);
        let rules = match squad.unwrap_or_else(any_squad_rules) {
            true => Normalization::SquadEn,
            false => Normalization::Mlqa(self.context.0),
        };
        rules.check().map(|()| rules)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn questions_of_runs_with_non_utf8_names_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let name = "test-context-en-question-de.json";
        let run = folder.path().join(OsStr::from_bytes(b"n\xff"));
        let (questions, predictions) = (run.join("questions"), run.join("seed-0/a/predictions"));
        fs::create_dir_all(&questions).unwrap();
        fs::create_dir_all(&predictions).unwrap();
        fs::write(questions.join(name), "{}").unwrap();
        fs::write(predictions.join(name), "{}").unwrap();
        let mut sources = QuestionSources::of(name, &questions.join(name), Language::DE);
        sources.write(&predictions).unwrap();
        let runs = ReportRun::in_run_folder(&run, &QuestionFiles::default(), |_, _| true);
        assert_eq!(runs.unwrap()[0].pairs(), 1);
        // A missing question file is an error. No other question file is used in its place.
        fs::remove_dir_all(&questions).unwrap();
        let error = ReportRun::in_run_folder(&run, &QuestionFiles::default(), |_, _| true);
        assert!(error.unwrap_err().to_string().contains("--data DIR"));
        // Paths that are valid UTF-8 are written unchanged.
        let source = QuestionSource { path: "/data/ü.json".into(), ..sources.0[name].clone() };
        sources.insert(name, source);
        sources.write(&predictions).unwrap();
        assert_eq!(QuestionSources::read(&predictions).unwrap(), Some(sources));
    }
}
