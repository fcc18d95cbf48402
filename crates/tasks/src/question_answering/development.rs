//! Model selection of a training stage: the last model, or the best on development questions.
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use mlqa_eval::{
    Dataset, DecodeConfig, Language, Normalization, Predictions, Question, languages_in_name, score,
};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use trainer::TaskError;
use trainer::selection::{CheckpointSelection, Scores};

use super::evaluate::check_decoding;
use super::{QaPredictor, mlqa_files};
use xlmr_model::Model;

use crate::held_out::{HELD_OUT, held_out_groups};
use crate::{Error, Result};

/// The selected model of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectedModel {
    /// The model after the last step.
    #[default]
    Last,
    /// The model with the highest mean score on the development sets. If several models have this
    /// score, the earliest is selected.
    Best,
}

/// Metric on a development set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DevMetric {
    /// Mean F1.
    #[default]
    F1,
    /// Exact match.
    ExactMatch,
}

/// Options of model selection.
///
/// Models are scored after each epoch, and after every `evaluation_steps` steps of the stage
/// ([`TrainConfig`](trainer::TrainConfig)). `patience` may end the stage early.
///
/// # Example
/// ```
/// use tasks::question_answering::{DevSelection, TrainingQuestions};
///
/// let selection: DevSelection = toml::from_str("keep = \"best\"\nheld_out = 0.1").unwrap();
/// let mut train = TrainingQuestions::read("../../data/xquad/xquad.en.json")?.questions;
/// let sets = selection.sets::<&str>(&[], &mut train)?;
/// assert_eq!((sets.len(), sets[0].dataset.questions.len() + train.len()), (1, 1190));
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DevSelection {
    /// The selected model.
    pub keep: SelectedModel,
    /// The metric that determines the best model.
    pub metric: DevMetric,
    /// Whether the initial model is also a candidate.
    pub from_start: bool,
    /// Minimum share of the training questions held out as development set if no file is given,
    /// from 0 (none) to below 1.
    pub held_out: f64,
    /// Seed of the held-out passages.
    pub seed: u64,
    /// Windows per batch.
    pub batch_size: usize,
    /// Span decoding.
    pub decoding: DecodeConfig,
}

impl Default for DevSelection {
    fn default() -> Self {
        Self {
            keep: SelectedModel::Last,
            metric: DevMetric::F1,
            from_start: false,
            held_out: 0.0,
            seed: 1234,
            batch_size: 64,
            decoding: DecodeConfig::default(),
        }
    }
}

/// A named development set with its scoring rules.
#[derive(Clone, Debug, PartialEq)]
pub struct DevSet {
    /// The file's name, or `held out` for held-out training questions.
    pub name: String,
    /// The questions.
    pub dataset: Dataset,
    /// Scoring rules: MLQA's rules of the context's language for files with MLQA's names, otherwise
    /// SQuAD's rules.
    pub rules: Normalization,
}

