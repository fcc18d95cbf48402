//! Comparisons of answer-aware contrastive learning with a formulation that uses averaging
//! matrices.
use anyhow::Result;
use objectives::{AnswerContrastConfig, CandidateSpans, answer_contrast};
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec};

/// Returns the comparison of `answer_contrast`.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    vec![Spec::new("answer_contrast", "B=32,L=384,H=768,M=50", move || case(device))]
}

fn case(device: Device) -> Result<Case> {
    let step = share_inputs(Inputs::random([32, 384, 768], 50, device)?);
    Ok(Case::new(
        step("at once", Inputs::at_once),
        vec![step("averaging matrix", Inputs::averaging_matrix)],
    ))
}

/// Draws `count` distinct spans of 1 to 30 tokens per row, and returns the positions of their first
/// and last tokens.
pub(crate) fn random_spans(
    batch: i64,
    length: i64,
    count: i64,
    device: Device,
) -> Result<[Tensor; 2]> {
    let scores = Tensor::f_rand([batch, length - 30], (Kind::Float, device))?;
    let starts = scores.f_argsort(1, false)?.f_narrow(1, 0, count)?.f_contiguous()?;
    let ends = starts.f_add(&Tensor::f_randint(30, [batch, count], (Kind::Int64, device))?)?;
    Ok([starts, ends])
}

/// Random hidden states, 16 question tokens per row, and M candidates, of which the first is gold.
struct Inputs {
    hidden: Tensor,
    question_mask: Tensor,
    spans: [Tensor; 2],
    valid: Tensor,
}

impl Inputs {
    fn random([batch, length, size]: [i64; 3], candidates: i64, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let column = Tensor::f_arange(length, (Kind::Int64, device))?;
        let is_question = column.f_ge(1)?.f_logical_and(&column.f_le(16)?)?;
        Ok(Self {
            hidden: Tensor::f_randn([batch, length, size], (Kind::Float, device))?
                .set_requires_grad(true),
            question_mask: is_question.f_unsqueeze(0)?.f_repeat([batch, 1])?,
            spans: random_spans(batch, length, candidates, device)?,
            valid: Tensor::f_ones([batch, candidates], (Kind::Bool, device))?,
        })
    }

    /// This project's formulation sums the hidden states of all spans at once. Runs the forward and
    /// backward passes, and returns the loss.
    fn at_once(&self) -> Result<f64> {
        let [starts, ends] = &self.spans;
        let candidates = CandidateSpans { starts, ends, valid: &self.valid };
        let gold = |positions: &Tensor| positions.f_select(1, 0);
        let (gold_starts, gold_ends) = (gold(starts)?, gold(ends)?);
        let (hidden, mask) = (&self.hidden, &self.question_mask);
        let config = AnswerContrastConfig::default();
        let loss = answer_contrast(hidden, mask, &gold_starts, &gold_ends, &candidates, &config)?;
        backward(loss, &[hidden])
    }

    /// Computes the mean hidden state of each span as a matmul of an averaging matrix and the
    /// hidden states. It does so twice: without gradients to select negatives, and with gradients
    /// for the loss.
    fn averaging_matrix(&self) -> Result<f64> {
        let (batch, _) = self.valid.size2()?;
        let [starts, ends] = &self.spans;
        let (_, length, size) = self.hidden.size3()?;
        let column = Tensor::f_arange(length, (Kind::Int64, starts.device()))?;
        let average = |starts: &Tensor, ends: &Tensor| -> Result<Tensor> {
            let is_after_start = column.f_ge_tensor(&starts.f_unsqueeze(2)?)?;
            let is_inside =
                is_after_start.f_logical_and(&column.f_le_tensor(&ends.f_unsqueeze(2)?)?)?;
            let is_inside = is_inside.f_to_kind(Kind::Float)?;
            Ok(is_inside.f_div(&is_inside.f_sum_dim_intlist(2, true, None::<Kind>)?)?)
        };
        let candidate_means = average(starts, ends)?.f_bmm(&self.hidden.f_detach()?)?; // [B, M, H]
        let cosines = Tensor::f_cosine_similarity(
            &candidate_means,
            &candidate_means.f_narrow(1, 0, 1)?,
            2,
            1e-8,
        )?;
        let hardest = cosines.f_slice(1, 1, None, 1)?.f_argmax(1, true)?.f_add_scalar(1)?; // [B, 1]
        let question_start = hardest.f_ones_like()?;
        let three_spans = |question: &Tensor, positions: &Tensor| -> Result<Tensor> {
            let gold = positions.f_narrow(1, 0, 1)?;
            Ok(Tensor::f_cat(&[question, &gold, &positions.f_gather(1, &hardest, false)?], 1)?)
        };
        let question_end = question_start.f_mul_scalar(16)?;
        let vectors =
            average(&three_spans(&question_start, starts)?, &three_spans(&question_end, ends)?)?
                .f_bmm(&self.hidden)?
                .f_view([batch, 3, size])?;
        self.contrast(&vectors.f_select(1, 0)?, &vectors.f_select(1, 1)?, &vectors.f_select(1, 2)?)
    }

    /// Computes Eq. 8 over gold spans and hard negatives of all rows.
    fn contrast(&self, questions: &Tensor, correct: &Tensor, incorrect: &Tensor) -> Result<f64> {
        let (batch, _) = self.valid.size2()?;
        let answers = Tensor::f_cat(&[correct, incorrect], 0)?.f_unsqueeze(0)?;
        let cosines = Tensor::f_cosine_similarity(&questions.f_unsqueeze(1)?, &answers, 2, 1e-8)?;
        let loss = cosines.f_div_scalar(10.0)?.f_cross_entropy_loss::<Tensor>(
            &Tensor::f_arange(batch, (Kind::Int64, answers.device()))?,
            None,
            Reduction::Mean,
            -100,
            0.0,
        )?;
        backward(loss, &[&self.hidden])
    }
}
