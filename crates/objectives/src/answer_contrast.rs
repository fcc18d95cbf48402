//! Answer-aware contrastive learning between a question and its correct and incorrect answers.
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};
use torch_ext::{upload, without_autocast};

use crate::checks::{check_mask, check_temperature, common_device, first_true_index};
use crate::hard_negatives::normalise;
use crate::span_checks::GoldSpans;
use crate::span_vectors::{check_hidden, masked_means, token_mask};
use crate::{CandidateSpans, Error, IGNORE_INDEX, NegativeSelection, hard_negatives};

/// Options of [`answer_contrast`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerContrastConfig {
    /// Temperature τ, by which cosines are divided. The paper's value of 10 limits every logit to
    /// ±0.1, so that the loss stays close to the logarithm of the number of terms. If the paper
    /// means that cosines are multiplied by 10, set 0.1. Range: above 0, at most
    /// [`MAX_TEMPERATURE`](crate::MAX_TEMPERATURE).
    pub temperature: f64,
    /// Selection of the incorrect answers.
    pub selection: NegativeSelection,
}

impl Default for AnswerContrastConfig {
    fn default() -> Self {
        Self { temperature: 10.0, selection: NegativeSelection::default() }
    }
}

/// Computes the answer-aware contrastive loss of *From Good to Best* (Eq. 6 to 8), in nats.
///
/// The loss is the mean over rows of `-ln(e^{cos(r_q, r_a)/τ} / Σ e^{cos(r_q, r_a′)/τ})`. `r_q`
/// represents the question, and `r_a` is the mean of the gold span's hidden states. `r_a′` runs
/// over the gold spans and the selected incorrect answers ([`hard_negatives`]) of all rows.
///
/// Interpretation: Eq. 8 sums over the batch only, but the paper's text adds the hard negatives.
/// This function includes the hard negatives of all rows. The paper does not define `r_q`; this
/// function uses the mean hidden state of the question's tokens in the sequence of question and
/// context. If two rows have the same gold span, the gold span of each row is still a negative for
/// the other row. The vectors of negatives receive gradients, but the selection of negatives does
/// not.
///
/// The mean is over the rows with a gold span whose denominator contains at least one term besides
/// the positive term. Other rows, and all tokens outside the question, the gold span and the
/// selected negatives, receive a gradient of exactly 0.
///
/// # Shapes
/// - `hidden`: `[B, L, H]` Float, BFloat16, Half or Double, the encoder's last layer; receives
///   gradient
/// - `question_mask`: `[B, L]` bool, the question's tokens without special tokens
/// - `gold_starts`, `gold_ends`: `[B]` i64, the last token inclusive; a row has no gold span if its
///   start or end is outside `0..L`
/// - `candidates`: tensors `[B, M]`, the best first, with or without the gold span;
///   [`top_k_spans`](crate::top_k_spans())
/// - mask, gold spans and candidates may be on the CPU, where they are read without waiting for a
///   GPU
/// - returns `[]`: f64 for f64 hidden states, f32 for all others (all computations after the
///   encoder use this dtype)
///
/// # Errors
/// [`Error::Empty`] if no row carries loss; [`Error::EmptyRow`] if a row with a gold span has no
/// question token; [`Error::Domain`] unless `temperature` is above 0 and at most 1000, or if
/// `count` of [`NegativeSelection::Hardest`] is 0; [`Error::Range`] if a candidate is outside the
/// window; [`Error::Reversed`] if a span ends before it starts; [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{AnswerContrastConfig, CandidateSpans, answer_contrast};
///
/// // Two rows `<s> question answer other` with equal tokens: ln(2 gold + 2 incorrect spans).
/// let hidden = Tensor::ones([2, 4, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let question = Tensor::from_slice(&[false, true, false, false]).repeat([2, 1]);
/// let gold = Tensor::from_slice(&[2_i64, 2]);
/// let tokens = Tensor::from_slice(&[2_i64, 3]).repeat([2, 1]);
/// let valid = tokens.ones_like().to_kind(Kind::Bool);
/// let list = CandidateSpans { starts: &tokens, ends: &tokens, valid: &valid };
/// let config = AnswerContrastConfig::default();
/// let loss = answer_contrast(&hidden, &question, &gold, &gold, &list, &config)?;
/// assert!((loss.double_value(&[]) - 4_f64.ln()).abs() < 1e-6);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn answer_contrast(
    hidden: &Tensor,
    question_mask: &Tensor,
    gold_starts: &Tensor,
    gold_ends: &Tensor,
    candidates: &CandidateSpans<'_>,
    config: &AnswerContrastConfig,
) -> Result<Tensor, Error> {
    // Cosines in bfloat16 would have only three significant digits.
    without_autocast(|| {
        contrast_without_autocast(hidden, question_mask, gold_starts, gold_ends, candidates, config)
    })?
}