impl DevSelection {
    /// Returns whether all options have their default values. Serialized recipes omit the section
    /// in this case.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        check_decoding("selection", &self.decoding, self.batch_size)?;
        match (0.0..1.0).contains(&self.held_out) {
            true => Ok(()),
            false => Err(Error::config("selection.held_out", self.held_out, "from 0 to below 1")),
        }
    }

    /// Returns the development sets: the sets of `files`, or held-out passages of `train`. Empty if
    /// the last model is selected.
    ///
    /// # Errors
    /// [`Error::Eval`] naming a file that cannot be read or scored; [`Error::Config`] if two files
    /// have the same name, neither a file nor a held-out share is configured, or no training
    /// question remains.
    pub fn sets<P: AsRef<Path>>(
        &self,
        files: &[P],
        train: &mut Vec<Question>,
    ) -> Result<Vec<DevSet>> {
        if self.keep == SelectedModel::Last {
            return Ok(Vec::new());
        }
        if files.is_empty() {
            return Ok(vec![self.hold_out(train)?]);
        }
        let sets: Vec<DevSet> =
            files.iter().map(|file| DevSet::read(file.as_ref())).collect::<Result<_>>()?;
        let mut names = BTreeSet::new();
        match sets.iter().find(|set| !names.insert(&set.name)) {
            None => Ok(sets),
            Some(repeated) => {
                Err(Error::config("data.dev", &repeated.name, "one file of each name"))
            }
        }
    }

    /// Returns the development sets from MLQA's `dev` files in `folder`, with question and context
    /// in one of `languages`.
    ///
    /// If `folder` is empty, passages of `train` are held out. Questions with the ids of held-out
    /// questions are also removed from the lists in `related`, such as translations of `train`.
    ///
    /// # Errors
    /// The errors of [`sets`](Self::sets).
    pub fn sets_in_folder<'q>(
        &self,
        folder: &Path,
        languages: &[Language],
        train: &mut Vec<Question>,
        related: impl IntoIterator<Item = &'q mut Vec<Question>>,
    ) -> Result<Vec<DevSet>> {
        if !folder.as_os_str().is_empty() {
            let files = mlqa_files(folder, "dev", languages);
            let files: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
            return self.sets(&files, train);
        }
        let sets = self.sets::<&Path>(&[], train)?;
        let held_out = sets.iter().flat_map(|set| &set.dataset.questions);
        let ids: BTreeSet<&str> = held_out.map(|question| question.id.as_str()).collect();
        for questions in related {
            questions.retain(|question| !ids.contains(question.id.as_str()));
        }
        Ok(sets)
    }

    fn hold_out(&self, train: &mut Vec<Question>) -> Result<DevSet> {
        if self.held_out == 0.0 {
            let rule = "above 0 if data.dev is not set and selection.keep = \"best\"";
            return Err(Error::config("selection.held_out", self.held_out, rule));
        }
        let passages = train.iter().map(|question| Arc::clone(&question.context));
        let held_out_passages = held_out_groups(passages, self.held_out, self.seed);
        let is_held_out = |question: &Question| held_out_passages.contains(&question.context);
        if train.iter().all(is_held_out) {
            let rule = "smaller: no training data remain";
            return Err(Error::config("selection.held_out", self.held_out, rule));
        }
        let (held_out, remaining) = std::mem::take(train).into_iter().partition(is_held_out);
        *train = remaining;
        let (name, path) = (HELD_OUT.to_owned(), HELD_OUT.into());
        let dataset = Dataset { path, version: None, questions: held_out };
        Ok(DevSet { name, dataset, rules: Normalization::SquadEn })
    }

    /// Creates the selection rule: the highest mean score of `model` over the sets. `None` without
    /// sets.
    pub fn rule<'a>(
        &'a self,
        sets: &'a [DevSet],
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        windows: &mlqa_eval::WindowConfig,
    ) -> Option<CheckpointSelection<'a>> {
        let predictor = QaPredictor::new(model, tokenizer, windows)
            .with_decoding(&self.decoding)
            .with_batch_size(self.batch_size);
        let scores = move || -> std::result::Result<Scores, TaskError> {
            let named_score =
                |set: &DevSet| Ok((set.name.clone(), set.score(&predictor, self.metric)?));
            sets.iter().map(named_score).collect()
        };
        let names = sets.iter().map(|set| set.name.clone());
        let rule = CheckpointSelection {
            rule: format!("highest mean of {:?}", self.metric),
            include_initial: self.from_start,
            ..CheckpointSelection::highest_mean(names, scores)
        };
        (!sets.is_empty()).then_some(rule)
    }
}

impl DevSet {
    /// Reads a SQuAD-style file.
    fn read(path: &Path) -> Result<Self> {
        let dataset = Dataset::read(path)?;
        dataset.check_scorable()?;
        let name = path.file_name().expect("a file that was read has a name");
        let name = name.to_string_lossy().into_owned();
        // Only MLQA's names select MLQA's rules: XQuAD prescribes SQuAD's rules.
        let rules = match languages_in_name(&name)? {
            Some((context, _)) if name.contains("-context-") => Normalization::Mlqa(context),
            _ => Normalization::SquadEn,
        };
        Ok(Self { name, dataset, rules })
    }

    /// Computes the score of a predictor in percent.
    fn score(&self, predictor: &QaPredictor<'_>, metric: DevMetric) -> Result<f64> {
        let answers = predictor.predict(&self.dataset.questions)?;
        let answers = Predictions::from(answers.as_slice());
        let score = score(&self.dataset, &answers, self.rules)?;
        Ok(match metric {
            DevMetric::F1 => score.f1,
            DevMetric::ExactMatch => score.exact_match,
        })
    }
}

#[cfg(test)]
mod tests {
    use mlqa_eval::WindowConfig;

    use super::*;
    use crate::testing::{model, question, tokenizer};

    /// Creates `count` questions, two for each passage.
    fn questions(count: usize) -> Vec<Question> {
        let numbered_question = |k: usize| {
            let context = format!("House {} is red.", k / 2);
            question(&format!("q{k}"), "Which colour?", &context, "House")
        };
        (0..count).map(numbered_question).collect()
    }

