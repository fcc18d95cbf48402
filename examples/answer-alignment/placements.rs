//! Ways to place an answer in a finished translation, side by side: search, alignment, CODEC and
//! T-Projection, the last two with an oracle that is right as often as it is told.
use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};
use mlqa_eval::{Dataset, Language, Normalization, Predictions, Question, score};
use qa_translate::{
    Alignment, ByAlignment, ByCandidates, ByConstrainedDecoding, BySearch, CandidateConfig,
    Candidates, CodecConfig, Error, Occurrence, PlaceSpans, ProjectConfig, ScoreRequest, ScoreText,
    SearchConfig, SpanTask, TextScore, Windows, mark, units,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use results::{Table, bootstrap_means, middle};
use serde::Serialize;
use tasks::alignment::AnswerAligner;

/// Questions measured in each language, evenly from all.
pub const QUESTIONS: usize = 200;

/// How often the oracles are right.
const SHARES: [f64; 3] = [1.0, 0.75, 0.5];

/// What one way found of one question.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    way: String,
    language: Language,
    article: String,
    /// Words of the English answer.
    words: usize,
    found: bool,
    exact: bool,
    /// MLQA's, 0 to 1.
    f1: f64,
}

/// All outcomes.
#[derive(Default, Serialize)]
pub struct Placements {
    outcomes: Vec<Outcome>,
    /// Shares of gold answers that each cut leaves, by language.
    reachable: BTreeMap<&'static str, BTreeMap<String, f64>>,
}

impl Placements {
    /// Measures every way on a translation.
    ///
    /// # Errors
    /// If a question has no source, or a text cannot be encoded.
    pub fn add(
        &mut self,
        aligner: &AnswerAligner<'_>,
        project: &ProjectConfig,
        english: &Dataset,
        target: &Dataset,
        language: Language,
    ) -> Result<()> {
        let sources: BTreeMap<&str, &Question> =
            english.questions.iter().map(|one| (one.id.as_str(), one)).collect();
        let all = &target.questions;
        let evenly =
            (0..QUESTIONS.min(all.len())).map(|k| k * all.len() / QUESTIONS.min(all.len()));
        let (mut by_codec, mut by_windows, mut count) = (0, 0, 0);
        for question in evenly.filter_map(|at| all.get(at)) {
            let source = sources.get(question.id.as_str()).context("id")?;
            let (task, gold) = task(source, question, language)?;
            count += 1;
            by_codec += usize::from(is_span_of_words(&task.target, &gold));
            let candidates = Windows.candidates(&task)?;
            let most = CandidateConfig::default().most;
            by_windows += usize::from(candidates.iter().take(most).any(|one| *one == gold));
            for (way, mut place) in ways(aligner, project, &task, &gold, &question.id) {
                let placed = place.place(std::slice::from_ref(&task))?.pop().and_then(Result::ok);
                let span = placed.map(|placed| placed.span);
                let text: String = span.as_ref().map_or(String::new(), |span| {
                    task.target.chars().skip(span.start).take(span.len()).collect()
                });
                let alone = Dataset {
                    questions: vec![question.clone()],
                    path: target.path.clone(),
                    version: None,
                };
                let predictions = Predictions([(question.id.clone(), text)].into());
                let f1 = score(&alone, &predictions, Normalization::Mlqa(language))?.f1 / 100.0;
                self.outcomes.push(Outcome {
                    way,
                    language,
                    article: question.title.to_string(),
                    words: units(&task.text()?).len(),
                    found: span.is_some(),
                    exact: span == Some(gold.clone()),
                    f1: if span.is_some() { f1 } else { 0.0 },
                });
            }
        }
        let share = |part: usize| 100.0 * part as f64 / count.max(1) as f64;
        for (cut, part) in [("words up to 16", by_codec), ("30 candidates", by_windows)] {
            self.reachable.entry(cut).or_default().insert(language.to_string(), share(part));
        }
        Ok(())
    }

