//! Text scores of a masked language model, for [`qa_translate::PlaceSpans`].
//!
//! An encoder is not a translation model, so its scores can rank candidates but are not calibrated
//! probabilities.
use std::ops::Range;

use qa_translate::{PlaceError, PlaceSpans, Placed, ScoreRequest, ScoreText, SpanTask, TextScore};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use tokenizer_file::{Layout, LayoutError};
use tokenizers::Tokenizer;
use torch_ext::{to_usize, upload};
use xlmr_model::Model;

use crate::{Error, Result, alignment, inference, pooling};

/// Options of [`EncoderScorer`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScorerConfig {
    /// Maximum tokens of source and target together, without special tokens. A score requires one
    /// forward pass per token of the target.
    pub max_tokens: usize,
    /// Rows per batch.
    pub batch_size: usize,
}

impl Default for ScorerConfig {
    fn default() -> Self {
        Self { max_tokens: 32, batch_size: 64 }
    }
}

/// Scores short texts with a masked-LM head; implements [`ScoreText`] with [`pll`](Self::pll).
///
/// # Example
/// ```
/// use mlqa_eval::Language;
/// use qa_translate::{ScoreRequest, ScoreText};
/// use tasks::text_scores::{EncoderScorer, ScorerConfig};
/// use xlmr_model::{Head, LoadOptions, Pretrained};
///
/// let cpu = tch::Device::Cpu;
/// let (base, _) =
///     Pretrained::load("../../data/base", &[Head::MaskedLm], cpu, LoadOptions::default())?;
/// let mut scorer = EncoderScorer::new(&base.model, &base.tokenizer, ScorerConfig::default())?;
/// let (source, target) = ("the city of Bern".to_owned(), "die Stadt Bern".to_owned());
/// let request = ScoreRequest { from: Language::EN, to: Language::DE, source, target };
/// let score = scorer.score(&[request])?.remove(0);
/// assert_eq!(score.total, score.tokens.iter().map(|(_, score)| score).sum::<f64>());
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone)]
pub struct EncoderScorer<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    layout: Layout,
    mask: u32,
    /// Maximum total number of tokens of two texts that fit the model's positions.
    max_length: usize,
    config: ScorerConfig,
}

/// The token ids of a text, and the range of code points of each token, without white space.
struct Tokens {
    ids: Vec<u32>,
    ranges: Vec<Range<usize>>,
}

/// Spans with their scores.
type ScoredSpans = Vec<(Range<usize>, f64)>;

/// A row of token ids with the mask at index `position`, which replaces the token `id`.
struct MaskedRow {
    row: Vec<u32>,
    position: usize,
    id: u32,
}

impl<'a> EncoderScorer<'a> {
    /// Creates a scorer from a model and its tokenizer; see [`xlmr_model::check_tokenizer`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer has no mask token, or no template for two texts;
    /// [`Error::Model`] if the model has no masked-LM head.
    pub fn new(model: &'a Model, tokenizer: &'a Tokenizer, config: ScorerConfig) -> Result<Self> {
        model.decoder()?;
        let layout = Layout::of(tokenizer).map_err(layout_error)?;
        let mask = layout.mask().map_err(layout_error)?;
        let specials = layout.pair(&[], &[]).map_err(layout_error)?.len();
        let max_length = to_usize(model.config().max_length()).saturating_sub(specials);
        Ok(Self { model, tokenizer, layout, mask, max_length, config })
    }

