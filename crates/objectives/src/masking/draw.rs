//! Random draws that depend only on the policy, the seed and the example.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Corruption, MaskedExample, MaskingVocab};
use crate::IGNORE_INDEX;

/// The random generator of one example under one policy. The policy's name may have at most 24
/// bytes.
pub(super) fn generator(policy: &str, seed: u64, example: u64) -> ChaCha8Rng {
    assert!(policy.len() <= 24, "the key has 24 bytes for the policy {policy}");
    let mut key = [0; 32];
    for (out, byte) in key.iter_mut().zip(seed.to_le_bytes().into_iter().chain(policy.bytes())) {
        *out = byte;
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(example);
    rng
}

/// `share · count`, rounded to the nearest integer; halves are rounded up.
pub(super) fn budget(share: f64, count: usize) -> usize {
    to_count((share * count as f64).round(), count)
}

/// `share · count`, rounded up or down at random so that the mean is exact.
pub(super) fn random_budget(share: f64, count: usize, rng: &mut ChaCha8Rng) -> usize {
    to_count((share * count as f64 + rng.random::<f64>()).floor(), count)
}

/// Converts to an integer in `0..=max`; the cast saturates.
fn to_count(value: f64, max: usize) -> usize {
    (value as usize).min(max)
}

/// Labels and corrupts the tokens at `positions`, with a separate draw for each token.
pub(super) fn corrupt(
    input_ids: &[u32],
    positions: impl IntoIterator<Item = usize>,
    vocab: &MaskingVocab,
    corruption: &Corruption,
    rng: &mut ChaCha8Rng,
) -> MaskedExample {
    let labels = vec![IGNORE_INDEX; input_ids.len()];
    let mut masked = MaskedExample { input_ids: input_ids.to_vec(), labels };
    for position in positions {
        let (input, label) = (&mut masked.input_ids[position], &mut masked.labels[position]);
        *label = i64::from(*input);
        let draw: f64 = rng.random();
        if draw < corruption.mask {
            *input = vocab.mask_id();
        } else if draw < corruption.mask + corruption.random {
            *input = vocab.random_id(rng.random_range(0..vocab.random_count()));
        }
    }
    masked
}
