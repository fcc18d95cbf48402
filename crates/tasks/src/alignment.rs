//! Projection of answers to translations by token alignment, without markers.
//!
//! Text and translation are encoded separately. The similarity of two tokens, which
//! [`qa_translate::project()`] requires, is the cosine of the tokens' hidden states.
use std::ops::Range;

use ndarray::Array2;
use qa_translate::{ProjectionConfig, project};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};
use tokenizer_file::trim_removed_start;
use tokenizers::Tokenizer;
use torch_ext::{to_i64, to_usize};
use xlmr_model::{Inputs, Model, SpecialTokens};

use crate::{Error, Result, pooling};

/// Hidden states used to represent a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenStates {
    /// The output of one layer, counted from 1; 0 selects the embeddings.
    Layer(usize),
    /// The mean of the outputs of the last n layers.
    MeanOfLast(usize),
}

/// Options of [`AnswerAligner`].
///
/// # Example
/// ```
/// use tasks::alignment::{AlignmentConfig, HiddenStates};
///
/// let config: AlignmentConfig = toml::from_str("states = { layer = 8 }").unwrap();
/// assert_eq!(config.states, HiddenStates::Layer(8));
/// assert!(config.center);
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignmentConfig {
    /// Hidden states used to represent a token.
    pub states: HiddenStates,
    /// Whether to subtract each text's mean hidden state, which removes language-specific
    /// components. The key in files is `centre`.
    #[serde(rename = "centre", alias = "center")]
    pub center: bool,
    /// κ: `κ (i/I − j/J)²` is subtracted from the similarity of token i of I and token j of J,
    /// which favours tokens at similar positions. SimAlign's distortion correction (Jalili Sabet et
    /// al. 2020) instead multiplies the similarity by one minus this penalty.
    pub distortion: f64,
    /// Options for projecting spans with the similarities.
    pub project: ProjectionConfig,
}

impl Default for AlignmentConfig {
    fn default() -> Self {
        Self {
            states: HiddenStates::MeanOfLast(2),
            center: true,
            distortion: 0.0,
            project: ProjectionConfig::default(),
        }
    }
}

impl AlignmentConfig {
    /// Validates every value against a model.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, model: &Model) -> Result<()> {
        let layers = to_usize(model.config().num_hidden_layers);
        match self.states {
            HiddenStates::Layer(layer) if layer > layers => {
                let rule = format!("at most {layers}, the number of layers");
                return Err(Error::config("states.layer", layer, rule));
            }
            HiddenStates::MeanOfLast(count) if !(1..=layers).contains(&count) => {
                let rule = format!("from 1 to {layers}, the number of layers");
                return Err(Error::config("states.mean_of_last", count, rule));
            }
            _ => {}
        }
        match self.distortion.is_finite() && self.distortion >= 0.0 {
            true => Ok(()),
            false => Err(Error::config("distortion", self.distortion, "0 or more")),
        }
    }
}

/// Hidden states of a text's T non-blank tokens.
#[derive(Debug)]
pub struct EncodedText {
    /// Code points `[start, end)` of each token.
    offsets: Vec<(usize, usize)>,
    /// `[T, H]` f32 on the CPU: a unit vector for each token.
    states: Tensor,
}

impl EncodedText {
    /// Returns the offsets of the tokens, in code points.
    pub fn tokens(&self) -> Vec<Range<usize>> {
        self.offsets.iter().map(|&(start, end)| start..end).collect()
    }
}

/// Projects answers to translations of their contexts.
///
/// # Example
/// ```
/// use tasks::alignment::{AlignmentConfig, AnswerAligner};
/// use xlmr_model::{LoadOptions, Pretrained};
///
/// let (base, _) =
///     Pretrained::load("../../data/base", &[], tch::Device::Cpu, LoadOptions::default())?;
/// let config = AlignmentConfig::default();
/// let aligner = AnswerAligner::new(&base.model, &base.tokenizer, base.special_tokens, config)?;
/// let source = aligner.encode("The house is red.")?;
/// let target = aligner.encode("The house is red.")?;
/// let similarity = aligner.similarity(&source, &target)?;
/// // The span of "house" is projected to the equal span of the same text.
/// let span = aligner.project(&similarity, &source, 4..9, &target)?;
/// assert_eq!(span, Some(4..9));
/// # Ok::<(), tasks::Error>(())
/// ```
pub struct AnswerAligner<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    specials: SpecialTokens,
    config: AlignmentConfig,
}

