//! Reads the output of `qa-translate translate`.
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use mlqa_eval::{Dataset, DatasetName, Language, Question, find_language_file};

use crate::{Error, MixConfig, TranslateReport, Translated, mix};

/// Reads the translations in `folder`: `{split}-context-xx-question-xx.json` for each of
/// `languages`.
///
/// With `with_source_passages`, also reads `{split}-context-<source>-question-xx.json`, the
/// translated questions about the source's passages. Otherwise, [`Translated::questions`] is empty,
/// which is sufficient for [`mix`](crate::mix()) with `require_pair`.
///
/// ```
/// use mlqa_eval::{Dataset, Language};
///
/// let folder = tempfile::tempdir().unwrap();
/// let german = Dataset::read("../../data/xquad/xquad.de.json")?;
/// german.write(folder.path().join("train-context-de-question-de.json"))?;
/// let (path, languages) = (folder.path(), [Language::DE]);
/// let read = qa_translate::read_translations(path, "train", Language::EN, &languages, false)?;
/// assert_eq!(read[0].dataset.questions, german.questions);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// # Errors
/// The errors of [`Dataset::read`].
pub fn read_translations(
    folder: &Path,
    split: &str,
    source: Language,
    languages: &[Language],
    with_source_passages: bool,
) -> Result<Vec<Translated>, Error> {
    let path = |context, question| {
        let name = DatasetName { split: split.to_owned(), context, question };
        find_language_file(folder, &name.to_string())
    };
    let read_language = |&language: &Language| {
        let dataset = Dataset::read(path(language, language))?;
        let questions = match with_source_passages {
            true => Dataset::read(path(source, language))?,
            false => Dataset { questions: Vec::new(), ..dataset.clone() },
        };
        Ok(Translated { language, dataset, questions, report: TranslateReport::default() })
    };
    languages.iter().map(read_language).collect()
}

/// The training questions of mixMRC (section 3.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MixedQuestions {
    /// D: the source language's questions.
    pub source: Vec<Question>,
    /// D': translations of D, with question and passage in one language.
    pub translated: Vec<Question>,
    /// D'': rows whose question and passage are in different languages.
    pub mixed: Vec<Question>,
}

impl Display for MixedQuestions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [source, translated, mixed] = [&self.source, &self.translated, &self.mixed];
        write!(
            f,
            "questions: {}, translated: {}, mixed: {}",
            source.len(),
            translated.len(),
            mixed.len()
        )
    }
}

impl MixedQuestions {
    /// Reads D from the file `source` and, unless `folder` is `None`, D' from `folder`. D'' is
    /// created from D and D' by [`mix`](crate::mix()).
    ///
    /// ```
    /// use std::path::Path;
    /// use mlqa_eval::Language;
    /// use qa_translate::{MixConfig, MixedQuestions};
    ///
    /// let english = Path::new("../../data/xquad/xquad.en.json");
    /// let data = MixedQuestions::read(english, None, "train", &[], &MixConfig::default())?;
    /// assert_eq!(data.to_string(), "questions: 1190, translated: 0, mixed: 0");
    ///
    /// let folder = tempfile::tempdir()?;
    /// std::fs::copy(
    ///     "../../data/xquad/xquad.de.json",
    ///     folder.path().join("train-context-de-question-de.json"),
    /// )?;
    /// let (folder, languages) = (Some(folder.path()), [Language::DE]);
    /// let config = MixConfig::default();
    /// let data = MixedQuestions::read(english, folder, "train", &languages, &config)?;
    /// // German questions about English passages, and the reverse.
    /// assert_eq!(data.to_string(), "questions: 1190, translated: 1190, mixed: 2380");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`read_translations`], [`Dataset::check_answers`] and [`mix`](crate::mix()).
    pub fn read(
        source: &Path,
        folder: Option<&Path>,
        split: &str,
        languages: &[Language],
        config: &MixConfig,
    ) -> Result<Self, Error> {
        let source = Dataset::read(source)?;
        source.check_answers()?;
        let Some(folder) = folder else {
            return Ok(Self { source: source.questions, ..Self::default() });
        };
        let translations = read_translations(
            folder,
            split,
            config.source_language,
            languages,
            !config.require_pair,
        )?;
        translations.iter().try_for_each(|translated| translated.dataset.check_answers())?;
        let mixed = mix(&source, &translations, config)?.rows.into_iter().map(|row| row.question);
        Ok(Self {
            mixed: mixed.collect(),
            translated: translations
                .into_iter()
                .flat_map(|translated| translated.dataset.questions)
                .collect(),
            source: source.questions,
        })
    }
}
