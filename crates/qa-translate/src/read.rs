//! Reads the output of `qa-translate translate`.
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use mlqa_eval::{Dataset, DatasetName, Language, Question, language_file};

use crate::{Error, MixConfig, TranslateReport, Translated, mix};

/// Reads the translations in `folder`: `{split}-context-xx-question-xx.json` for each of
/// `languages`.
///
/// With `reworded`, also reads `{split}-context-<source>-question-xx.json`, the questions whose
/// passage remains in the source's language. Otherwise, [`Translated::questions`] is empty, which
/// [`mix`](crate::mix()) under `require_pair` accepts.
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
/// As [`Dataset::read`].
pub fn read_translations(
    folder: &Path,
    split: &str,
    source: Language,
    languages: &[Language],
    reworded: bool,
) -> Result<Vec<Translated>, Error> {
    let path = |context, question| {
        let name = DatasetName { split: split.to_owned(), context, question };
        language_file(folder, &name.to_string())
    };
    let read = |&language: &Language| {
        let dataset = Dataset::read(path(language, language))?;
        let questions = match reworded {
            true => Dataset::read(path(source, language))?,
            false => Dataset { questions: Vec::new(), ..dataset.clone() },
        };
        Ok(Translated { language, dataset, questions, report: TranslateReport::default() })
    };
    languages.iter().map(read).collect()
}

/// The training questions of mixMRC (section 3.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MixedTraining {
    /// D: the source language's questions.
    pub source: Vec<Question>,
    /// D': their translations, question and passage in one language.
    pub translated: Vec<Question>,
    /// D'': question and passage in two languages.
    pub mixed: Vec<Question>,
}

impl Display for MixedTraining {
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

impl MixedTraining {
    /// Reads D from the file `source` and D' from `folder`, if given; [`mix`](crate::mix()) creates
    /// D'' from both.
    ///
    /// ```
    /// use std::path::Path;
    /// use mlqa_eval::Language;
    /// use qa_translate::{MixConfig, MixedTraining};
    ///
    /// let english = Path::new("../../data/xquad/xquad.en.json");
    /// let data = MixedTraining::read(english, None, "train", &[], &MixConfig::default())?;
    /// assert_eq!(data.to_string(), "questions: 1190, translated: 0, mixed: 0");
    ///
    /// let folder = tempfile::tempdir()?;
    /// std::fs::copy(
    ///     "../../data/xquad/xquad.de.json",
    ///     folder.path().join("train-context-de-question-de.json"),
    /// )?;
    /// let (folder, languages) = (Some(folder.path()), [Language::DE]);
    /// let config = MixConfig::default();
    /// let data = MixedTraining::read(english, folder, "train", &languages, &config)?;
    /// // German questions about English passages, and the reverse.
    /// assert_eq!(data.to_string(), "questions: 1190, translated: 1190, mixed: 2380");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`read_translations`], [`Dataset::check_answers`] and [`mix`](crate::mix()).
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
        let reworded = !config.require_pair;
        let all = read_translations(folder, split, config.source_language, languages, reworded)?;
        all.iter().try_for_each(|one| one.dataset.check_answers())?;
        let mixed = mix(&source, &all, config)?.rows.into_iter().map(|row| row.question);
        Ok(Self {
            mixed: mixed.collect(),
            translated: all.into_iter().flat_map(|one| one.dataset.questions).collect(),
            source: source.questions,
        })
    }
}