impl<'a> AnswerAligner<'a> {
    /// Creates an aligner and validates the options against the model; `specials` are the special
    /// tokens of the tokenizer, see [`xlmr_model::check_tokenizer`].
    ///
    /// # Errors
    /// The errors of [`AlignmentConfig::validate`].
    pub fn new(
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        specials: SpecialTokens,
        config: AlignmentConfig,
    ) -> Result<Self> {
        config.validate(model)?;
        Ok(Self { model, tokenizer, specials, config })
    }

    /// Encodes a text of any length in windows that overlap by half.
    ///
    /// The hidden state of a token is computed in the window in which the token is farthest from
    /// the window's ends.
    ///
    /// # Errors
    /// [`Error::Tokenizer`]; [`Error::Empty`] if the text has no token; [`Error::Model`] if the
    /// model rejects an input.
    pub fn encode(&self, text: &str) -> Result<EncodedText> {
        let (ids, offsets): (Vec<_>, Vec<_>) = tokenize(self.tokenizer, text)?.into_iter().unzip();
        if offsets.iter().all(Option::is_none) {
            return Err(Error::empty("token in a text to align"));
        }
        let non_blank_tokens = (0..).zip(&offsets).filter_map(|(token, span)| span.map(|_| token));
        let non_blank_tokens: Vec<i64> = non_blank_tokens.collect();
        let states = no_grad(|| -> Result<Tensor> {
            let token_states = self.token_states(&ids)?; // [tokens, H]
            let mut states =
                token_states.f_index_select(0, &Tensor::f_from_slice(&non_blank_tokens)?)?;
            if self.config.center {
                states =
                    states.f_sub(&states.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
            }
            let norms = states.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
            Ok(states.f_div(&norms)?)
        })?;
        Ok(EncodedText { offsets: offsets.into_iter().flatten().collect(), states })
    }

    /// `[tokens, H]` f32 on the CPU: the hidden state of each token, from overlapping windows.
    fn token_states(&self, ids: &[u32]) -> Result<Tensor> {
        let max_tokens = to_usize(self.model.config().max_length());
        // Each window leaves two positions free for the special tokens, which are added later.
        let window_ranges = window_ranges(ids.len(), max_tokens.saturating_sub(2));
        let windows = self.window_states(ids, &window_ranges)?; // [windows, L, H]
        let mut segments = Vec::with_capacity(window_ranges.len());
        for ((window, used), k) in window_ranges.iter().zip(used_ranges(&window_ranges)).zip(0..) {
            // The window starts with a special token, so its text tokens start at index 1.
            let first = to_i64(used.start - window.start) + 1;
            let length = to_i64(used.len());
            segments.push(windows.f_select(0, k)?.f_narrow(0, first, length)?);
        }
        Ok(Tensor::f_cat(&segments, 0)?)
    }

    /// `[windows, L, H]` f32 on the CPU: the selected hidden states of each window, including its
    /// special tokens.
    fn window_states(&self, ids: &[u32], window_ranges: &[Range<usize>]) -> Result<Tensor> {
        let SpecialTokens { bos, eos, .. } = self.specials;
        let rows: Vec<Vec<u32>> = window_ranges
            .iter()
            .map(|window_range| [&[bos], &ids[window_range.clone()], &[eos]].concat())
            .collect();
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let inputs = Inputs::from_rows(&rows, self.model.config().pad_token_id)?;
        let layers = self.model.encode_all(&inputs, false)?;
        let states = match self.config.states {
            HiddenStates::Layer(layer) => layers[layer].shallow_clone(),
            HiddenStates::MeanOfLast(count) => {
                let last = &layers[layers.len() - count..];
                Tensor::f_stack(last, 0)?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?
            }
        };
        Ok(states.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?)
    }

    /// Computes the similarity matrix `[source tokens, target tokens]`: cosines minus the
    /// distortion.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch fails.
    pub fn similarity(&self, source: &EncodedText, target: &EncodedText) -> Result<Array2<f32>> {
        let mut similarity = source.states.f_matmul(&target.states.f_tr()?)?;
        if self.config.distortion > 0.0 {
            let positions = |text: &EncodedText| -> Result<Tensor> {
                let count = to_i64(text.offsets.len());
                let positions = Tensor::f_arange(count, (Kind::Float, Device::Cpu))?;
                Ok(positions.f_div_scalar(count as f64)?)
            };
            let (source, target) = (positions(source)?, positions(target)?);
            let distance = source.f_unsqueeze(1)?.f_sub(&target.f_unsqueeze(0)?)?;
            let penalty = distance.f_square()?.f_mul_scalar(self.config.distortion)?;
            similarity = similarity.f_sub(&penalty)?;
        }
        pooling::to_array("similarity", &similarity)
    }

    /// Projects `span` from the source text to the target text, in code points; `None` if nothing
    /// is aligned.
    ///
    /// `similarity` is the result of [`similarity`](Self::similarity), which is the same for all
    /// spans of the two texts.
    ///
    /// # Errors
    /// [`Error::Data`] if the span contains no token of the source; [`Error::Translate`] if the
    /// shape of `similarity` does not match the texts.
    pub fn project(
        &self,
        similarity: &Array2<f32>,
        source: &EncodedText,
        span: Range<usize>,
        target: &EncodedText,
    ) -> Result<Option<Range<usize>>> {
        let overlaps = |&(start, end): &(usize, usize)| start < span.end && end > span.start;
        let first = source.offsets.iter().position(overlaps);
        let last = source.offsets.iter().rposition(overlaps);
        let (first, last) = first.zip(last).ok_or_else(|| {
            Error::data("span", "code points of a token", format!("no token in {span:?}"))
        })?;
        let span = project(similarity.view(), first..last + 1, &self.config.project)?;
        Ok(span.map(|tokens| target.offsets[tokens.start].0..target.offsets[tokens.end - 1].1))
    }
}

/// Code points `[start, end)` of a token; `None` for a token that consists of white space.
type TokenSpan = Option<(usize, usize)>;

/// Tokenizes a text without special tokens. Each token has its span in code points, without white
/// space at the ends.
///
/// # Errors
/// [`Error::Tokenizer`].
pub(crate) fn tokenize(tokenizer: &Tokenizer, text: &str) -> Result<Vec<(u32, TokenSpan)>> {
    let trimmed = trim_removed_start(tokenizer, text);
    let encoding = tokenizer.encode_char_offsets(trimmed, false);
    let encoding = encoding.map_err(|error| Error::Tokenizer(error.to_string()))?;
    let characters: Vec<char> = text.chars().collect();
    let offset = characters.len() - trimmed.chars().count();
    let offsets = encoding.get_offsets().iter();
    let token_spans =
        offsets.map(|(start, end)| trim_span(&characters, start + offset, end + offset));
    Ok(encoding.get_ids().iter().copied().zip(token_spans).collect())
}

/// Removes white space from the ends of a span; `None` if nothing remains.
fn trim_span(text: &[char], start: usize, end: usize) -> Option<(usize, usize)> {
    let span = &text[start..end];
    let first = span.iter().position(|c| !c.is_whitespace())?;
    let last = span.iter().rposition(|c| !c.is_whitespace())?;
    Some((start + first, start + last + 1))
}

/// Splits `count` tokens into windows of at most `max_tokens` tokens that start half a window
/// apart; the last window ends with the text.
fn window_ranges(count: usize, max_tokens: usize) -> Vec<Range<usize>> {
    let max_tokens = max_tokens.max(2);
    let mut window_ranges = Vec::new();
    let mut start = 0;
    while start + max_tokens < count {
        window_ranges.push(start..start + max_tokens);
        start += max_tokens / 2;
    }
    window_ranges.push(count.saturating_sub(max_tokens).min(start)..count);
    window_ranges
}

/// Returns, for each window, the range of tokens whose hidden states are taken from this window.
/// The ranges of two adjacent windows meet in the middle of their overlap.
fn used_ranges(window_ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut used_ranges = Vec::with_capacity(window_ranges.len());
    let mut start = 0;
    for (index, window) in window_ranges.iter().enumerate() {
        let end = match window_ranges.get(index + 1) {
            Some(next) => next.start + (window.end - next.start) / 2,
            None => window.end,
        };
        used_ranges.push(start..end);
        start = end;
    }
    used_ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{model, specials, tokenizer};

    #[test]
    fn windows_overlap_and_each_token_is_used_once() {
        assert_eq!(window_ranges(7, 10), std::slice::from_ref(&(0..7)));
        assert_eq!(window_ranges(10, 10), std::slice::from_ref(&(0..10)));
        assert_eq!(window_ranges(22, 10), [0..10, 5..15, 10..20, 12..22]);
        assert_eq!(used_ranges(&window_ranges(22, 10)), [0..7, 7..12, 12..16, 16..22]);
        for count in 1..60 {
            for max_tokens in 2..12 {
                let window_ranges = window_ranges(count, max_tokens);
                let used_ranges = used_ranges(&window_ranges);
                let mut next = 0;
                for (window, used) in window_ranges.iter().zip(&used_ranges) {
                    assert!(
                        window.len() <= max_tokens
                            && window.start <= used.start
                            && used.end <= window.end
                    );
                    assert_eq!(used.start, next);
                    next = used.end;
                }
                assert_eq!((next, used_ranges.len()), (count, window_ranges.len()));
            }
        }
    }

    #[test]
    fn a_text_is_projected_onto_itself_beyond_the_window() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let text: String = (0..120).map(|k| format!("word{k} und {k}. ")).collect();
        let config = AlignmentConfig { distortion: 0.5, ..AlignmentConfig::default() };
        let aligner = AnswerAligner::new(&model, &tokenizer, specials(), config).unwrap();
        let encoded = aligner.encode(&text).unwrap();
        assert!(encoded.offsets.len() > 300);
        let similarity = aligner.similarity(&encoded, &encoded).unwrap();
        for answer in ["word3 und", "77", "word119 und 119."] {
            let start = text.find(answer).unwrap();
            let span = start..start + answer.len();
            let projected = aligner.project(&similarity, &encoded, span.clone(), &encoded).unwrap();
            assert_eq!(projected, Some(span), "{answer}");
        }
        let error = aligner.project(&similarity, &encoded, 99_999..100_000, &encoded).unwrap_err();
        assert!(error.to_string().contains("no token in"), "{error}");
    }

