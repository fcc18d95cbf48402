//! Selection of hard negatives: incorrect answers to contrast with the correct answer.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::{to_i64, to_usize, upload, without_autocast};

use crate::answer_candidates::CheckedSpans;
use crate::span_checks::GoldSpans;
use crate::span_vectors::{check_hidden, masked_means, token_mask};
use crate::{CandidateSpans, Error};

/// Selection among the candidates that are not the gold span, in [`hard_negatives`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NegativeSelection {
    /// The candidates with the highest cosine to the gold span's vector (Eq. 7).
    Hardest {
        /// Θ, the number of negatives per row, at least 1.
        count: usize,
    },
    /// The first candidate that is not the gold span: the incorrect answer with the highest model
    /// score.
    TopPrediction,
    /// One random candidate. The choice depends on the seed only, not on the device or the number
    /// of threads; pass a different seed at every step.
    Random {
        /// The seed.
        seed: u64,
    },
}

impl Default for NegativeSelection {
    /// Returns Θ = 1, the paper's value.
    fn default() -> Self {
        Self::Hardest { count: 1 }
    }
}

/// The negatives selected for each row; returned by [`hard_negatives`].
#[derive(Debug)]
#[non_exhaustive]
pub struct HardNegatives {
    /// `[B, Θ]` i64: the candidate slot of each negative, 0 in empty slots.
    pub slots: Tensor,
    /// `[B, Θ]` i64: the first token of each negative, 0 in empty slots.
    pub starts: Tensor,
    /// `[B, Θ]` i64: the last token of each negative, inclusive, 0 in empty slots.
    pub ends: Tensor,
    /// `[B, Θ]` bool: whether the slot holds a negative.
    pub valid: Tensor,
}

/// Selects the candidates of each row that are used as negatives. The result has no gradient.
///
/// [`NegativeSelection::Hardest`] selects the Θ candidates with the largest `cos(u_a, u_gold)`,
/// except the gold span (*From Good to Best*, Eq. 7). The vector u of a span is the mean of its
/// tokens' hidden states (Eq. 6).
///
/// Interpretation: Eq. 7 prints "max" and omits the condition that the negative differs from the
/// gold span; this function takes the argmax over the candidates that differ from the gold span.
/// Candidates are compared by position; set `valid` to false to exclude a candidate with the gold
/// text at another position. The cosine is computed with the gold span, although the loss (Eq. 8)
/// uses the question. Ties are broken by the lower slot. The Θ negatives are distinct only if the
/// candidates are distinct.
///
/// # Shapes
/// - `hidden`: `[B, L, H]` Float, BFloat16, Half or Double
/// - `gold_starts`, `gold_ends`: `[B]` i64, the last token inclusive; a row in which one of them is
///   outside `0..L` has no gold span and no negatives
/// - `candidates`: tensors `[B, M]`, best first; [`top_k_spans`](crate::top_k_spans())
/// - gold spans and candidates may be on the CPU, where they are read without waiting for a GPU
/// - returns `[B, Θ]` tensors, Θ at most M; in a row with fewer than Θ negatives the last slots are
///   empty
///
/// # Errors
/// [`Error::Domain`] if `count` is 0; [`Error::Range`] if a candidate is outside the window;
/// [`Error::Reversed`] if a span ends before it starts; [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::{CandidateSpans, NegativeSelection, hard_negatives, tch::{Kind, Tensor}};
///
/// // Tokens 0 and 1 are orthogonal, token 2 is between them; the gold span is token 0.
/// let hidden = Tensor::from_slice(&[1_f32, 0.0, 0.0, 1.0, 1.0, 1.0]).view([1, 3, 2]);
/// let gold = Tensor::from_slice(&[0_i64]);
/// let tokens = Tensor::from_slice(&[1_i64, 0, 2]).view([1, 3]);
/// let valid = tokens.ones_like().to_kind(Kind::Bool);
/// let list = CandidateSpans { starts: &tokens, ends: &tokens, valid: &valid };
/// let negatives = hard_negatives(&hidden, &gold, &gold, &list, NegativeSelection::default())?;
/// assert_eq!(negatives.starts.int64_value(&[0, 0]), 2);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn hard_negatives(
    hidden: &Tensor,
    gold_starts: &Tensor,
    gold_ends: &Tensor,
    candidates: &CandidateSpans<'_>,
    selection: NegativeSelection,
) -> Result<HardNegatives, Error> {
    let [batch, length, _] = check_hidden(hidden)?;
    let device = hidden.device();
    let gold = GoldSpans::new(gold_starts, gold_ends, batch, length, "hidden", device)?;
    let CheckedSpans { slot_count, starts, ends, valid } =
        candidates.check_batch(batch, length, "hidden", device)?;
    let count = match selection {
        NegativeSelection::Hardest { count: 0 } => {
            return Err(Error::Domain { option: "count", value: 0.0, rule: "at least 1" });
        }
        NegativeSelection::Hardest { count } => to_i64(count.min(to_usize(slot_count))),
        NegativeSelection::TopPrediction | NegativeSelection::Random { .. } => slot_count.min(1),
    };
    let is_gold = starts
        .f_eq_tensor(&gold.starts.f_unsqueeze(1)?)?
        .f_logical_and(&ends.f_eq_tensor(&gold.ends.f_unsqueeze(1)?)?)?;
    let is_negative = valid
        .f_logical_and(&is_gold.f_logical_not()?)?
        .f_logical_and(&gold.present.f_unsqueeze(1)?)?; // [B, M]
    let shape = [batch, slot_count];
    let priorities = match selection {
        NegativeSelection::Hardest { .. } => {
            let valid = Tensor::f_cat(&[&gold.present.f_unsqueeze(1)?, &is_negative], 1)?;
            let starts = Tensor::f_cat(&[&gold.starts.f_unsqueeze(1)?, &starts], 1)?;
            let ends = Tensor::f_cat(&[&gold.ends.f_unsqueeze(1)?, &ends], 1)?;
            let spans = token_mask(&starts, &ends, &valid, length)?;
            without_autocast(|| cosines_with_first(&hidden.f_detach()?, &spans))??
        }
        NegativeSelection::TopPrediction => Tensor::f_zeros(shape, (Kind::Float, device))?,
        NegativeSelection::Random { seed } => {
            upload(&uniform_values(seed, batch, slot_count)?, device)?
        }
    };
    let priorities = priorities.f_masked_fill(&is_negative.f_logical_not()?, f64::NEG_INFINITY)?;
    let top_slots = priorities.f_argsort_stable(true, 1, true)?.f_narrow(1, 0, count)?; // [B, Θ]
    let valid = is_negative.f_gather(1, &top_slots, false)?;
    let empty = valid.f_logical_not()?;
    let select = |tensor: &Tensor| tensor.f_gather(1, &top_slots, false)?.f_masked_fill(&empty, 0);
    Ok(HardNegatives {
        slots: top_slots.f_masked_fill(&empty, 0)?,
        starts: select(&starts)?,
        ends: select(&ends)?,
        valid,
    })
}

