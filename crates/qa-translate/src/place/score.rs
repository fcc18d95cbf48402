//! Conditional probabilities of texts, and a file format that other programs can write.
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A request for the probability of a text given another text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreRequest {
    /// The language of `source`.
    pub from: Language,
    /// The language of `target`.
    pub to: Language,
    /// The text on which the probability is conditioned.
    pub source: String,
    /// The text to score.
    pub target: String,
}

/// The logarithmic probability `ln p(target | source)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextScore {
    /// Natural logarithm of the probability of the whole target; finite.
    pub total: f64,
    /// Value and range in code points of each token; may be empty if unknown.
    pub tokens: Vec<(Range<usize>, f64)>,
}

/// A scorer of texts.
pub trait ScoreText {
    /// Returns one score for each request, in order.
    ///
    /// # Errors
    /// If scoring fails as a whole.
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error>;
}

impl<S: ScoreText + ?Sized> ScoreText for &mut S {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        (**self).score(requests)
    }
}

/// A line of a file of scores.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    from: Language,
    to: Language,
    source: String,
    target: String,
    total: f64,
    #[serde(default)]
    tokens: Vec<(usize, usize, f64)>,
}

impl Line {
    /// Checks the values, and returns the request and its score.
    fn validate(self) -> Result<(ScoreRequest, TextScore), String> {
        let Self { from, to, source, target, total, tokens } = self;
        let length = target.chars().count();
        let is_in_target = |&(start, end, _): &(usize, usize, f64)| start <= end && end <= length;
        let is_finite = total.is_finite() && tokens.iter().all(|(.., score)| score.is_finite());
        if !is_finite || !tokens.iter().all(is_in_target) {
            return Err("a number that is not finite, or a token outside the text".into());
        }
        let tokens = tokens.into_iter().map(|(start, end, score)| (start..end, score)).collect();
        Ok((ScoreRequest { from, to, source, target }, TextScore { total, tokens }))
    }
}

/// Reads scores from a JSONL file with one `{"from": "en", "to": "de", "source": "…", "target":
/// "…", "total": -3.2, "tokens": [[0, 4, -1.1], …]}` per line; `tokens` are optional.
///
/// Missing requests are written to another file, as lines without scores, and an error is returned.
/// To continue, compute the scores of these lines with another program, add them to the file of
/// scores and run the method again. A method that scores in several rounds needs one run per round.
#[derive(Debug)]
pub struct FileScorer {
    path: PathBuf,
    missing_path: PathBuf,
    scores: HashMap<ScoreRequest, TextScore>,
}

impl FileScorer {
    /// Reads the file, plain or gzip-compressed; a missing file counts as empty. Missing requests
    /// are written to `missing_path`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Score`] for the first line that is not a score, contains a value
    /// that is not finite, or contradicts an earlier line.
    pub fn read(path: impl AsRef<Path>, missing_path: impl AsRef<Path>) -> Result<Self, Error> {
        let (path, missing_path) = (path.as_ref(), missing_path.as_ref().to_owned());
        let bytes = match atomic_file::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            result => result.map_err(Error::io(path, "read the file"))?,
        };
        let mut scores = HashMap::new();
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let line_error =
                |got: String| Error::Score { path: path.to_owned(), line: number, got };
            let line: Line =
                serde_json::from_slice(line).map_err(|error| line_error(error.to_string()))?;
            let (request, score) = line.validate().map_err(line_error)?;
            let previous = scores.insert(request, score.clone());
            if previous.is_some_and(|previous| previous != score) {
                return Err(line_error("a second score of the same texts; keep one".into()));
            }
        }
        Ok(Self { path: path.to_owned(), missing_path, scores })
    }
}

impl ScoreText for FileScorer {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        let missing: BTreeSet<&ScoreRequest> =
            requests.iter().filter(|request| !self.scores.contains_key(request)).collect();
        if missing.is_empty() {
            let scores = requests.iter().filter_map(|request| self.scores.get(request).cloned());
            return Ok(scores.collect());
        }
        let mut lines = String::new();
        for request in &missing {
            let line = serde_json::to_string(request)
                .map_err(|error| Error::io(&self.missing_path, "write the file")(error.into()))?;
            lines.push_str(&line);
            lines.push('\n');
        }
        let (missing_path, count) = (self.missing_path.clone(), missing.len());
        atomic_file::write(&missing_path, lines)
            .map_err(Error::io(&missing_path, "write the file"))?;
        Err(Error::Unscored { path: self.path.clone(), count, missing_path })
    }
}

/// Returns the scores of all requests, and checks their number.
pub(super) fn score_all(
    scorer: &mut impl ScoreText,
    requests: &[ScoreRequest],
) -> Result<Vec<TextScore>, Error> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let scores = scorer.score(requests)?;
    if scores.len() != requests.len() {
        return Err(Error::Count { expected: requests.len(), got: scores.len() });
    }
    Ok(scores)
}
