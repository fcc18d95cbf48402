//! Random numbers that depend on a seed and on what they are for, never on the order of the work.
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// FNV-1a over the text, closed by a zero byte.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().chain([0]).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The generator for one item: stream `item` of the generator that `seed` starts.
pub(crate) fn item_rng(seed: u64, item: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(item);
    rng
}

/// The generator for one item of one use, whose name has at most 24 bytes.
pub(crate) fn use_rng(name: &str, seed: u64, item: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (slot, byte) in key.iter_mut().zip(seed.to_le_bytes().into_iter().chain(name.bytes())) {
        *slot = byte;
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(item);
    rng
}