    /// A row for each way: exact spans by language, their mean with its interval (bootstrap over
    /// articles), what was found, F1, and exact spans of short and of long answers.
    pub fn table(&self, languages: &[Language]) -> String {
        let columns = languages.iter().map(ToString::to_string).chain(
            ["mean", "95 %", "found", "F1", "1 word", "2 or 3", "4 and more"].map(str::to_owned),
        );
        let mut table = Table::new("exact spans, %", columns).with_text(&["95 %"]);
        let mut order: Vec<&str> = Vec::new();
        for outcome in &self.outcomes {
            if !order.contains(&outcome.way.as_str()) {
                order.push(&outcome.way);
            }
        }
        for way in order {
            let of = |wanted: &dyn Fn(&Outcome) -> bool, value: fn(&Outcome) -> f64| {
                mean(self.outcomes.iter().filter(|one| one.way == way && wanted(one)).map(value))
            };
            let exact = |one: &Outcome| f64::from(u8::from(one.exact));
            let by_language =
                languages.iter().map(|&language| of(&|one| one.language == language, exact));
            let (low, high) = self.interval(way);
            let cells = by_language
                .chain([of(&|_| true, exact)])
                .map(|value| format!("{value:.1}"))
                .chain([format!("{low:.1} to {high:.1}")])
                .chain(
                    [
                        of(&|_| true, |one| f64::from(u8::from(one.found))),
                        of(&|_| true, |one| one.f1),
                        of(&|one| one.words == 1, exact),
                        of(&|one| (2..4).contains(&one.words), exact),
                        of(&|one| one.words > 3, exact),
                    ]
                    .map(|value| format!("{value:.1}")),
                );
            table.row(way, cells);
        }
        for (cut, shares) in &self.reachable {
            let by_language = languages.iter().filter_map(|one| shares.get(&one.to_string()));
            let shares: Vec<f64> = by_language.copied().collect();
            let all = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
            let cells = shares.into_iter().chain([all]).map(|value| format!("{value:.1}"));
            let empty = std::iter::repeat_n(String::new(), 6);
            table.row(format!("gold spans within {cut}"), cells.chain(empty));
        }
        table.to_string()
    }

    fn interval(&self, way: &str) -> (f64, f64) {
        let mut articles: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for one in self.outcomes.iter().filter(|one| one.way == way) {
            articles.entry(&one.article).or_default().push(f64::from(u8::from(one.exact)));
        }
        let means: Vec<f64> = articles.into_values().map(mean).collect();
        middle(&bootstrap_means(&means, 2000, 1), 0.95)
    }
}

/// In percent.
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.into_iter().fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    100.0 * sum / f64::from(count.max(1))
}

/// A question's answer, to be placed in its translation, and where it stands there.
fn task(source: &Question, target: &Question, to: Language) -> Result<(SpanTask, Range<usize>)> {
    let first = |one: &Question| -> Result<Range<usize>> {
        let answer = one.answers.first().with_context(|| format!("question {}", one.id))?;
        Ok(answer.answer_start..answer.answer_start + answer.text.chars().count())
    };
    let mut task = SpanTask {
        from: Language::EN,
        to,
        source: source.context.to_string(),
        span: first(source)?,
        target: target.context.to_string(),
        answer: None,
    };
    // No translator is at hand: names and numbers are found as they stand.
    task.answer = Some(task.text()?);
    Ok((task, first(target)?))
}

fn is_span_of_words(text: &str, span: &Range<usize>) -> bool {
    let words = units(text);
    let first = words.iter().position(|word| word.start == span.start);
    let last = words.iter().position(|word| word.end == span.end);
    let most = CodecConfig::default().max_words;
    first.zip(last).is_some_and(|(first, last)| first <= last && last - first < most)
}

type Way<'a> = (String, Box<dyn PlaceSpans + 'a>);