    fn select_best(held_out: f64) -> DevSelection {
        DevSelection { keep: SelectedModel::Best, held_out, ..DevSelection::default() }
    }

    #[test]
    fn passages_are_held_out_with_all_their_questions() {
        let all_questions = questions(40);
        for seed in 0..10 {
            let selection = DevSelection { seed, ..select_best(0.24) };
            let mut train = all_questions.clone();
            let sets = selection.sets::<&str>(&[], &mut train).unwrap();
            let held_out = &sets[0].dataset.questions;
            assert_eq!((sets.len(), held_out.len(), train.len()), (1, 10, 30));
            let passages = |questions: &[Question]| -> BTreeSet<Arc<str>> {
                questions.iter().map(|question| Arc::clone(&question.context)).collect()
            };
            assert!(passages(held_out).is_disjoint(&passages(&train)));
            // Translations of held-out questions are removed too.
            let [mut source, mut translated, mut mixed] = [(); 3].map(|()| all_questions.clone());
            mixed.reverse();
            let related = [&mut translated, &mut mixed];
            let held_out_sets =
                selection.sets_in_folder(Path::new(""), &[], &mut source, related).unwrap();
            assert_eq!((&held_out_sets, &source, &translated), (&sets, &train, &train));
            assert_eq!(mixed.len(), train.len());
            // The order of the remaining questions is preserved, and a second call selects the same
            // questions.
            assert!(train.is_sorted_by_key(|question| question.id[1..].parse::<usize>().unwrap()));
            let mut repeated = all_questions.clone();
            assert_eq!(selection.sets::<&str>(&[], &mut repeated).unwrap(), sets);
        }
        let mut train = all_questions.clone();
        let keep_last = DevSelection { keep: SelectedModel::Last, ..select_best(0.2) };
        assert_eq!(keep_last.sets::<&str>(&[], &mut train).unwrap(), []);
        assert_eq!(train, all_questions, "the last model needs no development questions");
        for (fraction, rule) in [(0.0, "above 0 if data.dev"), (0.99, "no training data remain")] {
            let error = select_best(fraction)
                .sets::<&str>(&[], &mut all_questions.clone())
                .unwrap_err()
                .to_string();
            assert!(error.contains(rule), "{error}");
        }
        let error = select_best(1.0).validate().unwrap_err().to_string();
        assert!(error.contains("selection.held_out = 1"), "{error}");
    }

    #[test]
    fn files_are_scored_by_the_rules_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, count: usize| {
            let path = folder.path().join(name);
            let (version, questions) = (None, questions(count));
            Dataset { path: path.clone(), version, questions }.write(&path).unwrap();
            path
        };
        let (german, squad) =
            (write("dev-context-de-question-de.json", 2), write("dev-v1.1.json", 6));
        let mut train = questions(4);
        let selection = select_best(0.5);
        let sets = selection.sets(&[&german, &squad], &mut train).unwrap();
        let (languages, mut copy) = ([Language::DE], train.clone());
        let no_questions = &mut Vec::new();
        let folder_sets = selection
            .sets_in_folder(folder.path(), &languages, &mut copy, [&mut train, no_questions])
            .unwrap();
        assert_eq!(folder_sets, sets[..1]);
        assert_eq!((train.len(), &copy), (4, &train), "no question is held out");
        let rules: Vec<_> = sets.iter().map(|set| set.rules).collect();
        assert_eq!(rules, [Normalization::Mlqa(Language::DE), Normalization::SquadEn]);
        let error = selection.sets(&[&german, &german], &mut train).unwrap_err().to_string();
        assert!(error.contains("data.dev = dev-context-de"), "{error}");

        // Each set has a separate score, because all sets have the same weight in the mean.
        let (model, tokenizer) = (model(4000), tokenizer());
        let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
        let rule = selection.rule(&sets, &model, &tokenizer, &windows).unwrap();
        let scores = (rule.score)().unwrap();
        let predictor = QaPredictor::new(&model, &tokenizer, &windows);
        for set in &sets {
            let answers = predictor.predict(&set.dataset.questions).unwrap();
            let answers = Predictions::from(answers.as_slice());
            let expected = score(&set.dataset, &answers, set.rules).unwrap();
            assert_eq!(scores[&set.name], expected.f1);
            assert_eq!(set.score(&predictor, DevMetric::ExactMatch).unwrap(), expected.exact_match);
        }
        assert_eq!(rule.names.len(), 2);
        assert!(selection.rule(&[], &model, &tokenizer, &windows).is_none());
    }
}
