//! Random generators that depend only on a seed, a name and an index.
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

fn hash_stream(seed: u64, stream: &str, index: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(index.to_le_bytes());
    hash.update(stream.as_bytes());
    hash.finalize().into()
}

/// Returns the random generator of a named stream at an index, such as a step, an epoch or an
/// example.
///
/// ```
/// use rand::Rng;
/// use shards::rng_for;
///
/// let draw = |name, index| rng_for(42, name, index).random::<u64>();
/// assert_eq!(draw("dropout", 3), draw("dropout", 3));
/// assert_ne!(draw("dropout", 3), draw("dropout", 4));
/// assert_ne!(draw("dropout", 3), draw("order", 3));
/// ```
pub fn rng_for(seed: u64, stream: &str, index: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(hash_stream(seed, stream, index))
}

/// Returns a seed for a generator of another library, such as libtorch. The seed is a part of the
/// hash that [`rng_for`] uses.
///
/// ```
/// assert_ne!(shards::seed_for(42, "initial weights", 0), shards::seed_for(42, "queue", 0));
/// ```
pub fn seed_for(seed: u64, stream: &str, index: u64) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = hash_stream(seed, stream, index);
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Returns the FNV-1a hash of a list of strings.
///
/// Each string is terminated by a zero byte, so that `["ab", "c"]` and `["a", "bc"]` have different
/// hashes.
///
/// ```
/// assert_ne!(shards::hash_of(&["ab", "c"]), shards::hash_of(&["a", "bc"]));
/// ```
pub fn hash_of(strings: &[&str]) -> u64 {
    let bytes = strings.iter().flat_map(|string| string.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Returns the random generator of a named stream for one item.
///
/// Different names with the same seed give independent generators. Only the first 24 bytes of a
/// name are used.
pub fn item_rng(name: &str, seed: u64, item: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (slot, byte) in key.iter_mut().zip(seed.to_le_bytes().into_iter().chain(name.bytes())) {
        *slot = byte;
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(item);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_name_and_index() {
        let seeds =
            [seed_for(1, "a", 0), seed_for(2, "a", 0), seed_for(1, "b", 0), seed_for(1, "a", 1)];
        for (index, seed) in seeds.iter().enumerate() {
            assert!(seeds.iter().skip(index + 1).all(|other| seed != other));
        }
        assert_eq!(seed_for(1, "a", 0), seed_for(1, "a", 0));
    }
}
