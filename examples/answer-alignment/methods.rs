//! Methods that project a span, and their scorers: an oracle with a fixed accuracy, or the encoder.
use std::ops::Range;

use anyhow::Result;
use qa_translate::{
    Alignment, ByAlignment, ByCandidates, ByConstrainedDecoding, ByLinks, BySearch,
    CandidateScoringConfig, CodecConfig, Error, Occurrence, PlaceError, PlaceSpans, Placed,
    ProjectionConfig, ScoreRequest, ScoreText, SearchConfig, SpanTask, TextScore, Windows, mark,
    sentence_ranges, word_ranges,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tasks::alignment::AnswerAligner;
use tasks::text_scores::{EncoderScorer, MaskedMarkerPlacer};

use crate::cases::Case;

/// Accuracies of the oracles.
const ORACLE_ACCURACIES: [f64; 3] = [1.0, 0.75, 0.5];

/// Models and options that the methods use.
pub struct Methods<'a> {
    pub aligner: &'a AnswerAligner<'a>,
    pub projection: &'a ProjectionConfig,
    /// Absent if the model has no masked-LM head.
    pub scorer: Option<EncoderScorer<'a>>,
    /// Links of a word aligner for the texts of the current language.
    pub links: Option<ByLinks>,
}

type NamedMethod<'a> = (String, Box<dyn PlaceSpans + 'a>);

impl<'a> Methods<'a> {
    /// Returns all methods for a case, with the titles of their table rows.
    ///
    /// # Errors
    /// If the tokenizer has no marker tokens.
    pub fn for_case(&self, case: &Case) -> Result<Vec<NamedMethod<'a>>> {
        let occurrence = Occurrence::Nearest;
        let search = BySearch { config: SearchConfig { occurrence } };
        let aligner = self.aligner;
        let align = move |task: &SpanTask| -> Result<Alignment, Error> {
            let source = aligner.encode(&task.source)?;
            let target = aligner.encode(&task.target)?;
            let similarity = aligner.similarity(&source, &target)?;
            let (source_tokens, target_tokens) = (source.tokens(), target.tokens());
            Ok(Alignment { similarity, source_tokens, target_tokens })
        };
        let by_alignment = ByAlignment { align, config: self.projection.clone() };
        let mut methods: Vec<NamedMethod<'a>> = vec![
            ("search, English string, nearest".into(), Box::new(search)),
            ("alignment".into(), Box::new(by_alignment)),
        ];
        if let Some(links) = &self.links {
            methods.push(("word alignment file".into(), Box::new(links.clone())));
        }
        let equal_scores = t_projection(EqualScores);
        methods.push(("T-Projection, all scores equal".into(), Box::new(equal_scores)));
        for accuracy in ORACLE_ACCURACIES {
            let oracle = Oracle::new(case, accuracy);
            let config = CodecConfig::default();
            let codec = ByConstrainedDecoding { scorer: oracle.clone(), config };
            methods.push((format!("CODEC, oracle right in {accuracy}"), Box::new(codec)));
            let projection = t_projection(oracle);
            methods
                .push((format!("T-Projection, oracle right in {accuracy}"), Box::new(projection)));
        }
        if let Some(scorer) = self.scorer.as_ref().filter(|_| case.has_encoder_scores) {
            let projection = t_projection(scorer.clone());
            methods.push(("T-Projection, pll of the encoder".into(), Box::new(projection)));
            let markers = BySentence(MaskedMarkerPlacer::new(scorer.clone())?);
            methods.push(("CODEC by masked markers, the encoder".into(), Box::new(markers)));
        }
        Ok(methods)
    }
}

fn t_projection<S>(scorer: S) -> ByCandidates<Windows, S> {
    ByCandidates { generator: Windows, scorer, config: CandidateScoringConfig::default() }
}

/// Applies a method to single sentences if the whole texts are too long. The span is projected into
/// the target sentence with the same index as the source sentence. If the two texts have different
/// numbers of sentences, there is no result.
struct BySentence<P>(P);

impl<P: PlaceSpans> PlaceSpans for BySentence<P> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
        let mut results = Vec::with_capacity(tasks.len());
        for task in tasks {
            let unsplit_result = place_one(&mut self.0, task)?;
            let too_long = unsplit_result == Err(PlaceError::TooLong);
            let Some((sentence, start)) = sentence_task(task).filter(|_| too_long) else {
                results.push(unsplit_result);
                continue;
            };
            let placed = place_one(&mut self.0, &sentence)?;
            let shift = |span: Range<usize>| span.start + start..span.end + start;
            results.push(placed.map(|mut placed| {
                placed.span = shift(placed.span);
                placed.runners_up.iter_mut().for_each(|runner| runner.0 = shift(runner.0.clone()));
                placed
            }));
        }
        Ok(results)
    }
}

