//! The official scripts' whole work: two files in, a score out.
use std::collections::HashSet;
use std::path::Path;

use crate::borrowed::{File, Golds, predictions as predictions_of};
use crate::files::{parse_json, read_text, read_without_texts};
use crate::metric::score_by;
use crate::passed_over::without_texts;
use crate::predictions::EXPECTED;
use crate::{Dataset, EvalError, Normalization, Predictions, Score, score, squad};

/// The score of a question file, read as far as scoring needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredFile {
    /// The question file's `version`, if it has one.
    pub version: Option<String>,
    /// The score.
    pub score: Score,
}

/// Scores a file of predictions, as [`score`](crate::score) does after [`Dataset::read`] and
/// [`Predictions::read`], in a fraction of the time: contexts and questions are passed over, so
/// that neither bad escapes in them nor misplaced answers are noticed.
///
/// ```
/// use mlqa_eval::{Language, Normalization, score_files};
///
/// let folder = "../testkit/fixtures/scorer/zh";
/// let [dataset, predictions] = ["dataset", "predictions"].map(|n| format!("{folder}/{n}.json"));
/// let scored = score_files(dataset, predictions, Normalization::Mlqa(Language::ZH))?;
/// assert_eq!(scored.score.f1, 64.98532601243599);
/// # Ok::<(), mlqa_eval::EvalError>(())
/// ```
///
/// # Errors
/// As of the three.
pub fn score_files(
    dataset: impl AsRef<Path>,
    predictions: impl AsRef<Path>,
    rules: Normalization,
) -> Result<ScoredFile, EvalError> {
    let (path, predictions_path) = (dataset.as_ref(), predictions.as_ref());
    // What can be read twice is read again where something is wrong, for the error.
    let whole = match path.is_file() && path != Path::new("-") {
        true => None,
        false => Some(read_text(path)?),
    };
    let squeezed = || match &whole {
        None => read_without_texts(path),
        Some(text) => {
            Ok(without_texts(text.as_bytes()).ok().and_then(|t| String::from_utf8(t).ok()))
        }
    };
    let said = || read_text(predictions_path);
    // Both from standard input cannot be, but then the question file is what is there.
    let (text, said) = rayon::join(squeezed, said);
    let text = text?;
    let parse_file = || text.as_deref().and_then(File::<Golds<'_>>::parse);
    let parse_said = || said.as_deref().ok().and_then(predictions_of);
    let (file, by_id) = rayon::join(parse_file, parse_said);
    let (Some(file), Some(by_id)) = (file, by_id) else {
        let text = whole.map_or_else(|| read_text(path), Ok)?;
        return score_slowly(&text, path, said, predictions_path, rules);
    };
    let golds = &file.data.0;
    let score = || {
        score_by(
            path,
            &golds.questions,
            |(id, _)| (&**id, by_id.get(id).map(|answer| &**answer)),
            |(_, answers)| golds.of(answers),
            rules,
        )
    };
    let (unique, score) = rayon::join(|| check_ids(golds, path), score);
    unique?;
    Ok(ScoredFile { version: file.version.map(|text| text.0.into_owned()), score: score? })
}

fn check_ids(golds: &Golds<'_>, path: &Path) -> Result<(), EvalError> {
    let mut seen: HashSet<&str, ahash::RandomState> = HashSet::default();
    seen.reserve(golds.questions.len());
    match golds.questions.iter().find(|(id, _)| !seen.insert(id)) {
        None => Ok(()),
        Some((id, _)) => {
            let (path, id) = (path.to_path_buf(), id.clone().into_owned());
            Err(EvalError::DuplicateQuestion { path, id })
        }
    }
}

/// The same by way of everything that the files hold, for the errors.
fn score_slowly(
    text: &str,
    path: &Path,
    said: Result<String, EvalError>,
    predictions: &Path,
    rules: Normalization,
) -> Result<ScoredFile, EvalError> {
    let dataset = Dataset::from_squad(squad::File::parse(text, path)?, path)?;
    let said = Predictions(parse_json(&said?, predictions, EXPECTED)?);
    let score = score(&dataset, &said, rules)?;
    Ok(ScoredFile { version: dataset.version, score })
}