/// The cosines between the first span and each other span, `[B, S - 1]`; `spans` is the token mask
/// `[B, S, L]`.
fn cosines_with_first(hidden: &Tensor, spans: &Tensor) -> Result<Tensor, Error> {
    let vectors = normalise(&masked_means(hidden, spans)?)?; // [B, S, H]
    let (_, slots, _) = vectors.size3()?;
    let first = vectors.f_narrow(1, 0, 1)?.f_transpose(1, 2)?; // [B, H, 1]
    Ok(vectors.f_narrow(1, 1, slots - 1)?.f_bmm(&first)?.f_squeeze_dim(2)?)
}

/// Normalises vectors to length 1 along the last dimension. Vectors shorter than 1e-8 are divided
/// by 1e-8, as in libtorch's `cosine_similarity`.
pub(crate) fn normalise(vectors: &Tensor) -> Result<Tensor, Error> {
    let norm = vectors.f_norm_scalaropt_dim(2, -1, true)?.f_clamp_min(1e-8)?;
    Ok(vectors.f_div(&norm)?)
}

/// Uniform values `[B, M]` f64 in `0..1` that depend only on the seed, the row and the slot.
fn uniform_values(seed: u64, batch: i64, slots: i64) -> Result<Tensor, Error> {
    let mut values = Vec::new();
    for row in 0..batch {
        let mut state =
            splitmix_finalize(splitmix_finalize(seed).wrapping_add(row.cast_unsigned()));
        for _ in 0..slots {
            state = state.wrapping_add(GOLDEN_GAMMA);
            // An f64 represents integers of up to 53 bits exactly.
            values.push((splitmix_finalize(state) >> 11) as f64 / (1_u64 << 53) as f64);
        }
    }
    Ok(Tensor::f_from_slice(&values)?.f_view([batch, slots])?)
}

/// The increment of SplitMix64.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finalizer (Steele, Lea and Flood 2014).
fn splitmix_finalize(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
