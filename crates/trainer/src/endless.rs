//! A source that begins anew where its epoch ends.
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{ExampleSource, Fingerprint, TaskError, rng_for};

/// Epoch after epoch of a source, as one epoch without end: for a task that reads several sources,
/// each with its own length. See [`Zipped`](crate::Zipped).
///
/// ```
/// use trainer::{Endless, ExampleSource, MemorySource, rng_for};
///
/// let mut source = Endless::new(MemorySource::new(vec!["a", "b"]));
/// source.start_epoch(0, rng_for(7, "order", 0))?;
/// for _ in 0..3 {
///     assert!(source.next_example()?.is_some());
/// }
/// assert_eq!(source.position().epoch, 1);
/// # Ok::<(), trainer::TaskError>(())
/// ```
pub struct Endless<S> {
    source: S,
    /// Seeds the epochs.
    key: u64,
    epoch: u64,
}

/// A place in an [`Endless`] source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct EndlessPosition<P> {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The place in it.
    pub position: P,
}

impl<S> Endless<S> {
    /// Repeats `source`.
    pub fn new(source: S) -> Self {
        Self { source, key: 0, epoch: 0 }
    }

    /// What is repeated.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S: ExampleSource> Endless<S> {
    fn start(&mut self, epoch: u64) -> Result<(), TaskError> {
        self.epoch = epoch;
        self.source.start_epoch(epoch, rng_for(self.key, "order", epoch))
    }
}

impl<S: ExampleSource> ExampleSource for Endless<S> {
    type Example = S::Example;
    type Position = EndlessPosition<S::Position>;

    fn start_epoch(&mut self, _: u64, mut rng: ChaCha8Rng) -> Result<(), TaskError> {
        self.key = rng.random();
        self.start(0)
    }

    fn next_example(&mut self) -> Result<Option<S::Example>, TaskError> {
        if let Some(example) = self.source.next_example()? {
            return Ok(Some(example));
        }
        self.start(self.epoch + 1)?;
        let example = self.source.next_example()?;
        example.map(Some).ok_or_else(|| "the source of examples has none".into())
    }

    fn position(&self) -> Self::Position {
        EndlessPosition { epoch: self.epoch, position: self.source.position() }
    }

    fn seek(&mut self, position: Self::Position) -> Result<(), TaskError> {
        self.start(position.epoch)?;
        self.source.seek(position.position)
    }

    /// Examples in an epoch of the source.
    fn examples(&self) -> Option<u64> {
        self.source.examples()
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.source.fingerprint(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySource;

    #[test]
    fn epochs_follow_each_other_and_every_place_can_be_gone_back_to() {
        let mut source = Endless::new(MemorySource::new((0..5).collect()));
        let start = |source: &mut Endless<_>| source.start_epoch(0, rng_for(3, "order", 0));
        start(&mut source).unwrap();
        let (mut all, mut places) = (Vec::new(), Vec::new());
        for _ in 0..17 {
            places.push(source.position());
            all.push(source.next_example().unwrap().unwrap());
        }
        for epoch in all.chunks_exact(5) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert!(all[..5] != all[5..10] || all[5..10] != all[10..15]);
        for (number, place) in places.into_iter().enumerate() {
            start(&mut source).unwrap();
            source.seek(place).unwrap();
            let rest = (number..17).map(|_| source.next_example().unwrap().unwrap());
            assert_eq!(rest.collect::<Vec<i32>>(), all[number..]);
        }
    }

    #[test]
    fn nothing_is_an_error_and_no_loop_without_end() {
        let mut source = Endless::new(MemorySource::<u8>::new(vec![]));
        source.start_epoch(0, rng_for(3, "order", 0)).unwrap();
        assert!(source.next_example().is_err());
    }
}
