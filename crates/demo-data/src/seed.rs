//! Random generators whose numbers do not depend on the order of processing.
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Returns the random generator of one item: stream `item` of the generator seeded with `seed`.
pub(crate) fn item_rng(seed: u64, item: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(item);
    rng
}
