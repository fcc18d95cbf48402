//! The official scripts' whole work: two files in, a score out.
use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rayon::prelude::*;

use crate::by_language::{name_languages, split, steps_of};
use crate::dataset::check_ids;
use crate::files::read_text;
use crate::json_tokens::Tokens;
use crate::metric::{Outcome, add_up, outcomes};
use crate::parts;
use crate::questions::{Part, Question, Questions};
use crate::{Dataset, Error, LanguageScores, Normalization, Predictions, Score, score_by_language};

/// The score of a question file, read as far as scoring needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredFile {
    /// The question file's `version`, if it has one.
    pub version: Option<String>,
    /// The score.
    pub score: Score,
    /// That of each language, if the ids of the questions name it as TyDi's do.
    pub languages: Option<LanguageScores>,
}

/// Scores a file of predictions, as [`score`](crate::score) does after [`Dataset::read`] and
/// [`Predictions::read`], in a fraction of the time: contexts and questions are skipped, so that
/// neither bad escapes in them nor misplaced answers are noticed. Without rules each question is
/// scored by those of its language, see [`score_by_language`].
///
/// ```
/// use mlqa_eval::{Language, Normalization, score_files};
///
/// let folder = "../testkit/fixtures/scorer/zh";
/// let [dataset, predictions] = ["dataset", "predictions"].map(|n| format!("{folder}/{n}.json"));
/// let scored = score_files(dataset, predictions, Normalization::Mlqa(Language::ZH))?;
/// assert_eq!(scored.score.f1, 64.98532601243599);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// As of the three, and of [`score_by_language`].
pub fn score_files(
    dataset: impl AsRef<Path>,
    predictions: impl AsRef<Path>,
    rules: impl Into<Option<Normalization>>,
) -> Result<ScoredFile, Error> {
    scored(dataset.as_ref(), predictions.as_ref(), rules.into(), true)
}

/// The same without the results of single questions: [`Score::per_question`] is empty.
///
/// # Errors
/// As [`score_files`].
pub fn score_files_in_total(
    dataset: impl AsRef<Path>,
    predictions: impl AsRef<Path>,
    rules: impl Into<Option<Normalization>>,
) -> Result<ScoredFile, Error> {
    scored(dataset.as_ref(), predictions.as_ref(), rules.into(), false)
}

fn scored(
    path: &Path,
    predictions: &Path,
    rules: Option<Normalization>,
    keep: bool,
) -> Result<ScoredFile, Error> {
    // A file that can be read twice is read again for the error.
    let whole = match path.is_file() && path != Path::new("-") {
        true => None,
        false => Some(read_text(path)?),
    };
    // Of two files from standard input the question file is read.
    let text: OnceLock<Result<String, Error>> = OnceLock::new();
    let given: OnceLock<Option<PredictionFile>> = OnceLock::new();
    let by_id = || {
        let text = text.get_or_init(|| read_text(predictions)).as_deref();
        let read = || text.ok().and_then(|text| PredictionFile::read(text.as_bytes()));
        given.get_or_init(read).as_ref().map(PredictionFile::by_id)
    };
    let (parts, by_id) = rayon::join(|| parse(path, whole.as_deref()), by_id);
    let parts = parts?;
    let (Some(parts), Some(by_id)) = (parts, by_id) else {
        // The same with all that the files hold, for rows and for errors.
        let dataset = match whole {
            Some(text) => Dataset::parse(&text, path)?,
            None => Dataset::read(path)?,
        };
        let answers = text.into_inner().unwrap_or_else(|| read_text(predictions))?;
        let (given, _) = Predictions::parse(&answers, predictions)?;
        let (score, languages) = score_by_language(&dataset, &given, rules)?;
        return Ok(ScoredFile { version: dataset.version, score, languages });
    };
    let steps = rules.map(Normalization::steps);
    let twice = AtomicBool::new(false);
    let of_part = |part: &Questions| {
        let prediction = |question: &Question| {
            let given = by_id.get(part.id(question))?;
            if given.used.swap(true, Relaxed) {
                twice.store(true, Relaxed);
            }
            Some(given.answer)
        };
        let steps = |question: &Question| steps_of(steps, part.id(question));
        outcomes(&part.questions, prediction, |question| part.answers(question), steps)
    };
    let outcomes: Option<Vec<Vec<Outcome>>> = parts.par_iter().map(of_part).collect();
    let ids = || parts.iter().flat_map(Questions::ids);
    let named = name_languages(ids());
    let score = outcomes
        .ok_or_else(|| Error::NoLanguage { path: path.to_path_buf() })
        .and_then(|all| add_up(path, ids().zip(all.into_iter().flatten()), keep || named));
    let unanswered = score.as_ref().map_or(0, |score| score.unanswered.len());
    // Two questions of one id use one prediction, or none.
    if twice.into_inner() || unanswered > 1 || score.is_err() {
        check_ids(ids(), path)?;
    }
    let version = parts.into_iter().find_map(|golds| golds.version);
    let mut score = score?;
    let languages = if named { split(path, &score.per_question, rules)? } else { None };
    if !keep {
        score.per_question.clear();
    }
    Ok(ScoredFile { version, score, languages })
}