/// Computes [`answer_contrast`]. Autocast must be off.
fn contrast_without_autocast(
    hidden: &Tensor,
    question_mask: &Tensor,
    gold_starts: &Tensor,
    gold_ends: &Tensor,
    candidates: &CandidateSpans<'_>,
    config: &AnswerContrastConfig,
) -> Result<Tensor, Error> {
    let [batch, length, _] = check_hidden(hidden)?;
    let device = hidden.device();
    check_temperature(config.temperature)?;
    check_mask("question_mask", question_mask, &[batch, length], "[B, L]", "hidden", device)?;
    let gold = GoldSpans::new(gold_starts, gold_ends, batch, length, "hidden", device)?;
    let rows_with_gold = gold.row_indices()?; // [n] of the B rows
    if rows_with_gold.size1()? == 0 {
        let reason = "no row has its gold span inside the window";
        return Err(Error::Empty { tensor: "gold_starts", reason });
    }
    let rows_with_gold = upload(&rows_with_gold, device)?;
    let question = question_tokens(question_mask, &gold)?; // [B, 1, L]
    let negatives = hard_negatives(hidden, gold_starts, gold_ends, candidates, config.selection)?;
    let column = |tensor: &Tensor| tensor.f_unsqueeze(1);
    let gold_spans =
        token_mask(&column(&gold.starts)?, &column(&gold.ends)?, &column(&gold.present)?, length)?;
    let negative_spans = token_mask(&negatives.starts, &negatives.ends, &negatives.valid, length)?;
    let vectors =
        masked_means(hidden, &Tensor::f_cat(&[question, gold_spans, negative_spans], 1)?)?;
    let vectors = normalise(&vectors.f_index_select(0, &rows_with_gold)?)?; // [n, 2 + Θ, H]
    DenominatorTerms::new(&vectors, &negatives.valid.f_index_select(0, &rows_with_gold)?)?
        .loss(config.temperature)
}

/// `[B, 1, L]` bool: the tokens whose mean represents the question, in rows with a gold span.
fn question_tokens(question_mask: &Tensor, gold: &GoldSpans) -> Result<Tensor, Error> {
    let device = gold.present.device();
    let mask_device = common_device([question_mask, &gold.source_present], device);
    let question_mask = upload(question_mask, mask_device)?;
    let present = upload(&gold.source_present, mask_device)?.f_unsqueeze(1)?;
    let is_empty_row = question_mask.f_any_dim(1, true)?.f_logical_not()?;
    if let Some([row, _]) = first_true_index(&is_empty_row.f_logical_and(&present)?)?.as_deref() {
        let reason = "no token of the question is marked; at least one must be true";
        return Err(Error::EmptyRow { tensor: "question_mask", row: *row, reason });
    }
    Ok(upload(&question_mask.f_logical_and(&present)?, device)?.f_unsqueeze(1)?)
}

/// The terms of each row's denominator.
struct DenominatorTerms {
    /// `[n, T]`: the question's cosine with each span.
    cosines: Tensor,
    /// `[n, T]` bool: whether the column holds a span.
    present: Tensor,
    /// `[n]` i64: the column of the row's gold span.
    gold: Tensor,
}

impl DenominatorTerms {
    /// Creates the terms from unit vectors `[n, 2 + Θ, H]` of question, gold span and negatives;
    /// `negative_present` `[n, Θ]` is true where a negative exists.
    fn new(vectors: &Tensor, negative_present: &Tensor) -> Result<Self, Error> {
        let (count, vector_count, size) = vectors.size3()?;
        let device = vectors.device();
        let (question, gold_spans) = (vectors.f_select(1, 0)?, vectors.f_select(1, 1)?); // [n, H]
        let negative_spans = vectors.f_narrow(1, 2, vector_count - 2)?.f_reshape([-1, size])?;
        let gold_cosines = question.f_matmul(&gold_spans.f_tr()?)?; // [n, n]
        let negative_cosines = question.f_matmul(&negative_spans.f_tr()?)?; // [n, nΘ]
        let gold_present = Tensor::f_ones([count, count], (Kind::Bool, device))?;
        let negative_present = negative_present.f_reshape([1, -1])?.f_expand([count, -1], false)?;
        Ok(Self {
            cosines: Tensor::f_cat(&[gold_cosines, negative_cosines], 1)?,
            present: Tensor::f_cat(&[gold_present, negative_present], 1)?,
            gold: Tensor::f_arange(count, (Kind::Int64, device))?,
        })
    }

    /// The mean loss over the rows with at least one negative.
    fn loss(&self, temperature: f64) -> Result<Tensor, Error> {
        let logits = self.cosines.f_div_scalar(temperature)?;
        let logits = logits.f_masked_fill(&self.present.f_logical_not()?, f64::NEG_INFINITY)?;
        let losses = logits.f_cross_entropy_loss::<Tensor>(
            &self.gold,
            None,
            Reduction::None,
            IGNORE_INDEX,
            0.0,
        )?; // [n]
        let term_counts = self.present.f_sum_dim_intlist(1, false, Kind::Int64)?;
        let rows_with_loss = term_counts.f_gt(1)?.f_nonzero()?.f_squeeze_dim(1)?;
        if rows_with_loss.size1()? == 0 {
            let reason = "no row has an incorrect answer to contrast with";
            return Err(Error::Empty { tensor: "candidates.valid", reason });
        }
        Ok(losses.f_index_select(0, &rows_with_loss)?.f_mean(None::<Kind>)?)
    }
}
