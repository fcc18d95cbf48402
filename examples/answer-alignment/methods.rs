//! Methods that project a span, and their scorers: an oracle with a fixed accuracy, or the encoder.
use std::ops::Range;

use anyhow::Result;
use qa_translate::{
    ByAlignment, ByCandidates, ByConstrainedDecoding, ByLinks, BySearch, CandidateScoringConfig,
    CodecConfig, Error, Occurrence, PlaceError, PlaceSpans, Placed, ProjectionConfig, ScoreRequest,
    ScoreText, SearchConfig, SpanTask, Symmetrization, TextScore, Windows, mark, sentence_ranges,
    word_ranges,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tasks::text_scores::{EncoderScorer, MaskedMarkerPlacer};

use crate::cases::Case;
use crate::encoder::{CachedAligner, Encoder};

/// Accuracies of the oracles.
const ORACLE_ACCURACIES: [f64; 3] = [1.0, 0.75, 0.5];

/// Methods that are selected together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum MethodGroup {
    /// Search for the English string
    Search,
    /// Alignment of the encoder's hidden states, with both kinds of links
    Alignment,
    /// Word alignments of --alignments
    Links,
    /// T-Projection and CODEC with oracles
    Oracles,
    /// T-Projection with the encoder's scores
    TProjection,
    /// CODEC by masked markers with the encoder's scores
    Codec,
}

impl MethodGroup {
    /// All groups.
    pub const ALL: [Self; 6] =
        [Self::Search, Self::Alignment, Self::Links, Self::Oracles, Self::TProjection, Self::Codec];

    fn needs_scorer(self) -> bool {
        matches!(self, Self::TProjection | Self::Codec)
    }
}

/// The selected methods, with their models and options.
pub struct Methods<'a> {
    groups: Vec<MethodGroup>,
    /// Aligners with the names of the compared hidden states.
    aligners: Vec<(String, CachedAligner<'a>)>,
    /// Absent if the model has no masked-LM head.
    scorer: Option<EncoderScorer<'a>>,
    /// Links of a word aligner for the texts of the current language.
    pub links: Option<ByLinks>,
}

type NamedMethod<'m> = (String, Box<dyn PlaceSpans + 'm>);

impl<'a> Methods<'a> {
    /// Creates the methods of `groups`; without `layers`, the mean of the last two layers is
    /// compared.
    ///
    /// # Errors
    /// If the encoder has no such layer.
    pub fn new(encoder: &'a Encoder, groups: &[MethodGroup], layers: &[usize]) -> Result<Self> {
        let layers: Vec<Option<usize>> = match layers {
            [] => vec![None],
            layers => layers.iter().copied().map(Some).collect(),
        };
        let aligners = layers.into_iter().map(|layer| {
            let name = layer.map_or("last 2 layers".into(), |layer| format!("layer {layer}"));
            Ok((name, encoder.aligner(layer)?))
        });
        let aligners = aligners.collect::<Result<_>>()?;
        Ok(Self { groups: groups.to_vec(), aligners, scorer: encoder.scorer()?, links: None })
    }

    /// Returns whether a selected method needs the scores of a masked-LM head, which the model does
    /// not have.
    pub fn lacks_scorer(&self) -> bool {
        self.scorer.is_none() && self.groups.iter().any(|group| group.needs_scorer())
    }

    /// Returns the methods for a case, with the titles of their table rows.
    ///
    /// # Errors
    /// If the tokenizer has no marker tokens.
    pub fn for_case(&self, case: &Case) -> Result<Vec<NamedMethod<'_>>> {
        let mut methods = Vec::new();
        for &group in &MethodGroup::ALL {
            if self.groups.contains(&group) {
                self.add_group(group, case, &mut methods)?;
            }
        }
        Ok(methods)
    }

    fn add_group<'m>(
        &'m self,
        group: MethodGroup,
        case: &Case,
        methods: &mut Vec<NamedMethod<'m>>,
    ) -> Result<()> {
        let mut add = |title: String, method: Box<dyn PlaceSpans + 'm>| {
            methods.push((title, method));
        };
        let scorer = self.scorer.as_ref().filter(|_| case.has_encoder_scores);
        match group {
            MethodGroup::Search => {
                let config = SearchConfig { occurrence: Occurrence::Nearest };
                add("search, English string, nearest".into(), Box::new(BySearch { config }));
            }
            MethodGroup::Alignment => {
                for (name, aligner) in &self.aligners {
                    for (links, symmetrization) in SYMMETRIZATIONS {
                        let align = |task: &SpanTask| aligner.align(task);
                        let config =
                            ProjectionConfig { symmetrization, ..ProjectionConfig::default() };
                        let method = ByAlignment { align, config };
                        add(format!("alignment, {name}, {links}"), Box::new(method));
                    }
                }
            }
            MethodGroup::Links => {
                if let Some(links) = &self.links {
                    add("word alignment file".into(), Box::new(links.clone()));
                }
            }
            MethodGroup::Oracles => {
                let equal_scores = t_projection(EqualScores);
                add("T-Projection, all scores equal".into(), Box::new(equal_scores));
                for accuracy in ORACLE_ACCURACIES {
                    let oracle = Oracle::new(case, accuracy);
                    let config = CodecConfig::default();
                    let codec = ByConstrainedDecoding { scorer: oracle.clone(), config };
                    add(format!("CODEC, oracle right in {accuracy}"), Box::new(codec));
                    let title = format!("T-Projection, oracle right in {accuracy}");
                    add(title, Box::new(t_projection(oracle)));
                }
            }
            MethodGroup::TProjection => {
                if let Some(scorer) = scorer {
                    let method = t_projection(scorer.clone());
                    add("T-Projection, encoder".into(), Box::new(method));
                }
            }
            MethodGroup::Codec => {
                if let Some(scorer) = scorer {
                    let method = BySentence(marker_placer(scorer.clone())?);
                    add("CODEC by masked markers, encoder".into(), Box::new(method));
                }
            }
        }
        Ok(())
    }
}

/// How the most similar tokens of both directions become links, with names.
const SYMMETRIZATIONS: [(&str, Symmetrization); 2] =
    [("intersection", Symmetrization::Intersection), ("grow_diag", Symmetrization::GrowDiag)];

/// Maximum number of tokens of both texts for [`marker_placer`]. The method evaluates the encoder
/// once per word of the translation, so longer texts are placed by sentence.
const MAX_MARKER_TOKENS: usize = 154;

/// Returns T-Projection with windows of words as candidates.
pub fn t_projection<S>(scorer: S) -> ByCandidates<Windows, S> {
    ByCandidates { generator: Windows, scorer, config: CandidateScoringConfig::default() }
}

/// Returns CODEC by masked markers, for short texts.
///
/// # Errors
/// If the tokenizer has no marker tokens.
pub fn marker_placer(scorer: EncoderScorer<'_>) -> Result<MaskedMarkerPlacer<'_>> {
    let mut placer = MaskedMarkerPlacer::new(scorer)?;
    placer.max_tokens = placer.max_tokens.min(MAX_MARKER_TOKENS);
    Ok(placer)
}

/// Applies a method to each task separately. Tasks that are too long for the method's scorer have no
/// result, instead of an error for all tasks.
pub struct OneByOne<P>(pub P);

impl<P: PlaceSpans> PlaceSpans for OneByOne<P> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
        tasks.iter().map(|task| place_one(&mut self.0, task)).collect()
    }
}

/// Applies a method to single sentences if the whole texts are too long. The span is projected into
/// the target sentence with the same index as the source sentence. If the two texts have different
/// numbers of sentences, there is no result.
pub struct BySentence<P>(pub P);

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
