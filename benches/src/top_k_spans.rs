//! Comparisons of `top_k_spans`, which returns the best answer spans, with two formulations that
//! score all pairs of positions: a sort and libtorch's `topk`.
use anyhow::Result;
use objectives::{TopKConfig, top_k_spans};
use tch::{Device, Kind, Tensor};

use crate::case::share_inputs;
use crate::{Case, SEED, Spec};

/// Maximum length of a span in tokens.
const MAX_ANSWER_LEN: i64 = 30;

/// Returns the comparisons of `top_k_spans`.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    let spec = |k| {
        Spec::new("top_k_spans", format!("B=32,L=384,k={k}"), move || case(k, device)).goal(0.05)
    };
    [20, 50].map(spec).into()
}

fn case(k: i64, device: Device) -> Result<Case> {
    let step = share_inputs(Inputs::random(32, 384, k, device)?);
    Ok(Case::new(step("band", Inputs::band), vec![step("all pairs, topk", Inputs::full_topk)])
        .with_unit(step("sort of all pairs", Inputs::full_sort))
        .with_tolerance(1e-6))
}

/// Random logits; the first 16 tokens of every row are outside the context.
struct Inputs {
    logits: [Tensor; 2],
    context_mask: Tensor,
    /// `[B, L · L]`: the score of each span, −∞ for invalid spans.
    span_scores: Tensor,
    k: i64,
}

impl Inputs {
    fn random(batch: i64, length: i64, k: i64, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let logits = || Tensor::f_randn([batch, length], (Kind::Float, device));
        let columns = Tensor::f_arange(length, (Kind::Int64, device))?;
        let context_mask = columns.f_ge(16)?.f_unsqueeze(0)?.f_repeat([batch, 1])?;
        let mut inputs = Self {
            logits: [logits()?, logits()?],
            context_mask,
            span_scores: Tensor::f_zeros([0], (Kind::Float, device))?,
            k,
        };
        inputs.span_scores = inputs.pair_scores()?;
        Ok(inputs)
    }

    /// This project's formulation; returns the sum of the best spans' scores.
    fn band(&self) -> Result<f64> {
        let [start, end] = &self.logits;
        let config = TopKConfig { k: usize::try_from(self.k)?, ..Default::default() };
        let spans = top_k_spans(start, end, Some(&self.context_mask), &config)?;
        Ok(spans.scores.f_sum(Kind::Double)?.f_double_value(&[])?)
    }

    /// Sorts each row's precomputed `L · L` scores.
    fn full_sort(&self) -> Result<f64> {
        let (scores, _) = self.span_scores.f_sort(1, true)?;
        Ok(scores.f_narrow(1, 0, self.k)?.f_sum(Kind::Double)?.f_double_value(&[])?)
    }

    /// Computes all `L · L` scores and their mask, and selects the best scores with libtorch.
    fn full_topk(&self) -> Result<f64> {
        let (scores, _) = self.pair_scores()?.f_topk(self.k, 1, true, true)?;
        Ok(scores.f_sum(Kind::Double)?.f_double_value(&[])?)
    }

    fn pair_scores(&self) -> Result<Tensor> {
        let [start, end] = &self.logits;
        let (batch, length) = start.size2()?;
        let pairs = Tensor::f_ones([length, length], (Kind::Bool, start.device()))?;
        let band = pairs.f_triu(0)?.f_logical_and(&pairs.f_tril(MAX_ANSWER_LEN - 1)?)?;
        let mask = &self.context_mask;
        let allowed = mask
            .f_unsqueeze(2)?
            .f_logical_and(&mask.f_unsqueeze(1)?)?
            .f_logical_and(&band.f_unsqueeze(0)?)?;
        let scores = start.f_unsqueeze(2)?.f_add(&end.f_unsqueeze(1)?)?;
        let scores = scores.f_masked_fill(&allowed.f_logical_not()?, f64::NEG_INFINITY)?;
        Ok(scores.f_view([batch, length * length])?)
    }
}
