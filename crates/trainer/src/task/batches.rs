//! Seeded batches of examples of similar length, independent of the number of threads.
use rand::seq::SliceRandom;

use crate::rng_for;

/// Generates the batches of every epoch of a stage.
///
/// In every epoch, the examples are shuffled, and batches are created from them:
///
/// 1. If the number of examples is not a multiple of the batch size, the remainder is drawn at
///    random. It is the epoch's *short batch*. If the task requires larger batches
///    ([`Task::min_batch_size`](crate::Task::min_batch_size)), it is added to another batch.
/// 2. The other examples are divided into buckets of up to `bucket_batches` batches, but at most a
///    quarter of the epoch's batches. Each bucket is sorted by length and divided into batches.
/// 3. The batches are shuffled.
///
/// Buckets are limited because a bucket that contains the whole epoch is sorted into the same batches
/// in every epoch, and its short batch always contains the longest examples. With in-batch negatives,
/// the negatives would never change. Tasks with in-batch negatives are not sorted by default
/// ([`TrainConfig::bucket_batches`](crate::TrainConfig::bucket_batches)).
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
    min_batch_size: usize,
    seed: u64,
}

/// The batches of one epoch, which contain each example once.
pub(crate) type Epoch = Vec<Vec<usize>>;

impl Batches {
    /// Creates batches from `lengths` in tokens, one per example. With a `bucket_batches` of 1,
    /// examples are not sorted.
    pub fn new(lengths: &[usize], batch_size: usize, bucket_batches: usize, seed: u64) -> Self {
        Self {
            lengths: lengths.to_vec(),
            batch_size: batch_size.max(1),
            bucket_batches: bucket_batches.max(1),
            min_batch_size: 1,
            seed,
        }
    }

    /// Adds the examples of a short batch with fewer than `size` examples to another batch, which is
    /// then larger than the batch size.
    pub(crate) fn with_min_batch_size(self, size: usize) -> Self {
        Self { min_batch_size: size.max(1), ..self }
    }

    /// Returns the number of batches per epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        let (full, remainder) =
            (self.lengths.len() / self.batch_size, self.lengths.len() % self.batch_size);
        let has_short_batch = remainder >= self.min_batch_size || (full == 0 && remainder > 0);
        (full + usize::from(has_short_batch)) as u64
    }

    /// Returns the batches of epoch `epoch`.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut rng = rng_for(self.seed, "order", epoch);
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        order.shuffle(&mut rng);
        let (short, full) = order.split_at_mut(self.lengths.len() % self.batch_size);
        let bucket_batches = self.bucket_batches.min(full.len() / self.batch_size / 4).max(1);
        let mut batches: Epoch = Vec::with_capacity(full.len() / self.batch_size + 1);
        for bucket in full.chunks_mut(self.batch_size.saturating_mul(bucket_batches)) {
            if bucket_batches > 1 {
                // The sort is stable, so examples of equal length remain in shuffled order.
                bucket.sort_by_key(|&example| self.lengths[example]);
            }
            batches.extend(bucket.chunks(self.batch_size).map(<[usize]>::to_vec));
        }
        match batches.last_mut() {
            Some(batch) if short.len() < self.min_batch_size => batch.extend_from_slice(short),
            _ if short.is_empty() => {}
            _ => batches.push(short.to_vec()),
        }
        batches.shuffle(&mut rng);
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

    /// Returns the batches of epochs 0 to 5, each with its examples in ascending order.
    fn distinct_batches(batches: &Batches) -> std::collections::BTreeSet<Vec<usize>> {
        let mut sorted = std::collections::BTreeSet::new();
        for mut batch in (0..6).flat_map(|epoch| batches.epoch(epoch)) {
            batch.sort_unstable();
            sorted.insert(batch);
        }
        sorted
    }

    #[test]
    fn small_sets_have_new_batches_in_every_epoch() {
        // All lengths differ, so a bucket with the whole epoch would give the same batches.
        let lengths: Vec<usize> = (0..105).collect();
        assert_eq!(distinct_batches(&Batches::new(&lengths, 16, 50, 1)).len(), 42);
    }

    #[test]
    fn the_short_batch_is_not_always_of_the_longest_examples() {
        let lengths: Vec<usize> = (0..33).collect();
        let batches = Batches::new(&lengths, 32, 50, 1);
        let alone: std::collections::BTreeSet<usize> = (0..6)
            .flat_map(|epoch| batches.epoch(epoch))
            .filter(|batch| batch.len() == 1)
            .map(|batch| batch[0])
            .collect();
        assert!(alone.len() > 3, "{alone:?}");
    }

    #[test]
    fn a_short_batch_below_the_minimum_is_added_to_another_batch() {
        let sizes = |count: usize| {
            let lengths: Vec<usize> = (0..count).collect();
            let batches = Batches::new(&lengths, 8, 2, 1).with_min_batch_size(2);
            let mut sizes: Vec<usize> = batches.epoch(0).iter().map(Vec::len).collect();
            assert_eq!(sizes.len() as u64, batches.batches_per_epoch());
            sizes.sort_unstable();
            sizes
        };
        assert_eq!(sizes(17), [8, 9]);
        assert_eq!(sizes(18), [2, 8, 8]);
        assert_eq!(sizes(16), [8, 8]);
        assert_eq!(sizes(1), [1]);
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
        assert!(padded_tokens(10) < token_count * 12 / 10);
    }
}
