//! Answers carried over to a translation by the encoder's own alignment of tokens, without markers.
//!
//! Both texts go through the encoder alone; the cosine of their hidden states is the similarity that
//! [`qa_translate::project()`] reads.
use std::ops::Range;

use anyhow::{Context, Result, anyhow, ensure};
use ndarray::Array2;
use objectives::tch::{Device, Kind, Tensor, no_grad};
use qa_translate::{ProjectConfig, project};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use trainer::{pad_mask, pad_rows};
use xlmr_model::{Inputs, Model, SpecialTokens, check_tokenizer};

/// Which hidden states stand for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum States {
    /// The output of one layer, from 1; 0 is the embeddings.
    Layer(usize),
    /// The mean of the last so many layers' outputs.
    MeanOfLast(usize),
}

/// How answers are carried over.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectionConfig {
    /// Which hidden states stand for a token.
    pub states: States,
    /// Whether each text's mean state is subtracted first, which takes away what all tokens of a language share.
    pub centre: bool,
    /// κ: `κ (i/I − j/J)²` is subtracted from the similarity of token i of I and token j of J, so that tokens at like
    /// places are preferred. In the manner of SimAlign's distortion correction (Jalili Sabet et al. 2020), which
    /// multiplies by one minus it.
    pub distortion: f64,
    /// How the similarity is read.
    pub project: ProjectConfig,
}

impl Default for ProjectionConfig {
    fn default() -> Self {
        Self {
            states: States::MeanOfLast(2),
            centre: true,
            distortion: 0.0,
            project: ProjectConfig::default(),
        }
    }
}

/// A text as the encoder sees it.
pub struct Encoded {
    /// Code points `[start, end)` of each token that stands for visible text.
    offsets: Vec<(usize, usize)>,
    /// `[T, H]` f32 on the CPU: unit vectors, one for each of `offsets`.
    states: Tensor,
}

/// An encoder that carries answers over.
pub struct Projector<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    specials: SpecialTokens,
    config: ProjectionConfig,
}

impl<'a> Projector<'a> {
    /// Checks tokenizer and configuration against the model.
    ///
    /// # Errors
    /// If the tokenizer is not the model's, or the model lacks the layers asked for.
    pub fn new(
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        config: ProjectionConfig,
    ) -> Result<Self> {
        let specials = check_tokenizer(tokenizer, model.config())?;
        let layers = usize::try_from(model.config().num_hidden_layers)?;
        match config.states {
            States::Layer(layer) => {
                ensure!(layer <= layers, "layer {layer}: the model has {layers}");
            }
            States::MeanOfLast(count) => {
                let within = (1..=layers).contains(&count);
                ensure!(within, "mean_of_last {count}: the model has {layers} layers");
            }
        }
        let distortion = config.distortion;
        ensure!(
            distortion.is_finite() && distortion >= 0.0,
            "distortion {distortion}: must be 0 or more"
        );
        Ok(Self { model, tokenizer, specials, config })
    }

