use serde::Deserialize;

use super::SequenceKind;
use crate::Error;

/// Number of masks per entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Masking {
    /// One mask per sub-token of the entity.
    GoldLength,
    /// One mask. A sequence is dropped if its masked entity has several sub-tokens.
    Single,
    /// A fixed number of masks. If the entity has fewer sub-tokens, the remaining masks predict
    /// padding. A sequence is dropped if its masked entity has more sub-tokens.
    FixedLength {
        /// Number of masks per entity, 1 to 512 and at most `max_length` − 4.
        masks: usize,
    },
}

/// Maximum number of masks per entity, which is XLM-R's maximum sequence length.
const MAX_MASKS: usize = 512;

/// The masked entity of a mixed triple. In such a triple, the relation and one entity are in
/// language i, and the other entity is in language j.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixedTarget {
    /// The entity in j is masked: h_j in (?, r_i, t_i), and t_j in (h_i, r_i, ?). All visible text
    /// is in i.
    ForeignEntity,
    /// The entity in i is masked: t_i in (h_j, r_i, ?), and h_i in (?, r_i, t_j). The visible text
    /// is in both languages.
    NativeEntity,
    /// Sequences of both variants are built: four instead of two per direction.
    Both,
}

/// Separator between head, relation and tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripleStyle {
    /// A space: `h r t`.
    Space,
    /// A comma that follows the previous word without a space: `h, r, t`.
    Comma,
}

/// Separator between the two triples of a concatenated sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcatSeparator {
    /// The separator between head, relation and tail is also used between the triples.
    None,
    /// The tokenizer's separator between two texts: `</s></s>` for XLM-R, `[SEP]` for BERT.
    SepToken,
}

/// Whether sequences are built only for the order (i, j) of a language pair, or also for the order
/// (j, i).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directions {
    /// (i, j) only.
    Forward,
    /// (i, j) and (j, i).
    Both,
}

/// Options of [`build_sequences`](super::build_sequences()).
///
/// The defaults yield 4 monolingual, 4 mixed and 2 concatenated sequences per triple and pair.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceConfig {
    /// Kinds of sequences to build.
    pub kinds: Vec<SequenceKind>,
    /// Number of masks per entity. The paper describes several possible numbers (section II-B).
    pub masking: Masking,
    /// The masked entity of a mixed triple. The paper's text is ambiguous (section III-B).
    pub mixed_target: MixedTarget,
    /// Separator between head, relation and tail; not specified in the paper.
    pub triple_style: TripleStyle,
    /// Separator between the two triples of a concatenated sequence; not specified in the paper.
    pub concat_separator: ConcatSeparator,
    /// Orders of the language pair for which mixed sequences are built.
    pub mixed_directions: Directions,
    /// Orders of the language pair for which concatenated sequences are built. The triple in the
    /// first language comes first.
    pub concatenated_orders: Directions,
    /// Proportions of monolingual, mixed and concatenated sequences. Random sequences are dropped
    /// to obtain these proportions; with `None`, no sequence is dropped. The weight of a kind that
    /// is not in `kinds` has no effect.
    pub mix_weights: Option<[f64; 3]>,
    /// Maximum sequence length in tokens, including special tokens. Longer sequences are dropped,
    /// not truncated. The paper does not specify a maximum.
    pub max_length: usize,
    /// Seed of the order in which sequences are returned ("randomly assembled" in the paper). The
    /// seed also determines which sequences are dropped for `mix_weights`.
    pub seed: u64,
}

impl Default for SequenceConfig {
    fn default() -> Self {
        Self {
            kinds: SequenceKind::ALL.into(),
            masking: Masking::GoldLength,
            mixed_target: MixedTarget::ForeignEntity,
            triple_style: TripleStyle::Space,
            concat_separator: ConcatSeparator::None,
            mixed_directions: Directions::Both,
            concatenated_orders: Directions::Forward,
            mix_weights: None,
            max_length: 64,
            seed: 42,
        }
    }
}

impl SequenceConfig {
    /// # Errors
    /// [`Error::Config`] for a value out of its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |key, value: String, rule| Err(Error::Config { key, value, rule });
        let distinct = SequenceKind::ALL.iter().filter(|kind| self.kinds.contains(kind)).count();
        if distinct == 0 || distinct != self.kinds.len() {
            return invalid("kinds", format!("{:?}", self.kinds), "one kind or more, each once");
        }
        if self.max_length < 5 {
            let rule = "5 or more: two special tokens, head, relation and tail";
            return invalid("max_length", self.max_length.to_string(), rule);
        }
        if let Masking::FixedLength { masks } = self.masking
            && !(1..=MAX_MASKS.min(self.max_length - 4)).contains(&masks)
        {
            let rule = "1 to 512, and at most max_length - 4: a sequence also has two special \
                        tokens, the relation and the other entity";
            return invalid("masking.fixed_length.masks", masks.to_string(), rule);
        }
        if let Some(weights) = self.mix_weights {
            let all_valid = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
            let weighted_kinds = SequenceKind::ALL.iter().zip(weights);
            let any_positive =
                weighted_kinds.into_iter().any(|(kind, w)| w > 0.0 && self.kinds.contains(kind));
            if !all_valid || !any_positive {
                let rule = "three numbers >= 0, one of a built kind > 0";
                return invalid("mix_weights", format!("{weights:?}"), rule);
            }
        }
        Ok(())
    }
}
