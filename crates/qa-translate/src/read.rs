//! Reading what `qa-translate translate` wrote.
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use mlqa_eval::{Dataset, DatasetName, Language, Question, language_file};

use crate::{MixConfig, TranslateError, TranslateReport, Translated, mix};

/// The translations in `folder`: `{split}-context-xx-question-xx.json` for each of `languages`, and
/// where `reworded` is set also `{split}-context-<source>-question-xx.json`, the questions whose
/// passage stayed in the source's language. Without, [`Translated::questions`] is empty, as
/// [`mix`](crate::mix()) under `require_pair` does not need it.
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
) -> Result<Vec<Translated>, TranslateError> {
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

/// The questions of `folder`, for training beside those of `source`: first the translations, with
/// question and passage in one language (D', mixMRC, section 3.1), then those that
/// [`mix`](crate::mix()) makes of both, with question and passage in two (D'').
///
/// ```
/// use mlqa_eval::{Dataset, Language};
/// use qa_translate::{MixConfig, read_and_mix};
///
/// let folder = tempfile::tempdir().unwrap();
/// let [english, german] =
///     ["en", "de"].map(|code| Dataset::read(format!("../../data/xquad/xquad.{code}.json")));
/// let (english, german) = (english?, german?);
/// german.write(folder.path().join("train-context-de-question-de.json"))?;
/// let (config, path) = (MixConfig::default(), folder.path());
/// let [translated, mixed] = read_and_mix(path, "train", &english, &[Language::DE], &config)?;
/// assert_eq!(translated, german.questions);
/// // German questions about English passages, and the reverse.
/// assert_eq!(mixed.len(), 2 * german.questions.len());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// # Errors
/// As [`read_translations`], [`Dataset::check_answers`] and [`mix`](crate::mix()).
pub fn read_and_mix(
    folder: &Path,
    split: &str,
    source: &Dataset,
    languages: &[Language],
    config: &MixConfig,
) -> Result<[Vec<Question>; 2], TranslateError> {
    let reworded = !config.require_pair;
    let all = read_translations(folder, split, config.source_language, languages, reworded)?;
    all.iter().try_for_each(|own| own.dataset.check_answers())?;
    let mixed = mix(source, &all, config)?.rows.into_iter().map(|row| row.question).collect();
    Ok([all.into_iter().flat_map(|own| own.dataset.questions).collect(), mixed])
}

/// The questions that mixMRC trains on (section 3.1).
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
    /// Reads D from the file `source`, and D' and D'' as [`read_and_mix`] does, where there is a
    /// `folder` of translations.
    ///
    /// ```
    /// use std::path::Path;
    /// use qa_translate::{MixConfig, MixedTraining};
    ///
    /// let english = Path::new("../../data/xquad/xquad.en.json");
    /// let data = MixedTraining::read(english, None, "train", &[], &MixConfig::default())?;
    /// assert_eq!(data.to_string(), "questions: 1190, translated: 0, mixed: 0");
    /// # Ok::<(), qa_translate::TranslateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`read_and_mix`], also for an answer of the source that is not where its file says.
    pub fn read(
        source: &Path,
        folder: Option<&Path>,
        split: &str,
        languages: &[Language],
        config: &MixConfig,
    ) -> Result<Self, TranslateError> {
        let source = Dataset::read(source)?;
        source.check_answers()?;
        let [translated, mixed] = match folder {
            Some(folder) => read_and_mix(folder, split, &source, languages, config)?,
            None => Default::default(),
        };
        Ok(Self { source: source.questions, translated, mixed })
    }
}
