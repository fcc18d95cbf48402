//! Selection of the short or the long form of tests.

/// Returns whether tests use more cases and larger data (`cargo xtask test --long`).
pub fn is_long() -> bool {
    std::env::var("POLYQA_LONG").is_ok_and(|value| value == "1")
}

/// Returns the number of cases of a property test: `short`, or `32 * short` in the long form.
pub fn case_count(short: u32) -> u32 {
    if is_long() { short.saturating_mul(32) } else { short }
}
