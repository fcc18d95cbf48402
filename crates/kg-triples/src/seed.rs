//! Random numbers that depend on a seed and a name, but not on the order of processing.
/// The random generator of a named stream at an index. It is shared with `shards`, so that this
/// crate and training runs compute the same splits.
pub(crate) use shards::rng_for as stream_rng;
pub(crate) use shards::{hash_of, item_rng};

/// Returns a uniform number in [0, 1) that depends only on `seed` and `name`. Callers hold out a
/// fraction of names by comparing this number with the fraction.
pub(crate) fn hash_to_unit(seed: u64, name: &str) -> f64 {
    // An f64 represents 53-bit integers exactly.
    (shards::seed_for(seed, name, 0).cast_unsigned() >> 11) as f64 / (1u64 << 53) as f64
}

/// Returns the first 8 bytes of the SHA-256 of `text` in hexadecimal, for comparisons of long
/// results in tests.
#[cfg(test)]
pub(crate) fn digest(text: String) -> String {
    use sha2::{Digest, Sha256};

    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::hash_to_unit;

    /// The values were computed with Python's hashlib and struct.
    #[test]
    fn numbers_match_python() {
        assert_eq!(hash_to_unit(0, "text Q64"), 0.07745207504182272);
        assert_eq!(hash_to_unit(7, "entity Q1"), 0.2793674915766001);
    }
}
