//! Comparisons of hard learning and answer-aware contrastive learning with loops over candidates,
//! rows and spans.
use anyhow::Result;
use objectives::{
    AnswerContrastConfig, CandidateSpans, Checks, HardLearningConfig, HardLearningWeighting,
    answer_contrast, hard_learning, span_log_probs,
};
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, sharing};
use crate::{Case, SEED, Spec};

/// Returns the comparisons of `hard_learning` and `answer_contrast`.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    let hard = |name: &str, weighting| {
        Spec::new("hard_learning", format!("{name},B=32,L=384,K=20"), move || {
            hard_case(weighting, device)
        })
    };
    vec![
        hard("mml", HardLearningWeighting::Mml),
        hard("learned", HardLearningWeighting::Learned),
        Spec::new("answer_contrast", "B=32,L=384,H=768,M=50", move || contrast_case(device)),
    ]
}

fn hard_case(weighting: HardLearningWeighting, device: Device) -> Result<Case> {
    let step = sharing(HardInputs::random(32, 384, 20, weighting, device)?);
    Ok(Case::new(
        step("at once", HardInputs::at_once),
        vec![step("loop over candidates", HardInputs::loop_over_candidates)],
    ))
}

fn contrast_case(device: Device) -> Result<Case> {
    let step = sharing(ContrastInputs::random([32, 384, 768], 50, device)?);
    Ok(Case::new(
        step("at once", ContrastInputs::at_once),
        vec![step("averaging matrix", ContrastInputs::averaging_matrix)],
    ))
}

/// Draws distinct spans of 1 to 30 tokens, `count` per row: their first and last tokens.
fn random_spans(batch: i64, length: i64, count: i64, device: Device) -> Result<[Tensor; 2]> {
    let first = Tensor::f_rand([batch, length - 30], (Kind::Float, device))?;
    let starts = first.f_argsort(1, false)?.f_narrow(1, 0, count)?.f_contiguous()?;
    let ends = starts.f_add(&Tensor::f_randint(30, [batch, count], (Kind::Int64, device))?)?;
    Ok([starts, ends])
}

/// Random logits and K candidates per row; the first candidate is gold.
struct HardInputs {
    logits: [Tensor; 2],
    spans: [Tensor; 2],
    valid: Tensor,
    theta: Tensor,
    weighting: HardLearningWeighting,
}

impl HardInputs {
    fn random(
        batch: i64,
        length: i64,
        candidates: i64,
        weighting: HardLearningWeighting,
        device: Device,
    ) -> Result<Self> {
        tch::manual_seed(SEED);
        let numbers = |size: &[i64]| -> Result<Tensor> {
            Ok(Tensor::f_randn(size, (Kind::Float, device))?.set_requires_grad(true))
        };
        Ok(Self {
            logits: [numbers(&[batch, length])?, numbers(&[batch, length])?],
            spans: random_spans(batch, length, candidates, device)?,
            valid: Tensor::f_ones([batch, candidates], (Kind::Bool, device))?,
            theta: numbers(&[candidates])?,
            weighting,
        })
    }

    /// This project's formulation: one softmax, all candidates gathered. Runs forward and backward,
    /// and returns the loss.
    fn at_once(&self) -> Result<f64> {
        let ([start, end], [starts, ends]) = (&self.logits, &self.spans);
        let log_probs = span_log_probs(start, end, starts, ends, None, Checks::Shapes)?;
        let config = HardLearningConfig { weighting: self.weighting, ..Default::default() };
        self.backward(hard_learning(&log_probs, &self.valid, None, Some(&self.theta), &config)?)
    }

    /// Computes two cross-entropies per candidate, which are combined at the end.
    fn loop_over_candidates(&self) -> Result<f64> {
        let ([start, end], [starts, ends]) = (&self.logits, &self.spans);
        let (_, count) = starts.size2()?;
        let mut columns = Vec::new();
        for k in 0..count {
            let loss = |logits: &Tensor, positions: &Tensor| {
                let target = positions.f_select(1, k)?;
                logits.f_cross_entropy_loss::<Tensor>(&target, None, Reduction::None, -100, 0.0)
            };
            columns.push(loss(start, starts)?.f_add(&loss(end, ends)?)?.f_neg()?);
        }
        let log_probs = Tensor::f_stack(&columns, 1)?;
        let loss = if self.weighting == HardLearningWeighting::Mml {
            log_probs.f_logsumexp(1, false)?
        } else {
            let weights = self.theta.f_softmax(0, None)?;
            log_probs.f_mul(&weights)?.f_sum_dim_intlist(1, false, None::<Kind>)?
        };
        self.backward(loss.f_neg()?.f_mean(None::<Kind>)?)
    }

