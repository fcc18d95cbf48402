//! Random numbers that depend on a seed and a name, but not on the order of processing.
/// Returns the random generator of a named stream at an index. The function of `shards` is used, so
/// that this crate and training programs compute the same splits.
pub(crate) use shards::rng_for as stream_rng;
pub(crate) use shards::{hash_of, item_rng};

/// Returns a uniform number in [0, 1) that depends only on `seed` and `name`. To hold out a
/// fraction of all names, callers hold out a name if its number is less than the fraction.
pub(crate) fn hash_to_unit(seed: u64, name: &str) -> f64 {
    // The conversion is exact, because an f64 represents all 53-bit integers.
    (shards::seed_for(seed, name, 0).cast_unsigned() >> 11) as f64 / (1u64 << 53) as f64
}

/// Returns the first 8 bytes of the SHA-256 of `text` in hexadecimal. Tests compare long results by
/// this digest.
#[cfg(test)]
pub(crate) fn digest(text: String) -> String {
    use sha2::{Digest, Sha256};

    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::hash_to_unit;

    /// The expected values were computed with Python's hashlib and struct.
    #[test]
    fn numbers_match_python() {
        assert_eq!(hash_to_unit(0, "text Q64"), 0.07745207504182272);
        assert_eq!(hash_to_unit(7, "entity Q1"), 0.2793674915766001);
    }
}
