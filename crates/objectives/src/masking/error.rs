//! What a masking policy can refuse, and why.
use std::ops::Range;

/// An example that could not be masked: which span or option, what was expected, what came.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskingError {
    /// An option outside its domain.
    #[error("{option} = {value}: must be {rule}")]
    Domain {
        /// The option's name.
        option: &'static str,
        /// The value that came.
        value: f64,
        /// What was expected.
        rule: &'static str,
    },
    /// No token is left that could replace another.
    #[error(
        "random_ids = {ids:?}: holds no id that is not special; pass the range of the vocabulary"
    )]
    NoRandomIds {
        /// The range that came.
        ids: Range<u32>,
    },
    /// Word ids that do not go with the tokens.
    #[error("word_ids: expected one for each of the {expected} input_ids, got {got}")]
    WordIds {
        /// Number of tokens.
        expected: usize,
        /// Number of word ids.
        got: usize,
    },
    /// A span that is empty, reversed, or reaches past the tokens.
    #[error(
        "spans[{span}] = {start}..{end}: expected start < end <= {length}, the number of tokens"
    )]
    Span {
        /// Its number.
        span: usize,
        /// First position.
        start: usize,
        /// Position after the last.
        end: usize,
        /// Tokens of the example.
        length: usize,
    },
    /// Two spans that share a position, where that has no meaning.
    #[error(
        "spans[{first}] = {first_range:?} and spans[{second}] = {second_range:?} overlap; \
         keep one of the two"
    )]
    Overlap {
        /// The one that begins first.
        first: usize,
        /// Its positions.
        first_range: Range<usize>,
        /// The other.
        second: usize,
        /// Its positions.
        second_range: Range<usize>,
    },
    /// A span that covers a special token, which no policy masks.
    #[error("spans[{span}]: position {position} is the special token {id}; spans hold text only")]
    SpecialInSpan {
        /// Its number.
        span: usize,
        /// The special token's position.
        position: usize,
        /// The special token.
        id: u32,
    },
}

/// Refuses a share outside 0 to 1.
pub(super) fn check_share(option: &'static str, value: f64) -> Result<(), MaskingError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(MaskingError::Domain { option, value, rule: "from 0 to 1" })
}
