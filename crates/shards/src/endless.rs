//! An endless source, which repeats the epochs of another source.
use std::rc::Rc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{ExampleSource, Fingerprint, ReadingGroup, SourceError, rng_for};

/// Concatenates the epochs of a source into one endless epoch, so that every batch is full.
///
/// ```
/// use shards::{Endless, ExampleSource, ShardedJsonl, Shards, ShuffleConfig, rng_for};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("two.jsonl");
/// std::fs::write(&path, "[1]\n[2]\n")?;
/// let rows = ShardedJsonl::<[u8; 1]>::new(Shards::open([path])?, ShuffleConfig::default())?;
/// let mut source = Endless::new(rows);
/// source.start_epoch(0, rng_for(7, "order", 0))?;
/// for _ in 0..3 {
///     assert!(source.next_example()?.is_some());
/// }
/// assert_eq!(source.position().epoch, 1);
/// # Ok::<(), shards::SourceError>(())
/// ```
pub struct Endless<S> {
    source: S,
    /// Seed from which the random generator of each epoch is derived.
    seed: u64,
    /// Index of the current epoch of `source`.
    epoch: u64,
}

/// A position in an [`Endless`] source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct EndlessPosition<P> {
    /// Index of the epoch, from 0.
    pub epoch: u64,
    /// Position in the epoch.
    pub position: P,
}

impl<S> Endless<S> {
    /// Creates a source that repeats `source`.
    pub fn new(source: S) -> Self {
        Self { source, seed: 0, epoch: 0 }
    }

    /// Returns the repeated source.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S: ExampleSource> Endless<S> {
    fn start_source_epoch(&mut self, epoch: u64) -> Result<(), SourceError> {
        self.epoch = epoch;
        self.source.start_epoch(epoch, rng_for(self.seed, "order", epoch))
    }
}

impl<S: ExampleSource> ExampleSource for Endless<S> {
    type Example = S::Example;
    type Position = EndlessPosition<S::Position>;

    fn start_epoch(&mut self, _: u64, mut rng: ChaCha8Rng) -> Result<(), SourceError> {
        self.seed = rng.random();
        self.start_source_epoch(0)
    }

    fn next_example(&mut self) -> Result<Option<S::Example>, SourceError> {
        if let Some(example) = self.source.next_example()? {
            return Ok(Some(example));
        }
        self.start_source_epoch(self.epoch + 1)?;
        let example = self.source.next_example()?;
        example.map(Some).ok_or_else(|| "the source has no examples".into())
    }

    fn position(&self) -> Self::Position {
        EndlessPosition { epoch: self.epoch, position: self.source.position() }
    }

    fn seek(&mut self, position: Self::Position) -> Result<(), SourceError> {
        self.start_source_epoch(position.epoch)?;
        self.source.seek(position.position)
    }

    /// Returns the number of examples in an epoch of the repeated source.
    fn example_count(&self) -> Option<u64> {
        self.source.example_count()
    }

    fn share(&mut self, group: Option<Rc<dyn ReadingGroup>>) {
        self.source.share(group);
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.source.fingerprint(fingerprint);
    }
}
