//! Combines questions with passages in other languages (data set D'' of mixMRC, section 3.1).
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use atomic_file::FileSet;
use mlqa_eval::{Dataset, DatasetName, Language, Question, TableLanguage};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, Translated};

/// Pairs of languages to mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairs {
    /// The source language paired with every target language, in both directions, as in the paper's
    /// Fig. 2.
    #[default]
    Source,
    /// All pairs of languages, which is an alternative interpretation of the paper's formula (l ≠
    /// k).
    AllPairs,
}

/// Mixing options.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixConfig {
    /// Language of the source data.
    pub source_language: Language,
    /// Pairs of languages to mix.
    pub pairs: Pairs,
    /// Whether a translated question is used only if its passage was translated. If false, a
    /// translated question without a translated passage is combined with the source's passage.
    pub require_pair: bool,
    /// Random seed of the order of rows.
    pub seed: u64,
}

impl Default for MixConfig {
    fn default() -> Self {
        let source_language = Language::EN;
        Self { source_language, pairs: Pairs::default(), require_pair: true, seed: 42 }
    }
}

impl MixConfig {
    /// Checks that a run's languages are the source language and at least one other language, in
    /// this order.
    ///
    /// ```
    /// use mlqa_eval::Language;
    /// use qa_translate::MixConfig;
    ///
    /// let error = MixConfig::default().check_languages(&[Language::DE]).unwrap_err();
    /// assert!(error.to_string().starts_with("languages = [\"de\"]: must be"));
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_languages(&self, languages: &[Language]) -> Result<(), Error> {
        match languages.first() == Some(&self.source_language) && languages.len() > 1 {
            true => Ok(()),
            false => Err(Error::Config {
                key: "languages",
                value: format!("{languages:?}"),
                rule: "mix.source_language, followed by at least one other language",
            }),
        }
    }
}

/// A question about a passage in another language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixedRow {
    /// The question's language.
    pub question_language: Language,
    /// The language of passage and answers; differs from `question_language`.
    pub context_language: Language,
    /// The question in `question_language`, with passage and answers in `context_language` and the
    /// source's id.
    pub question: Question,
}

/// Mixed rows in their final order.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// The rows.
    pub rows: Vec<MixedRow>,
    /// The counts of the rows.
    pub report: MixReport,
    version: Option<String>,
}

/// Counts of mixed rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MixReport {
    /// Number of rows by passage language and question language.
    pub rows: BTreeMap<(Language, Language), usize>,
    /// Number of rows whose question has no translated passage; 0 with `require_pair`, which skips
    /// such rows.
    pub without_pair: usize,
}

impl MixReport {
    /// Returns the passage language, question language and number of rows of each pair of
    /// languages, sorted by [`TableLanguage`](mlqa_eval::TableLanguage).
    pub fn in_table_order(&self) -> Vec<(Language, Language, usize)> {
        let mut pairs: Vec<(Language, Language, usize)> = self
            .rows
            .iter()
            .map(|(&(context, question), &rows)| (context, question, rows))
            .collect();
        pairs.sort_by_key(|&(context, question, _)| {
            (TableLanguage(context), TableLanguage(question))
        });
        pairs
    }
}

/// Mixes `source` with its translations.
///
/// For each question and each language x of the translations there are two rows: (question in x,
/// passage of the source) and (question of the source, passage in x). For each pair of different
/// languages x and y of the translations, [`Pairs::AllPairs`] adds (question in x, passage in y).
/// Unanswerable questions are mixed in the same way. `config.seed` determines the order of rows. The
/// answers of each row are checked against the
/// row's passage.
///
/// ```
/// use mlqa_eval::{Dataset, Language};
/// use qa_translate::{MixConfig, mix, align_by_id};
///
/// let english = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let german = Dataset::read("../../data/xquad/xquad.de.json")?;
/// let translated = align_by_id(&english, &german, Language::DE)?;
/// let mixed = mix(&english, &[translated], &MixConfig::default())?;
/// assert_eq!(mixed.rows.len(), 2 * 1190);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Language`] if a translation is in the source's language, or two translations are in the
/// same language; [`mlqa_eval::Error::AnswerMismatch`] if an answer is not at its offset.
pub fn mix(
    source: &Dataset,
    translations: &[Translated],
    config: &MixConfig,
) -> Result<Mixed, Error> {
    let mut languages = BTreeSet::from([config.source_language]);
    for translated in translations {
        if !languages.insert(translated.language) {
            let problem =
                "occurs twice among source and translations; use each language once".into();
            return Err(Error::Language { language: translated.language, problem });
        }
    }
    let translations: Vec<Translation<'_>> = translations
        .iter()
        .map(|translated| Translation::new(translated, config.require_pair))
        .collect();
    let mut mixed =
        Mixed { rows: Vec::new(), report: MixReport::default(), version: source.version.clone() };
    let from = config.source_language;
    for question in &source.questions {
        let is_unanswerable = question.answers.is_empty();
        let id = question.id.as_str();
        for x in &translations {
            let translated = x.find_question(id, is_unanswerable);
            let text = x.question_texts.get(id).copied();
            let text = text.filter(|_| translated.is_some() || !config.require_pair);
            if let Some(text) = text {
                mixed.report.without_pair += usize::from(translated.is_none());
                mixed.push((x.language, text), (from, question), source)?;
            }
            if let Some(passage) = translated {
                mixed.push((from, &question.question), (x.language, passage), x.dataset)?;
            }
            let Some(text) = text.filter(|_| config.pairs == Pairs::AllPairs) else {
                continue;
            };
            for y in translations.iter().filter(|y| y.language != x.language) {
                if let Some(passage) = y.find_question(id, is_unanswerable) {
                    mixed.push((x.language, text), (y.language, passage), y.dataset)?;
                }
            }
        }
    }
    mixed.rows.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
    Ok(mixed)
}

