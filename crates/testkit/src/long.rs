//! Selection of the short or the long form of tests.

/// Returns whether tests use more cases and larger data (`cargo xtask test --long`).
pub fn long() -> bool {
    std::env::var("POLYQA_LONG").is_ok_and(|value| value == "1")
}

/// Returns the number of cases of a property test: `short`, or `32 * short` in the long form.
pub fn cases(short: u32) -> u32 {
    if long() { short.saturating_mul(32) } else { short }
}