    fn backward(&self, loss: Tensor) -> Result<f64> {
        let [start, end] = &self.logits;
        let leaves: &[&Tensor] = if self.weighting == HardLearningWeighting::Learned {
            &[start, end, &self.theta]
        } else {
            &[start, end]
        };
        backward(loss, leaves)
    }
}

/// Random hidden states, 16 question tokens per row, and M candidates, of which the first is gold.
struct ContrastInputs {
    hidden: Tensor,
    question_mask: Tensor,
    spans: [Tensor; 2],
    valid: Tensor,
}

impl ContrastInputs {
    fn random([batch, length, size]: [i64; 3], candidates: i64, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let column = Tensor::f_arange(length, (Kind::Int64, device))?;
        let question = column.f_ge(1)?.f_logical_and(&column.f_le(16)?)?;
        Ok(Self {
            hidden: Tensor::f_randn([batch, length, size], (Kind::Float, device))?
                .set_requires_grad(true),
            question_mask: question.f_unsqueeze(0)?.f_repeat([batch, 1])?,
            spans: random_spans(batch, length, candidates, device)?,
            valid: Tensor::f_ones([batch, candidates], (Kind::Bool, device))?,
        })
    }

    /// This project's formulation: all spans are summed at once. Runs forward and backward, and
    /// returns the loss.
    fn at_once(&self) -> Result<f64> {
        let [starts, ends] = &self.spans;
        let list = CandidateSpans { starts, ends, valid: &self.valid };
        let gold = |positions: &Tensor| positions.f_select(1, 0);
        self.backward(answer_contrast(
            &self.hidden,
            &self.question_mask,
            &gold(starts)?,
            &gold(ends)?,
            &list,
            &AnswerContrastConfig::default(),
        )?)
    }

    /// Computes the means as products of an averaging matrix and the hidden states: once to select
    /// negatives, and once for the gradient.
    fn averaging_matrix(&self) -> Result<f64> {
        let (batch, _) = self.valid.size2()?;
        let [starts, ends] = &self.spans;
        let (_, length, size) = self.hidden.size3()?;
        let column = Tensor::f_arange(length, (Kind::Int64, starts.device()))?;
        let average = |starts: &Tensor, ends: &Tensor| -> Result<Tensor> {
            let after = column.f_ge_tensor(&starts.f_unsqueeze(2)?)?;
            let inside = after.f_logical_and(&column.f_le_tensor(&ends.f_unsqueeze(2)?)?)?;
            let inside = inside.f_to_kind(Kind::Float)?;
            Ok(inside.f_div(&inside.f_sum_dim_intlist(2, true, None::<Kind>)?)?)
        };
        let candidate_means = average(starts, ends)?.f_bmm(&self.hidden.f_detach()?)?; // [B, M, H]
        let cosines = Tensor::f_cosine_similarity(
            &candidate_means,
            &candidate_means.f_narrow(1, 0, 1)?,
            2,
            1e-8,
        )?;
        let best = cosines.f_slice(1, 1, None, 1)?.f_argmax(1, true)?.f_add_scalar(1)?; // [B, 1]
        let zero = best.f_zeros_like()?;
        let one = zero.f_ones_like()?;
        let two_spans = |first: &Tensor, tensor: &Tensor| -> Result<Tensor> {
            let gold = tensor.f_narrow(1, 0, 1)?;
            Ok(Tensor::f_cat(&[first, &gold, &tensor.f_gather(1, &best, false)?], 1)?)
        };
        let end_index = one.f_mul_scalar(16)?;
        let vectors = average(&two_spans(&one, starts)?, &two_spans(&end_index, ends)?)?
            .f_bmm(&self.hidden)?;
        let vectors = vectors.f_view([batch, 3, size])?;
        self.contrast(&vectors.f_select(1, 0)?, &vectors.f_select(1, 1)?, &vectors.f_select(1, 2)?)
    }

    /// Computes Eq. 8 over gold spans and hard negatives of all rows.
    fn contrast(&self, questions: &Tensor, correct: &Tensor, wrong: &Tensor) -> Result<f64> {
        let (batch, _) = self.valid.size2()?;
        let answers = Tensor::f_cat(&[correct, wrong], 0)?.f_unsqueeze(0)?;
        let cosines = Tensor::f_cosine_similarity(&questions.f_unsqueeze(1)?, &answers, 2, 1e-8)?;
        let loss = cosines.f_div_scalar(10.0)?.f_cross_entropy_loss::<Tensor>(
            &Tensor::f_arange(batch, (Kind::Int64, answers.device()))?,
            None,
            Reduction::Mean,
            -100,
            0.0,
        )?;
        self.backward(loss)
    }

    fn backward(&self, loss: Tensor) -> Result<f64> {
        backward(loss, &[&self.hidden])
    }
}
