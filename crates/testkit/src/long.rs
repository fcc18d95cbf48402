//! Short and long forms of a test.

/// Returns whether `cargo xtask test --long` runs, with more cases and larger data.
pub fn long() -> bool {
    is_long(std::env::var("POLYQA_LONG").ok().as_deref())
}

/// Returns the number of cases of a property test: `short`, or 32 times as many in the long form.
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
    fn only_one_means_long() {
        assert!(is_long(Some("1")));
        assert!(!is_long(Some("0")) && !is_long(Some("")) && !is_long(None));
    }
}