/// The translations into one language, by id.
struct Translation<'a> {
    language: Language,
    dataset: &'a Dataset,
    /// Questions with passages and answers in the language, and unanswerable questions.
    questions: HashMap<&'a str, &'a Question>,
    /// Translated question texts that may be combined with passages in other languages.
    question_texts: HashMap<&'a str, &'a str>,
}

impl<'a> Translation<'a> {
    fn new(translated: &'a Translated, require_pair: bool) -> Self {
        let dataset = &translated.dataset;
        let questions: HashMap<&str, &Question> =
            dataset.questions.iter().map(|question| (question.id.as_str(), question)).collect();
        let without_pair = (!require_pair).then_some(&translated.questions.questions);
        let all_questions = without_pair.into_iter().flatten().chain(questions.values().copied());
        let question_texts = all_questions
            .map(|question| (question.id.as_str(), question.question.as_str()))
            .collect();
        Self { language: translated.language, dataset, questions, question_texts }
    }

    /// Returns a question with its translated passage. Whether it has an answer must agree with the
    /// source.
    fn find_question(&self, id: &str, is_unanswerable: bool) -> Option<&'a Question> {
        let question = self.questions.get(id).copied();
        question.filter(|question| question.answers.is_empty() == is_unanswerable)
    }
}

impl Mixed {
    fn push(
        &mut self,
        (question_language, text): (Language, &str),
        (context_language, passage): (Language, &Question),
        data: &Dataset,
    ) -> Result<(), Error> {
        passage.check_answers(&data.path)?;
        let question = Question { question: text.to_owned(), ..passage.clone() };
        self.rows.push(MixedRow { question_language, context_language, question });
        *self.report.rows.entry((context_language, question_language)).or_default() += 1;
        Ok(())
    }

    /// Writes one file for each pair of languages into `folder` and returns the paths.
    ///
    /// File names follow MLQA's scheme ([`DatasetName`]), and questions have the source's ids. All
    /// files are complete before the first file is renamed to its final name.
    ///
    /// # Errors
    /// [`Error::Empty`] if there are no rows; [`Error::Eval`] if a file cannot be written.
    pub fn write_pairs(&self, folder: &Path, split: &str) -> Result<Vec<PathBuf>, Error> {
        self.check_not_empty()?;
        let mut paths = Vec::with_capacity(self.report.rows.len());
        let mut file_set = FileSet::default();
        for (context, question, _) in self.report.in_table_order() {
            let is_of_pair = |row: &&MixedRow| {
                row.context_language == context && row.question_language == question
            };
            let name = DatasetName { split: split.to_owned(), context, question };
            let path = folder.join(name.to_string());
            let questions = self.rows.iter().filter(is_of_pair).map(|row| row.question.clone());
            let version = self.version.clone();
            let dataset = Dataset { path: path.clone(), version, questions: questions.collect() };
            atomic_file::create_folder_of(&path)?;
            file_set.add(&path, dataset.to_json(&path)?)?;
            paths.push(path);
        }
        file_set.publish()?;
        Ok(paths)
    }

    fn check_not_empty(&self) -> Result<(), Error> {
        match self.rows.is_empty() {
            true => Err(Error::Empty {
                hint: "no question has an answer in two languages; check that the ids agree".into(),
            }),
            false => Ok(()),
        }
    }
}
