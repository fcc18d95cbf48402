//! Errors of the masking policies.
use std::ops::Range;

/// An error of a masking policy. The message names a span or option, and its actual value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskingError {
    /// An option outside its domain.
    #[error("{option} = {value}: must be {rule}")]
    Domain {
        /// The option's name.
        option: &'static str,
        /// The actual value.
        value: f64,
        /// The accepted values.
        rule: &'static str,
    },
    /// No token is available for random replacement.
    #[error("random_ids = {ids:?}: contains only special ids; pass the range of the vocabulary")]
    NoRandomIds {
        /// The actual range.
        ids: Range<u32>,
    },
    /// A span that is empty, reversed or out of range.
    #[error(
        "spans[{span}] = {start}..{end}: expected start < end <= {length}, the number of tokens"
    )]
    Span {
        /// Index of the span.
        span: usize,
        /// First position of the span.
        start: usize,
        /// Position after the last token of the span.
        end: usize,
        /// Number of tokens in the example.
        length: usize,
    },
    /// Two spans that overlap, for policies that do not support overlaps.
    #[error(
        "spans[{first}] = {first_range:?} and spans[{second}] = {second_range:?} overlap; \
         remove one of them"
    )]
    Overlap {
        /// The span that starts first.
        first: usize,
        /// The positions of the first span.
        first_range: Range<usize>,
        /// The span that starts second.
        second: usize,
        /// The positions of the second span.
        second_range: Range<usize>,
    },
    /// A span that covers a special token, which no policy masks.
    #[error(
        "spans[{span}]: position {position} is the special token {id}; \
         spans must not contain special tokens"
    )]
    SpecialInSpan {
        /// Index of the span.
        span: usize,
        /// The special token's position.
        position: usize,
        /// The special token.
        id: u32,
    },
}

/// Rejects a share outside 0 to 1.
pub(super) fn check_share(option: &'static str, value: f64) -> Result<(), MaskingError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(MaskingError::Domain { option, value, rule: "from 0 to 1" })
}
