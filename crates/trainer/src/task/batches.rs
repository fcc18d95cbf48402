//! Seeded batches of examples of similar length, independent of the number of threads.
use rand::seq::SliceRandom;

use crate::rng_for;

/// Generates the batches of every epoch of a stage.
///
/// ```
/// use trainer::Batches;
///
/// let lengths = [5, 9, 4, 8, 7];
/// let batches = Batches::new(&lengths, 2, 1, 42);
/// let epoch = batches.epoch(0);
/// assert_eq!((batches.batches_per_epoch(), epoch.len()), (3, 3));
/// let tokens: u64 = epoch.iter().map(|batch| batches.tokens(batch)).sum();
/// assert_eq!(tokens, 33);
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    lengths: Vec<usize>,
    batch_size: usize,
    bucket_batches: usize,
    seed: u64,
}

/// The batches of one epoch, which contain each example once. One batch can be smaller than the
/// batch size.
pub(crate) type Epoch = Vec<Vec<usize>>;

impl Batches {
    /// Creates batches from `lengths` in tokens, one per example. Each group of `bucket_batches *
    /// batch_size` examples is sorted by length and divided into batches.
    pub fn new(lengths: &[usize], batch_size: usize, bucket_batches: usize, seed: u64) -> Self {
        Self {
            lengths: lengths.to_vec(),
            batch_size: batch_size.max(1),
            bucket_batches: bucket_batches.max(1),
            seed,
        }
    }

    /// Returns the number of batches per epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.lengths.len().div_ceil(self.batch_size) as u64
    }

    /// Returns the batches of epoch `epoch`.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut rng = rng_for(self.seed, "order", epoch);
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        order.shuffle(&mut rng);
        let mut batches: Epoch = Vec::with_capacity(order.len().div_ceil(self.batch_size));
        let bucket_size = self.batch_size.saturating_mul(self.bucket_batches);
        for bucket in order.chunks_mut(bucket_size) {
            if self.bucket_batches > 1 {
                // The sort is stable, so examples of equal length remain in shuffled order.
                bucket.sort_by_key(|&example| self.lengths[example]);
            }
            batches.extend(bucket.chunks(self.batch_size).map(<[usize]>::to_vec));
        }
        if self.bucket_batches > 1 {
            batches.shuffle(&mut rng);
        }
        batches
    }

    /// Returns the number of non-padding tokens of a batch.
    pub fn tokens(&self, batch: &[usize]) -> u64 {
        batch.iter().map(|&example| self.lengths[example] as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_epoch_has_each_example_once(
            lengths in proptest::collection::vec(1usize..200, 0..300),
            batch_size in 1usize..40,
            bucket_batches in 1usize..6,
            seed in any::<u64>(),
        ) {
            let batches = Batches::new(&lengths, batch_size, bucket_batches, seed);
            let epoch = batches.epoch(3);
            prop_assert_eq!(epoch.len() as u64, batches.batches_per_epoch());
            prop_assert!(epoch.iter().all(|batch| !batch.is_empty() && batch.len() <= batch_size));
            let mut examples: Vec<usize> = epoch.concat();
            examples.sort_unstable();
            prop_assert_eq!(examples, (0..lengths.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_differ_and_depend_only_on_the_seed() {
        let lengths = vec![5; 100];
        let batches = Batches::new(&lengths, 8, 4, 7);
        assert_eq!(batches.epoch(0), Batches::new(&lengths, 8, 4, 7).epoch(0));
        assert_ne!(batches.epoch(0), batches.epoch(1));
        assert_ne!(batches.epoch(0), Batches::new(&lengths, 8, 4, 8).epoch(0));
    }

    #[test]
    fn buckets_reduce_padding() {
        let lengths: Vec<usize> = (0..640).map(|k| 5 + (k * 37) % 100).collect();
        let padded_tokens = |bucket_batches| -> usize {
            Batches::new(&lengths, 16, bucket_batches, 1)
                .epoch(0)
                .iter()
                .map(|batch| batch.len() * batch.iter().map(|&k| lengths[k]).max().unwrap())
                .sum()
        };
        let token_count: usize = lengths.iter().sum();
        assert!(padded_tokens(1) > token_count * 3 / 2);
        assert!(padded_tokens(20) < token_count * 11 / 10);
    }
}
