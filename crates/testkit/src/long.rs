//! Selection of the short or long form of tests.

/// Returns whether tests use more cases and larger data (`cargo xtask test --long`).
pub fn long() -> bool {
    is_long(std::env::var("POLYQA_LONG").ok().as_deref())
}

/// Returns the number of cases of a property test: `short`, or `32 * short` in the long form.
pub fn cases(short: u32) -> u32 {
    if long() { short.saturating_mul(32) } else { short }
}

fn is_long(value: Option<&str>) -> bool {
    value == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_1_selects_the_long_form() {
        assert!(is_long(Some("1")));
        assert!(!is_long(Some("0")) && !is_long(Some("")) && !is_long(None));
    }
}
