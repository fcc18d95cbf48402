//! Streaming of shuffled examples from JSONL shards.
use std::marker::PhantomData;

use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;

use crate::{
    ExampleSource, Fingerprint, Result, ShardPosition, Shards, ShuffleConfig, ShuffledLines,
    SourceError,
};

/// A source of examples from JSONL files, which may be compressed, in a new order each epoch.
///
/// See [`ShuffledLines`] for the order. Memory use does not depend on the size of the files.
///
/// # Example
/// ```
/// use serde::Deserialize;
/// use shards::{ExampleSource, ShardedJsonl, Shards, ShuffleConfig, rng_for};
///
/// #[derive(Deserialize)]
/// struct Row {
///     input_ids: Vec<u32>,
/// }
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("0.jsonl"), "{\"input_ids\": [0, 7, 2]}\n")?;
/// std::fs::write(folder.path().join("1.jsonl"), "{\"input_ids\": [0, 2]}\n")?;
/// let shards = Shards::open([folder.path()])?;
/// let mut rows = ShardedJsonl::<Row>::new(shards, ShuffleConfig::default())?;
/// assert_eq!(rows.example_count(), Some(2));
/// rows.start_epoch(0, rng_for(1, "order", 0))?;
/// let (first, position) = (rows.next_example()?, rows.position());
/// let second = rows.next_example()?.map(|row| row.input_ids);
/// rows.seek(position)?;
/// assert_eq!(rows.next_example()?.map(|row| row.input_ids), second);
/// assert!(first.is_some() && rows.next_example()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct ShardedJsonl<T> {
    lines: ShuffledLines,
    /// Number of non-blank lines.
    example_count: u64,
    example_type: PhantomData<fn() -> T>,
}

impl<T> ShardedJsonl<T> {
    /// Creates a source of the examples of `shards`.
    ///
    /// # Errors
    /// The errors of [`ShuffleConfig::validate`].
    pub fn new(shards: Shards, config: ShuffleConfig) -> Result<Self> {
        let example_count = shards.line_count();
        let lines = ShuffledLines::new(shards, config)?;
        Ok(Self { lines, example_count, example_type: PhantomData })
    }
}

impl<T: DeserializeOwned> ExampleSource for ShardedJsonl<T> {
    type Example = T;
    type Position = ShardPosition;

    fn start_epoch(&mut self, _: u64, rng: ChaCha8Rng) -> std::result::Result<(), SourceError> {
        self.lines.start_epoch(rng);
        Ok(())
    }

    fn next_example(&mut self) -> std::result::Result<Option<T>, SourceError> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        Ok(Some(line.parse().map_err(|reason| line.error(reason))?))
    }

    fn position(&self) -> ShardPosition {
        self.lines.position()
    }

    fn seek(&mut self, position: ShardPosition) -> std::result::Result<(), SourceError> {
        self.lines.seek(position)
    }

    fn example_count(&self) -> Option<u64> {
        Some(self.example_count)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_number("examples", self.example_count);
        self.lines.fingerprint(fingerprint);
    }
}
