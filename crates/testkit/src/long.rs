//! Short and long forms of a test.

/// Whether `cargo xtask test --long` runs: many cases, many kills, big data.
pub fn long() -> bool {
    is_long(std::env::var("POLYQA_LONG").ok().as_deref())
}

/// How many cases a property test draws: `short` of them, 32 times as many in the long form.
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
