//! Random numbers that depend on a seed and on what they are for, never on the order of the work.
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator for one item: stream `item` of the generator that `seed` starts.
pub(crate) fn item_rng(seed: u64, item: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(item);
    rng
}