    /// Encodes a text of any length: windows of the model's size that overlap by half, each token with the state of the
    /// window in which it is farthest from the ends.
    ///
    /// # Errors
    /// If the model fails or the text has no token.
    pub fn encode(&self, text: &str) -> Result<Encoded> {
        let encoding = self.tokenizer.encode_char_offsets(text, false);
        let encoding = encoding.map_err(|error| anyhow!("{error}")).context("tokenizer")?;
        let ids: Vec<i64> = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
        let characters: Vec<char> = text.chars().collect();
        let offsets = encoding.get_offsets().iter().map(|&span| visible(&characters, span));
        let offsets: Vec<Option<(usize, usize)>> = offsets.collect();
        ensure!(offsets.iter().any(Option::is_some), "a text without tokens");
        let room = usize::try_from(self.model.config().max_length() - 2)?;
        let cuts = cuts(ids.len(), room);
        let states = no_grad(|| -> Result<Tensor> {
            let windows = self.windows(&ids, &cuts)?; // [windows, L, H]
            let mut parts = Vec::with_capacity(cuts.len());
            for ((cut, kept), row) in cuts.iter().zip(kept(&cuts)).zip(0..) {
                // <s> stands before the window's first token.
                let first = i64::try_from(kept.start - cut.start)? + 1;
                let length = i64::try_from(kept.len())?;
                parts.push(windows.f_select(0, row)?.f_narrow(0, first, length)?);
            }
            let all = Tensor::f_cat(&parts, 0)?; // [tokens, H]
            let places: Vec<i64> = (0..)
                .zip(&offsets)
                .filter_map(|(place, span)| span.is_some().then_some(place))
                .collect();
            let mut states = all.f_index_select(0, &Tensor::f_from_slice(&places)?)?;
            if self.config.centre {
                states =
                    states.f_sub(&states.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
            }
            let norms = states.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
            Ok(states.f_div(&norms)?)
        })?;
        Ok(Encoded { offsets: offsets.into_iter().flatten().collect(), states })
    }

    /// `[windows, L, H]` f32 on the CPU: the chosen states of each window with its special tokens.
    fn windows(&self, ids: &[i64], cuts: &[Range<usize>]) -> Result<Tensor> {
        let rows: Vec<Vec<i64>> = cuts
            .iter()
            .map(|cut| {
                let own = ids.get(cut.clone()).unwrap_or_default();
                [&[i64::from(self.specials.bos)], own, &[i64::from(self.specials.eos)]].concat()
            })
            .collect();
        let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        let inputs = Inputs {
            attention_mask: pad_mask(&rows, Device::Cpu)?,
            ..Inputs::new(pad_rows(&rows, self.model.config().pad_token_id, Device::Cpu)?)
        };
        let all = self.model.encode_all(&inputs, false)?;
        let states = match self.config.states {
            States::Layer(layer) => all.get(layer).context("layer")?.shallow_clone(),
            States::MeanOfLast(count) => {
                let last = all.get(all.len().saturating_sub(count)..).unwrap_or_default();
                Tensor::f_stack(last, 0)?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?
            }
        };
        Ok(states.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?)
    }

    /// `[source tokens, target tokens]`: cosines less the distortion.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn similarity(&self, source: &Encoded, target: &Encoded) -> Result<Array2<f32>> {
        let mut similarity = source.states.f_matmul(&target.states.f_tr()?)?;
        if self.config.distortion > 0.0 {
            let places = |encoded: &Encoded| -> Result<Tensor> {
                let count = i64::try_from(encoded.offsets.len())?;
                let places = Tensor::f_arange(count, (Kind::Float, Device::Cpu))?;
                Ok(places.f_div_scalar(count as f64)?)
            };
            let apart = places(source)?.f_unsqueeze(1)?.f_sub(&places(target)?.f_unsqueeze(0)?)?;
            let penalty = apart.f_square()?.f_mul_scalar(self.config.distortion)?;
            similarity = similarity.f_sub(&penalty)?;
        }
        let shape = (source.offsets.len(), target.offsets.len());
        let flat = Vec::<f32>::try_from(&similarity.f_reshape([-1i64])?.f_contiguous()?)?;
        Ok(Array2::from_shape_vec(shape, flat)?)
    }

    /// The code points of the target text that stand for code points `span` of the source text; `None` where nothing is
    /// aligned. `similarity` is [`Projector::similarity`]'s, which all spans of two texts share.
    ///
    /// # Errors
    /// If the span holds no token of the source.
    pub fn project(
        &self,
        similarity: &Array2<f32>,
        source: &Encoded,
        span: Range<usize>,
        target: &Encoded,
    ) -> Result<Option<Range<usize>>> {
        let covers = |&(start, end): &(usize, usize)| start < span.end && end > span.start;
        let first = source.offsets.iter().position(covers);
        let last = source.offsets.iter().rposition(covers);
        let (first, last) = first.zip(last).with_context(|| format!("no token in {span:?}"))?;
        let found = project(similarity.view(), first..last + 1, &self.config.project)?;
        Ok(found.and_then(|tokens| {
            let start = target.offsets.get(tokens.start)?.0;
            let end = target.offsets.get(tokens.end.checked_sub(1)?)?.1;
            Some(start..end)
        }))
    }
}

/// The span without white space at its ends; `None` if nothing is left.
fn visible(text: &[char], (start, end): (usize, usize)) -> Option<(usize, usize)> {
    let own = text.get(start..end)?;
    let first = own.iter().position(|c| !c.is_whitespace())?;
    let last = own.iter().rposition(|c| !c.is_whitespace())?;
    Some((start + first, start + last + 1))
}

/// Windows of at most `room` tokens over `count`, half a window apart; the last one ends with the text.
fn cuts(count: usize, room: usize) -> Vec<Range<usize>> {
    let room = room.max(2);
    let mut cuts = Vec::new();
    let mut start = 0;
    while start + room < count {
        cuts.push(start..start + room);
        start += room / 2;
    }
    cuts.push(count.saturating_sub(room).min(start)..count);
    cuts
}