    #[test]
    fn similarity_is_the_cosine_of_the_layers_hidden_states() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let config = AlignmentConfig {
            states: HiddenStates::Layer(1),
            center: false,
            distortion: 0.25,
            ..AlignmentConfig::default()
        };
        let aligner = AnswerAligner::new(&model, &tokenizer, specials(), config).unwrap();
        let texts = ["a b", "c d e"];
        let encoded = texts.map(|text| aligner.encode(text).unwrap());
        let actual = aligner.similarity(&encoded[0], &encoded[1]).unwrap();
        let states = texts.map(|text| {
            let ids = tokenizer.encode(text, true).unwrap();
            let ids: Vec<i64> = ids.get_ids().iter().map(|&id| i64::from(id)).collect();
            let ids = Tensor::from_slice(&ids).view([1, -1]);
            let layers = model.encode_all(&Inputs::new(ids), false).unwrap();
            Vec::<Vec<f32>>::try_from(&layers[1].squeeze_dim(0)).unwrap()
        });
        for i in 0..2 {
            for j in 0..3 {
                let (a, b) = (&states[0][i + 1], &states[1][j + 1]);
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
                };
                let position_difference = i as f64 / 2.0 - j as f64 / 3.0;
                let expected = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
                    - 0.25 * position_difference * position_difference;
                let value = f64::from(actual[(i, j)]);
                assert!((value - expected).abs() < 1e-5, "{i} {j}: {value} {expected}");
            }
        }
    }

    #[test]
    fn invalid_options_are_rejected_and_an_empty_file_has_the_defaults() {
        assert_eq!(toml::from_str::<AlignmentConfig>("").unwrap(), AlignmentConfig::default());
        let parsed: AlignmentConfig = toml::from_str("states = { layer = 2 }").unwrap();
        assert_eq!(parsed.states, HiddenStates::Layer(2));
        let (model, tokenizer) = (model(4000), tokenizer());
        let states = |states| AlignmentConfig { states, ..AlignmentConfig::default() };
        for invalid_config in [
            states(HiddenStates::Layer(3)),
            states(HiddenStates::MeanOfLast(0)),
            states(HiddenStates::MeanOfLast(3)),
            AlignmentConfig { distortion: f64::NAN, ..AlignmentConfig::default() },
        ] {
            assert!(AnswerAligner::new(&model, &tokenizer, specials(), invalid_config).is_err());
        }
        let aligner =
            AnswerAligner::new(&model, &tokenizer, specials(), states(HiddenStates::Layer(0)))
                .unwrap();
        assert!(aligner.encode(" \n").is_err());
    }
}