/// Returns the result of a single task. Texts that are too long for the scorer result in a
/// [`PlaceError`].
///
/// # Errors
/// The errors of [`PlaceSpans::place`].
pub fn place_one(
    method: &mut dyn PlaceSpans,
    task: &SpanTask,
) -> Result<Result<Placed, PlaceError>, Error> {
    match method.place(std::slice::from_ref(task)) {
        Err(Error::TooLong { .. }) => Ok(Err(PlaceError::TooLong)),
        placed => Ok(placed?.pop().expect("one task has one placement")),
    }
}

/// Reduces a task to the source sentence that contains the span, and the target sentence with the
/// same index. Also returns the start of the target sentence in the target text.
fn sentence_task(task: &SpanTask) -> Option<(SpanTask, usize)> {
    let (source_sentences, target_sentences) =
        (sentence_ranges(&task.source), sentence_ranges(&task.target));
    let contains_span =
        |range: &Range<usize>| range.start <= task.span.start && task.span.end <= range.end;
    let index = source_sentences
        .iter()
        .position(contains_span)
        .filter(|_| source_sentences.len() == target_sentences.len())?;
    let (source, target) = (&source_sentences[index], &target_sentences[index]);
    let substring = |text: &str, range: &Range<usize>| -> String {
        text.chars().skip(range.start).take(range.len()).collect()
    };
    let sentence = SpanTask {
        source: substring(&task.source, source),
        span: task.span.start - source.start..task.span.end - source.start,
        target: substring(&task.target, target),
        ..task.clone()
    };
    Some((sentence, target.start))
}

/// A scorer that returns equal scores, so that the first candidate is selected.
struct EqualScores;

impl ScoreText for EqualScores {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        Ok(vec![TextScore::default(); requests.len()])
    }
}

/// A scorer for which one target span is far more probable than all others. This is the gold span
/// or, if the oracle is wrong, a different span with as many words as the gold span.
#[derive(Clone)]
struct Oracle {
    task: SpanTask,
    span: Range<usize>,
    text: String,
    marked_target: String,
}

impl Oracle {
    fn new(case: &Case, accuracy: f64) -> Self {
        let (task, gold) = (&case.task, &case.gold);
        let seed =
            case.id.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let words = word_ranges(&task.target);
        let is_in_gold = |word: &&Range<usize>| overlaps(word, gold);
        let length = words.iter().filter(is_in_gold).count().max(1);
        let mut other_spans: Vec<Range<usize>> = words
            .windows(length)
            .map(|window| window[0].start..window[length - 1].end)
            .filter(|other| !overlaps(gold, other))
            .collect();
        let is_correct = rng.random::<f64>() < accuracy || other_spans.is_empty();
        let span = match is_correct {
            true => gold.clone(),
            false => other_spans.swap_remove(rng.random_range(0..other_spans.len())),
        };
        let text = task.target.chars().skip(span.start).take(span.len()).collect();
        let marked_target = mark(&task.target, std::slice::from_ref(&span));
        let marked_target = marked_target.expect("the span is in the target").text;
        Self { task: task.clone(), span, text, marked_target }
    }

    fn text_score(&self, request: &ScoreRequest) -> TextScore {
        let match_score = |matches: bool| if matches { -0.5 } else { -30.0 };
        let is_from_target = request.from == self.task.to;
        if request.target == self.task.target {
            // Markers in the source lower the scores of words near `span`. CODEC searches for such
            // changes to find the words at which the answer may start.
            let is_marked = request.source != self.task.source;
            let is_near = |word: &Range<usize>| {
                word.start <= self.span.end + 1 && self.span.start <= word.end + 1
            };
            let penalty = |word: &Range<usize>| if is_marked && is_near(word) { 1.0 } else { 0.0 };
            let words = word_ranges(&request.target);
            let tokens =
                words.into_iter().map(|word| (word.clone(), -1.0 - penalty(&word))).collect();
            return TextScore { total: -1.0, tokens };
        }
        let total = if request.from == request.to {
            0.0
        } else if is_from_target {
            match_score(request.source == self.text)
        } else {
            match_score(request.target == self.marked_target || request.target == self.text)
        };
        TextScore { total, tokens: Vec::new() }
    }
}

impl ScoreText for Oracle {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error> {
        Ok(requests.iter().map(|request| self.text_score(request)).collect())
    }
}

/// Returns whether two spans share a character.
fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}