    /// Computes pseudo-log-likelihoods of targets given their sources (Salazar et al. 2020).
    ///
    /// Each token of the target is masked separately in `<s> source </s></s> target </s>`; its
    /// score is the natural logarithm of the true token's probability. An empty target has a total
    /// of 0.
    ///
    /// The ranges in [`TextScore::tokens`] exclude white space, so a token that consists of white
    /// space has an empty range.
    ///
    /// # Errors
    /// [`qa_translate::Error::TooLong`], before any forward pass, if a request has more tokens than
    /// [`ScorerConfig::max_tokens`] or than the model supports; the model's error if it rejects an
    /// input.
    pub fn pll(&self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>> {
        let (mut masked_rows, mut target_ranges) = (Vec::new(), Vec::with_capacity(requests.len()));
        let limit = self.config.max_tokens.min(self.max_length);
        let (mut too_long_count, mut longest) = (0, 0);
        for request in requests {
            let (source, target) =
                (self.tokenize(&request.source)?, self.tokenize(&request.target)?);
            let total_length = source.ids.len() + target.ids.len();
            if total_length > limit {
                too_long_count += 1;
                longest = longest.max(total_length);
            } else if too_long_count == 0 {
                let row = self.pair_row(&source.ids, &target.ids)?;
                let positions = second_text_start(&row, &target.ids)..;
                masked_rows.extend(
                    positions
                        .zip(&target.ids)
                        .map(|(position, &id)| self.mask_token(&row, position, id)),
                );
                target_ranges.push(target.ranges);
            }
        }
        if too_long_count > 0 {
            return Err(qa_translate::Error::TooLong {
                count: too_long_count,
                requests: requests.len(),
                longest_request: longest,
                max_tokens: limit,
            }
            .into());
        }
        let mut scores = self.log_probabilities(&masked_rows)?.into_iter();
        assert_eq!(
            scores.len(),
            target_ranges.iter().map(Vec::len).sum::<usize>(),
            "each token of the targets has one score"
        );
        let score = |ranges: Vec<Range<usize>>| {
            let tokens: Vec<_> = ranges.into_iter().zip(scores.by_ref()).collect();
            TextScore { total: tokens.iter().map(|(_, score)| score).sum(), tokens }
        };
        Ok(target_ranges.into_iter().map(score).collect())
    }

    fn tokenize(&self, text: &str) -> Result<Tokens> {
        let mut position = 0;
        let tokens = alignment::tokenize(self.tokenizer, text)?.into_iter().map(|(id, range)| {
            let (start, end) = range.unwrap_or((position, position));
            position = end;
            (id, start..end)
        });
        let (ids, ranges) = tokens.unzip();
        Ok(Tokens { ids, ranges })
    }

    fn pair_row(&self, source: &[u32], target: &[u32]) -> Result<Vec<u32>> {
        self.layout.pair(source, target).map_err(layout_error)
    }

    fn mask_token(&self, row: &[u32], position: usize, id: u32) -> MaskedRow {
        let mut row = row.to_vec();
        row[position] = self.mask;
        MaskedRow { row, position, id }
    }

    /// Computes the natural logarithm of each masked token's probability. Vocabulary scores are
    /// computed only at the masks.
    fn log_probabilities(&self, masked: &[MaskedRow]) -> Result<Vec<f64>> {
        let rows: Vec<&[u32]> = masked.iter().map(|masked_row| masked_row.row.as_slice()).collect();
        inference::map_rows(self.model, &rows, self.config.batch_size, |indices, _, hidden| {
            let batch: Vec<&MaskedRow> = indices.iter().map(|&k| &masked[k]).collect();
            let positions: Vec<usize> =
                batch.iter().map(|masked_row| masked_row.position).collect();
            // [B, V]
            let logits = self.model.mlm_logits(&pooling::at_positions(hidden, &positions)?)?;
            let ids: Vec<i64> = batch.iter().map(|masked_row| i64::from(masked_row.id)).collect();
            let ids = upload(&Tensor::f_from_slice(&ids)?.f_view([-1, 1])?, logits.device())?;
            let scores = inference::check_finite(logits)?.f_log_softmax(-1, None::<Kind>)?;
            let scores = scores.f_gather(1, &ids, false)?.f_view([-1])?;
            Ok(Vec::<f64>::try_from(scores.f_to_kind(Kind::Double)?)?)
        })
    }
}

impl ScoreText for EncoderScorer<'_> {
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, qa_translate::Error> {
        Ok(self.pll(requests)?)
    }
}

/// Places a span by the probability of two markers, predicted by a masked-LM head, similar to
/// CODEC.
///
/// The score of an opening marker before token i of the translation and a closing marker after
/// token j is `ln p([ | source marked, <mask> at i) + ln p(] | source marked, [ at i and <mask> at
/// j)`.
///
/// CODEC's objective differs: it is the probability of the complete marked translation under a
/// translation model. The method's name is `codec_mlm`. Markers are single tokens between the
/// tokens of the texts, so brackets in a text are not confused with markers. The cost is one
/// forward pass per opening position, and one per closing position of the `n_best` best opening
/// positions. A pair of texts that exceeds [`max_tokens`](Self::max_tokens) is rejected with
/// [`PlaceError::TooLong`].
pub struct MaskedMarkerPlacer<'a> {
    /// Computes the probabilities. The scorer's maximum number of tokens is not used.
    scorer: EncoderScorer<'a>,
    /// Ids of `[` and `]`.
    markers: [u32; 2],
    /// Number of best positions of the opening marker for which positions of the closing marker are
    /// scored. Default: 5.
    pub n_best: usize,
    /// Maximum span length in words. Default: 16.
    pub max_words: usize,
    /// Maximum number of tokens of both texts with markers, without special tokens. Default: the
    /// model's maximum, which is the upper limit.
    pub max_tokens: usize,
}

impl<'a> MaskedMarkerPlacer<'a> {
    /// Creates a placer with the default options.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if a bracket is not a single token.
    pub fn new(scorer: EncoderScorer<'a>) -> Result<Self> {
        let id = |marker: &str| {
            let id = scorer.tokenizer.token_to_id(marker);
            id.ok_or_else(|| {
                Error::Tokenizer(format!("{marker:?}, which marks spans, is not a single token"))
            })
        };
        let markers = [id("[")?, id("]")?];
        let max_tokens = scorer.max_length;
        Ok(Self { scorer, markers, n_best: 5, max_words: 16, max_tokens })
    }

