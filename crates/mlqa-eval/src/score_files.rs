//! The official scripts' whole work: two files in, a score out.
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rayon::prelude::*;

use crate::borrowed::predictions as predictions_of;
use crate::files::{parse_json, read_text, read_without_texts};
use crate::golds::Golds;
use crate::metric::{Outcome, add_up, outcomes};
use crate::parts;
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
    scored(dataset.as_ref(), predictions.as_ref(), rules, true)
}

/// The same without the results of single questions: [`Score::per_question`] is empty.
///
/// # Errors
/// As [`score_files`].
pub fn score_files_in_total(
    dataset: impl AsRef<Path>,
    predictions: impl AsRef<Path>,
    rules: Normalization,
) -> Result<ScoredFile, EvalError> {
    scored(dataset.as_ref(), predictions.as_ref(), rules, false)
}

fn scored(
    path: &Path,
    predictions: &Path,
    rules: Normalization,
    keep: bool,
) -> Result<ScoredFile, EvalError> {
    // What can be read twice is read again where something is wrong, for the error.
    let whole = match path.is_file() && path != Path::new("-") {
        true => None,
        false => Some(read_text(path)?),
    };
    // Both from standard input cannot be, but then the question file is what is there.
    let said: OnceLock<Result<String, EvalError>> = OnceLock::new();
    let texts: Vec<OnceLock<String>> = std::iter::repeat_with(OnceLock::new).take(MOST).collect();
    let parse_said = || {
        let said = said.get_or_init(|| read_text(predictions));
        said.as_deref().ok().and_then(predictions_of)
    };
    let (files, by_id) = rayon::join(|| parse(path, whole.as_deref(), &texts), parse_said);
    let files = files?;
    let (Some(files), Some(by_id)) = (files, by_id) else {
        let text = whole.map_or_else(|| read_text(path), Ok)?;
        let said = said.into_inner().unwrap_or_else(|| read_text(predictions));
        return score_slowly(&text, path, said, predictions, rules);
    };
    let twice = AtomicBool::new(false);
    let of_part = |golds: &Golds<'_>| {
        let said = |(id, _): &(Cow<'_, str>, _)| {
            let said = by_id.get(&**id)?;
            if said.asked.swap(true, Relaxed) {
                twice.store(true, Relaxed);
            }
            Some(&*said.answer)
        };
        outcomes(&golds.questions, said, |(_, answers)| golds.of(answers), rules)
    };
    let outcomes: Vec<Vec<Outcome>> = files.par_iter().map(of_part).collect();
    let ids = || files.iter().flat_map(|golds| &golds.questions).map(|(id, _)| &**id);
    let score = add_up(path, ids().zip(outcomes.into_iter().flatten()), keep);
    let unanswered = score.as_ref().map_or(0, |score| score.unanswered.len());
    // Two questions of one id ask for one prediction, or for none.
    if twice.into_inner() || unanswered > 1 || score.is_err() {
        check_ids(ids(), path)?;
    }
    let version = files.into_iter().find_map(|golds| golds.version);
    Ok(ScoredFile { version: version.map(|text| text.0.into_owned()), score: score? })
}

/// Parts of a file that are read at once; more than threads, since predictions are read beside.
const MOST: usize = 16;

/// The question file, in parts that lie in `texts`; `None` where a look at everything has to say
/// what is wrong.
fn parse<'a>(
    path: &Path,
    whole: Option<&str>,
    texts: &'a [OnceLock<String>],
) -> Result<Option<Vec<Golds<'a>>>, EvalError> {
    let failed = |source| EvalError::Read { path: path.to_path_buf(), source };
    let count = texts.len().min(2 * rayon::current_num_threads());
    let ranges = match whole {
        None => parts::ranges(path, count as u64).map_err(failed)?,
        Some(_) => Vec::new(),
    };
    let squeezed = match (whole, ranges.last()) {
        (Some(text), _) => without_texts(text.as_bytes()).map_err(failed)?,
        (None, None) => read_without_texts(path)?,
        (None, Some(last)) => {
            whole_file::remember_input(path);
            let length = last.end;
            let part = |(range, place): (&Range<u64>, &'a OnceLock<String>)| {
                let Some(json) = parts::read(path, range, length).map_err(failed)? else {
                    return Ok(None);
                };
                let Ok(json) = String::from_utf8(json) else { return Ok(None) };
                let json = place.get_or_init(|| json);
                Ok(Golds::parse_part(json, range.end == length))
            };
            let parts: Option<Vec<Golds<'a>>> =
                ranges.par_iter().zip(texts).map(part).collect::<Result<_, EvalError>>()?;
            // A key that comes twice is an error.
            let named = |parts: &Vec<Golds<'_>>| {
                parts.iter().filter(|part| part.version.is_some()).count() < 2
            };
            return Ok(parts.filter(named));
        }
    };
    let text = String::from_utf8(squeezed).ok();
    let text = text.zip(texts.first()).map(|(text, place)| place.get_or_init(|| text));
    Ok(text.and_then(|text| Golds::parse(text)).map(|golds| vec![golds]))
}

fn check_ids<'a>(ids: impl Iterator<Item = &'a str>, path: &Path) -> Result<(), EvalError> {
    let mut seen: HashSet<&str, ahash::RandomState> = HashSet::default();
    for id in ids {
        if !seen.insert(id) {
            let (path, id) = (path.to_path_buf(), id.to_owned());
            return Err(EvalError::DuplicateQuestion { path, id });
        }
    }
    Ok(())
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