/// The part of each window whose states are taken: borders lie in the middle of each overlap.
fn kept(cuts: &[Range<usize>]) -> Vec<Range<usize>> {
    let border = |pair: &[Range<usize>]| match pair {
        [one, next] => next.start + (one.end - next.start) / 2,
        _ => 0,
    };
    let borders: Vec<usize> = cuts.windows(2).map(border).collect();
    let starts = std::iter::once(0).chain(borders.iter().copied());
    let last = cuts.last().map(|cut| cut.end);
    let ends = borders.iter().copied().chain(last);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    fn tokenizer() -> Tokenizer {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        crate::vocabulary::read(&root.join("data/base/tokenizer.json")).unwrap()
    }

    #[test]
    fn windows_overlap_and_every_token_is_taken_once() {
        assert_eq!(cuts(7, 10), std::slice::from_ref(&(0..7)));
        assert_eq!(cuts(10, 10), std::slice::from_ref(&(0..10)));
        assert_eq!(cuts(22, 10), [0..10, 5..15, 10..20, 12..22]);
        assert_eq!(kept(&cuts(22, 10)), [0..7, 7..12, 12..16, 16..22]);
        for count in 1..60 {
            for room in 2..12 {
                let cuts = cuts(count, room);
                let kept = kept(&cuts);
                let mut next = 0;
                for (cut, kept) in cuts.iter().zip(&kept) {
                    assert!(cut.len() <= room && cut.start <= kept.start && kept.end <= cut.end);
                    assert_eq!(kept.start, next);
                    next = kept.end;
                }
                assert_eq!((next, kept.len()), (count, cuts.len()));
            }
        }
    }

    #[test]
    fn a_text_is_projected_onto_itself_beyond_the_window() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let text: String = (0..120).map(|k| format!("word{k} und {k}. ")).collect();
        let config = ProjectionConfig { distortion: 0.5, ..ProjectionConfig::default() };
        let projector = Projector::new(&model, &tokenizer, config).unwrap();
        let encoded = projector.encode(&text).unwrap();
        assert!(encoded.offsets.len() > 300);
        let similarity = projector.similarity(&encoded, &encoded).unwrap();
        for answer in ["word3 und", "77", "word119 und 119."] {
            let start = text.find(answer).unwrap();
            let span = start..start + answer.len();
            let found = projector.project(&similarity, &encoded, span.clone(), &encoded).unwrap();
            assert_eq!(found, Some(span), "{answer}");
        }
        let error =
            projector.project(&similarity, &encoded, 99_999..100_000, &encoded).unwrap_err();
        assert!(error.to_string().contains("no token in"), "{error}");
    }

    #[test]
    fn the_similarity_of_single_texts_is_the_cosine_of_the_layer() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let config = ProjectionConfig {
            states: States::Layer(1),
            centre: false,
            distortion: 0.25,
            ..ProjectionConfig::default()
        };
        let projector = Projector::new(&model, &tokenizer, config).unwrap();
        let texts = ["a b", "c d e"];
        let encoded = texts.map(|text| projector.encode(text).unwrap());
        let got = projector.similarity(&encoded[0], &encoded[1]).unwrap();
        let states = texts.map(|text| {
            let ids = tokenizer.encode(text, true).unwrap();
            let ids: Vec<i64> = ids.get_ids().iter().map(|&id| i64::from(id)).collect();
            let ids = Tensor::from_slice(&ids).view([1, -1]);
            let all = model.encode_all(&Inputs::new(ids), false).unwrap();
            Vec::<Vec<f32>>::try_from(&all[1].squeeze_dim(0)).unwrap()
        });
        for i in 0..2 {
            for j in 0..3 {
                let (a, b) = (&states[0][i + 1], &states[1][j + 1]);
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
                };
                let apart = i as f64 / 2.0 - j as f64 / 3.0;
                let expected = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() - 0.25 * apart * apart;
                let value = f64::from(got[(i, j)]);
                assert!((value - expected).abs() < 1e-5, "{i} {j}: {value} {expected}");
            }
        }
    }

    #[test]
    fn settings_are_checked_and_an_empty_file_holds_the_defaults() {
        assert_eq!(toml::from_str::<ProjectionConfig>("").unwrap(), ProjectionConfig::default());
        let read: ProjectionConfig = toml::from_str("states = { layer = 2 }").unwrap();
        assert_eq!(read.states, States::Layer(2));
        let (model, tokenizer) = (model(4000), tokenizer());
        let states = |states| ProjectionConfig { states, ..ProjectionConfig::default() };
        for bad in [
            states(States::Layer(3)),
            states(States::MeanOfLast(0)),
            states(States::MeanOfLast(3)),
            ProjectionConfig { distortion: f64::NAN, ..ProjectionConfig::default() },
        ] {
            assert!(Projector::new(&model, &tokenizer, bad).is_err());
        }
        let projector = Projector::new(&model, &tokenizer, states(States::Layer(0))).unwrap();
        assert!(projector.encode(" \n").is_err());
    }
}