fn ways<'a>(
    aligner: &'a AnswerAligner<'_>,
    project: &ProjectConfig,
    task: &SpanTask,
    gold: &Range<usize>,
    id: &str,
) -> Vec<Way<'a>> {
    let occurrence = Occurrence::Nearest;
    let search = BySearch { config: SearchConfig { occurrence, ..SearchConfig::default() } };
    let align = |task: &SpanTask| -> Result<Alignment, Error> {
        let aligned = (|| -> tasks::Result<Alignment> {
            let source = aligner.encode(&task.source)?;
            let target = aligner.encode(&task.target)?;
            let similarity = aligner.similarity(&source, &target)?;
            let (source_tokens, target_tokens) = (source.tokens(), target.tokens());
            Ok(Alignment { similarity, source_tokens, target_tokens })
        })();
        let refuse = |error: tasks::Error| Error::Projection {
            what: "text",
            expected: "one that the encoder reads".into(),
            got: error.to_string(),
        };
        aligned.map_err(refuse)
    };
    let mut all: Vec<Way<'a>> = vec![
        ("search, English string, nearest".into(), Box::new(search)),
        ("alignment".into(), Box::new(ByAlignment { align, config: project.clone() })),
    ];
    for share in SHARES {
        let oracle = Oracle::new(task, gold, share, id);
        let config = CodecConfig::default();
        let codec = ByConstrainedDecoding { scorer: oracle.clone(), config };
        all.push((format!("CODEC, oracle right in {share}"), Box::new(codec)));
        let config = CandidateConfig::default();
        let candidates = ByCandidates { generator: Windows, scorer: oracle, config };
        all.push((format!("T-Projection, oracle right in {share}"), Box::new(candidates)));
    }
    all
}

/// Scores under which one span is far more probable than any other: the gold one or, else, another
/// of as many words.
#[derive(Clone)]
struct Oracle {
    task: SpanTask,
    span: Range<usize>,
    text: String,
    marked: String,
}

impl Oracle {
    fn new(task: &SpanTask, gold: &Range<usize>, share: f64, id: &str) -> Self {
        let seed =
            id.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let words = units(&task.target);
        let inside = |word: &&Range<usize>| word.start < gold.end && gold.start < word.end;
        let length = words.iter().filter(inside).count().max(1);
        let mut others: Vec<Range<usize>> = words
            .windows(length)
            .filter_map(|window| Some(window.first()?.start..window.last()?.end))
            .filter(|other| other.end <= gold.start || gold.end <= other.start)
            .collect();
        let right = rng.random::<f64>() < share || others.is_empty();
        let span = match right {
            true => gold.clone(),
            false => others.swap_remove(rng.random_range(0..others.len())),
        };
        let text = task.target.chars().skip(span.start).take(span.len()).collect();
        let marked =
            mark(&task.target, span.start, span.len()).map_or(String::new(), |one| one.text);
        Self { task: task.clone(), span, text, marked }
    }

    fn of(&self, request: &ScoreRequest) -> TextScore {
        let sure = |is: bool| if is { -0.5 } else { -30.0 };
        let reads_target = request.from == self.task.to;
        if request.target == self.task.target {
            // Markers in the source disturb what stands near the span.
            let disturbed = request.source != self.task.source;
            let near = |word: &Range<usize>| {
                word.start <= self.span.end + 1 && self.span.start <= word.end + 1
            };
            let by = |word: &Range<usize>| if disturbed && near(word) { 1.0 } else { 0.0 };
            let words = units(&request.target);
            let tokens = words.into_iter().map(|word| (word.clone(), -1.0 - by(&word))).collect();
            return TextScore { total: -1.0, tokens };
        }
        let total = if request.from == request.to {
            0.0
        } else if reads_target {
            sure(request.source == self.text)
        } else {
            sure(request.target == self.marked || request.target == self.text)
        };
        TextScore { total, tokens: Vec::new() }
    }
}

impl ScoreText for Oracle {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        Ok(requests.iter().map(|request| self.of(request)).collect())
    }
}