/// Parts of a file that are read at once; more than threads, since predictions are read meanwhile.
const MOST: usize = 16;

/// The question file in parts; `None` where the full parser has to say what is wrong.
fn parse(path: &Path, whole: Option<&str>) -> Result<Option<Vec<Questions>>, Error> {
    let failed = |source| Error::Read { path: path.to_path_buf(), source };
    if let Some(text) = whole {
        let golds = Questions::read(text.as_bytes(), Part::WHOLE).map_err(failed)?;
        return Ok(golds.map(|golds| vec![golds]));
    }
    let count = MOST.min(2 * rayon::current_num_threads());
    let ranges = parts::ranges(path, count as u64).map_err(failed)?;
    let Some(length) = ranges.last().map(|last| last.end) else {
        let golds = whole_file::open(path)
            .and_then(|file| Questions::read(file.take(whole_file::LONGEST_FILE), Part::WHOLE));
        return Ok(golds.map_err(failed)?.map(|golds| vec![golds]));
    };
    whole_file::remember_input(path);
    let read = |range| {
        let source = parts::open(path, range)?;
        Questions::read(source, parts::part(range, length))
    };
    let all: Option<Vec<Questions>> =
        ranges.par_iter().map(read).collect::<io::Result<_>>().map_err(failed)?;
    // A key that comes twice is an error.
    let named = |all: &Vec<Questions>| all.iter().filter(|part| part.version.is_some()).count() < 2;
    Ok(all.filter(named))
}

/// A file of predictions.
#[derive(Default)]
struct PredictionFile {
    /// Ids and answers, one after the other.
    text: String,
    /// Of each an id and an answer.
    entries: Vec<[Range<usize>; 2]>,
}

/// A prediction.
struct Prediction<'a> {
    answer: &'a str,
    /// Whether a question has it.
    used: AtomicBool,
}

impl PredictionFile {
    /// Of a text; `None` where it holds something else.
    fn read(source: impl Read) -> Option<Self> {
        let (mut given, mut tokens) = (Self::default(), Tokens::new(source));
        let Self { text, entries } = &mut given;
        tokens.require(b'{').ok()?;
        let mut more = !tokens.takes(b'}').ok()?;
        while more {
            let id = tokens.text(text).ok()?;
            tokens.require(b':').ok()?;
            entries.push([id, tokens.text(text).ok()?]);
            more = tokens.takes(b',').ok()?;
            if !more {
                tokens.require(b'}').ok()?;
            }
        }
        // A single row of predictions is an object of texts, too.
        let row = entries.iter().any(|[id, _]| text.get(id.clone()) == Some("prediction_text"));
        (tokens.peek().ok()?.is_none() && !row).then_some(given)
    }

    /// By their ids; of two for one, the last.
    fn by_id(&self) -> HashMap<&str, Prediction<'_>, ahash::RandomState> {
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        let used = || AtomicBool::new(false);
        let prediction = |answer| Prediction { answer: text(answer), used: used() };
        self.entries.iter().map(|[id, answer]| (text(id), prediction(answer))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_predictions_counts() {
        let text = r#"{"a": "x", "b\n": "\u00e9", "a": "y"}"#;
        let given = PredictionFile::read(text.as_bytes()).unwrap();
        let all = given.by_id();
        assert_eq!((all.len(), all["a"].answer, all["b\n"].answer), (2, "y", "\u{e9}"));
        assert!(PredictionFile::read("{ }".as_bytes()).unwrap().by_id().is_empty());
        for text in [r#"{"a": "x"} 1"#, r#"{"a": 1}"#, "[]", r#"{"a": "x""#, r#"{"a": "x",}"#] {
            assert!(PredictionFile::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
