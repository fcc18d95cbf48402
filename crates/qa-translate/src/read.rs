//! Reading what `qa-translate translate` wrote.
use std::path::Path;

use mlqa_eval::{Dataset, DatasetName, Language};

use crate::{TranslateError, TranslateReport, Translated};

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
        folder.join(name.to_string())
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
