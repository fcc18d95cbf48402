//! Scores of texts from a server.
use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::caller::{Caller, Outcome, parse};
use super::http::HttpConfig;
use super::journal::Journal;
use crate::place::Line;
use crate::{Error, ScoreRequest, ScoreText, TextScore};

/// A server that answers `POST /score` of `[{"from": "en", "to": "de", "source": "…", "target":
/// "…"}, …]` with as many scores, `[{"total": -3.2, "tokens": [[0, 4, -1.1], …]}, …]`, `tokens`
/// where it knows them; called as [`HttpTranslator`](crate::HttpTranslator) calls.
///
/// Scores are appended to a file in the form of [`FileScorer`](crate::FileScorer) and synced after
/// each request, so that work that was killed asks nothing twice.
pub struct HttpScorer {
    config: HttpConfig,
    caller: Caller,
    journal: Journal,
    scores: HashMap<ScoreRequest, TextScore>,
}

/// Lines of the file with what they say.
type Scored = Vec<(Line, (ScoreRequest, TextScore))>;

/// A score of an answer.
#[derive(Deserialize)]
struct Reply {
    total: f64,
    #[serde(default)]
    tokens: Vec<(usize, usize, f64)>,
}

impl HttpScorer {
    /// Opens the file at `path`, or begins one; the server is not called yet. Languages go by their
    /// own codes, so there are no [`codes`](HttpConfig::codes).
    ///
    /// # Errors
    /// [`Error::Config`] naming the key; [`Error::Io`]; [`Error::Score`] for the first line that is
    /// no score.
    pub fn open(config: HttpConfig, path: impl AsRef<Path>) -> Result<Self, Error> {
        config.validate()?;
        if let Some((language, code)) = config.codes.iter().next() {
            let (value, rule) =
                (format!("{language} = {code:?}"), "empty: scores name their texts");
            return Err(Error::Config { key: "codes", value, rule });
        }
        let path = path.as_ref();
        let mut scores = HashMap::new();
        let journal = Journal::open(path, b"{\"from\":", |line, number| {
            let refuse = |got: String| Error::Score { path: path.to_owned(), line: number, got };
            let line: Line =
                serde_json::from_slice(line).map_err(|error| refuse(error.to_string()))?;
            let (request, score) = line.checked().map_err(refuse)?;
            scores.insert(request, score);
            Ok(())
        })?;
        let caller = Caller::new(&config.url, "/score", None, config.patience());
        Ok(Self { config, caller, journal, scores })
    }

    fn ask(&self, requests: &[&ScoreRequest]) -> Result<Scored, Error> {
        let body = serde_json::to_vec(requests).map_err(|cause| Error::Server {
            url: self.caller.address.clone(),
            problem: cause.to_string(),
            attempts: 0,
        })?;
        self.caller.call(&body, |text| match parse::<Vec<Reply>>(text, "[{\"total\": -3.2}]") {
            Outcome::Answer(replies) if replies.len() == requests.len() => {
                let lines = requests.iter().zip(replies).map(|(&request, reply)| {
                    let line = Line::new(request.clone(), reply.total, reply.tokens);
                    Ok((line.clone(), line.checked()?))
                });
                lines.collect::<Result<_, String>>().map_or_else(Outcome::Refused, Outcome::Answer)
            }
            Outcome::Answer(replies) => {
                let (got, expected) = (replies.len(), requests.len());
                Outcome::Refused(format!("{got} scores in the answer to {expected} texts"))
            }
            Outcome::Again(problem, wait) => Outcome::Again(problem, wait),
            Outcome::Refused(problem) => Outcome::Refused(problem),
        })
    }
}

impl ScoreText for HttpScorer {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        let mut missing: Vec<&ScoreRequest> =
            requests.iter().filter(|request| !self.scores.contains_key(request)).collect();
        missing.sort_unstable();
        missing.dedup();
        for batch in missing.chunks(self.config.batch_size) {
            let (lines, scores): (Vec<Line>, Vec<_>) = self.ask(batch)?.into_iter().unzip();
            self.journal.add(&lines)?;
            self.scores.extend(scores);
        }
        Ok(requests.iter().filter_map(|request| self.scores.get(request).cloned()).collect())
    }
}