    /// Scores the candidate spans of a task and returns them, best first; `None` if the texts do
    /// not fit `max_tokens`.
    fn marker_scores(&self, task: &SpanTask) -> Result<Option<ScoredSpans>> {
        task.text()?;
        let [open, close] = self.markers;
        let (source, target) =
            (self.scorer.tokenize(&task.source)?, self.scorer.tokenize(&task.target)?);
        let overlaps = |range: &Range<usize>| {
            !range.is_empty() && range.start < task.span.end && task.span.start < range.end
        };
        let first = source.ranges.iter().position(overlaps);
        let last = source.ranges.iter().rposition(overlaps);
        let (first, last) = first.zip(last).ok_or_else(|| {
            Error::data("span", "code points of a token", format!("no token in {:?}", task.span))
        })?;
        let marked_source = insert_token(&insert_token(&source.ids, last + 1, close), first, open);
        // Both markers are also inserted into the target.
        let max_tokens = self.max_tokens.min(self.scorer.max_length);
        if marked_source.len() + target.ids.len() + 2 > max_tokens {
            return Ok(None);
        }

        let words = qa_translate::word_ranges(&task.target);
        let starts = words.iter().enumerate().filter_map(|(number, word)| {
            let starts_word = |range: &Range<usize>| !range.is_empty() && range.start == word.start;
            Some((number, target.ranges.iter().position(starts_word)?))
        });
        let starts: Vec<(usize, usize)> = starts.collect();
        let rows = starts
            .iter()
            .map(|&(_, position)| self.mask_marker(&marked_source, &target.ids, position, open));
        let rows = rows.collect::<Result<Vec<MaskedRow>>>()?;
        let mut best_starts: Vec<_> =
            starts.into_iter().zip(self.scorer.log_probabilities(&rows)?).collect();
        // The sort is stable: spans with equal scores keep their order.
        best_starts.sort_by(|a, b| b.1.total_cmp(&a.1));
        best_starts.truncate(self.n_best.max(1));

        let (mut rows, mut spans) = (Vec::new(), Vec::new());
        for ((number, start), score) in best_starts {
            let with_open_marker = insert_token(&target.ids, start, open);
            let following_words = words.iter().skip(number).take(self.max_words);
            let from = following_words.clone().next().map_or(0, |word| word.start);
            for word in following_words {
                let ends_word = |range: &Range<usize>| !range.is_empty() && range.end == word.end;
                let Some(end) = target.ranges.iter().rposition(ends_word) else { continue };
                // The closing marker follows the token at `end`, which the opening marker shifts by
                // one.
                rows.push(self.mask_marker(&marked_source, &with_open_marker, end + 2, close)?);
                spans.push((from..word.end, score));
            }
        }
        let scores = self.scorer.log_probabilities(&rows)?;
        let mut scored_spans: ScoredSpans = spans
            .into_iter()
            .zip(scores)
            .map(|((span, open_score), close_score)| (span, open_score + close_score))
            .collect();
        scored_spans.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(Some(scored_spans))
    }

    /// Returns the row of both texts, with a mask instead of `marker` before token `position` of
    /// the target.
    fn mask_marker(
        &self,
        source: &[u32],
        target: &[u32],
        position: usize,
        marker: u32,
    ) -> Result<MaskedRow> {
        let target = insert_token(target, position, marker);
        let row = self.scorer.pair_row(source, &target)?;
        let first = second_text_start(&row, &target);
        Ok(self.scorer.mask_token(&row, first + position, marker))
    }
}

impl PlaceSpans for MaskedMarkerPlacer<'_> {
    fn name(&self) -> &'static str {
        "codec_mlm"
    }

    fn place(
        &mut self,
        tasks: &[SpanTask],
    ) -> Result<Vec<Result<Placed, PlaceError>>, qa_translate::Error> {
        let mut placements = Vec::with_capacity(tasks.len());
        for task in tasks {
            let scored = self.marker_scores(task)?.ok_or(PlaceError::TooLong);
            placements.push(scored.and_then(|spans| {
                let mut spans = spans.into_iter();
                let (span, score) = spans.next().ok_or(PlaceError::NoCandidate)?;
                let runners_up = spans.take(4).collect();
                Ok(Placed { span, score, method: "codec_mlm", runners_up })
            }));
        }
        Ok(placements)
    }
}

/// Returns the index of the second text's first token in a row.
fn second_text_start(row: &[u32], ids: &[u32]) -> usize {
    row.len() - ids.len() - 1
}

/// Inserts `id` before index `position`.
fn insert_token(ids: &[u32], position: usize, id: u32) -> Vec<u32> {
    let (before, after) = ids.split_at(position);
    [before, &[id], after].concat()
}

fn layout_error(error: LayoutError) -> Error {
    Error::Tokenizer(error.to_string())
}

#[cfg(test)]
mod tests;
