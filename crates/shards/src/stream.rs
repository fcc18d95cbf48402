//! Streaming of examples that do not fit in memory.
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Fingerprint;

/// The error of a source.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A source of examples. The order is the same whenever an epoch starts with the same generator.
/// [`ExampleStream`] creates batches.
///
/// With several processes, each process reads all examples, so positions and batches are the same
/// as for one process. A source with expensive examples may distribute the work between processes
/// in `start_epoch` and `next_example`, but not in `seek`.
///
/// # Example
/// ```
/// use rand_chacha::ChaCha8Rng;
/// use shards::{ExampleSource, Fingerprint, SourceError};
///
/// /// The numbers below `end`.
/// struct Count {
///     next: u32,
///     end: u32,
/// }
///
/// impl ExampleSource for Count {
///     type Example = u32;
///     type Position = u32;
///
///     fn start_epoch(&mut self, _: u64, _: ChaCha8Rng) -> Result<(), SourceError> {
///         self.next = 0;
///         Ok(())
///     }
///
///     fn next_example(&mut self) -> Result<Option<u32>, SourceError> {
///         let number = (self.next < self.end).then_some(self.next);
///         self.next += 1;
///         Ok(number)
///     }
///
///     fn position(&self) -> u32 {
///         self.next
///     }
///
///     fn seek(&mut self, position: u32) -> Result<(), SourceError> {
///         self.next = position;
///         Ok(())
///     }
///
///     fn fingerprint(&self, fingerprint: &mut Fingerprint) {
///         fingerprint.number("end", u64::from(self.end));
///     }
/// }
/// ```
pub trait ExampleSource {
    /// One example.
    type Example;
    /// A position between two examples of an epoch, which checkpoints contain.
    type Position: Serialize + DeserializeOwned;

    /// Moves to the first example of an epoch, counted from 0. `rng` is the epoch's generator, for
    /// sources that shuffle.
    ///
    /// # Errors
    /// If the source cannot be read.
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError>;

    /// Returns the next example of the epoch; `None` at its end.
    ///
    /// # Errors
    /// If the example cannot be read.
    fn next_example(&mut self) -> Result<Option<Self::Example>, SourceError>;

    /// Returns the position before the next example.
    fn position(&self) -> Self::Position;

    /// Moves to a position in the last started epoch.
    ///
    /// # Errors
    /// If the position does not exist.
    fn seek(&mut self, position: Self::Position) -> Result<(), SourceError>;

    /// Returns the number of examples in an epoch, if known.
    fn examples(&self) -> Option<u64> {
        None
    }

    /// Adds everything that determines the examples.
    fn fingerprint(&self, fingerprint: &mut Fingerprint);
}

/// Batches of streamed examples of any type; see [`ExampleStream`].
pub trait BatchStream {
    /// See [`ExampleSource::start_epoch`].
    ///
    /// # Errors
    /// If the source cannot be read.
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError>;

    /// Replaces the last batch by the next `size` examples of the epoch, or fewer at its end.
    ///
    /// # Errors
    /// If an example cannot be read.
    fn next_batch(&mut self, size: usize) -> Result<StreamedBatch, SourceError>;

    /// Returns the position before the next batch, as JSON.
    ///
    /// # Errors
    /// If JSON cannot represent the position.
    fn position(&self) -> Result<serde_json::Value, SourceError>;

    /// Moves to a position in the last started epoch.
    ///
    /// # Errors
    /// If the position does not exist.
    fn seek(&mut self, position: &serde_json::Value) -> Result<(), SourceError>;

    /// Returns the number of examples in an epoch, if known.
    fn examples(&self) -> Option<u64>;
}

/// Lengths and state of a streamed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedBatch {
    /// The length in tokens of each example.
    pub lengths: Vec<usize>,
    /// Whether the epoch ends with this batch.
    pub last: bool,
}

/// Returns the length of an example in tokens.
type CountTokens<E> = Box<dyn Fn(&E) -> usize>;

/// Batches of examples from a source, with one batch in memory at a time.
///
/// # Example
/// ```
/// use shards::{BatchStream, ExampleStream, ShardedJsonl, Shards, ShuffleConfig, rng_for};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("sentences.jsonl");
/// std::fs::write(&path, "\"a b c\"\n\"d e\"\n\"f\"\n")?;
/// let sentences = ShardedJsonl::new(Shards::open([path])?, ShuffleConfig::default())?;
/// let mut stream = ExampleStream::new(sentences, |text: &String| text.split(' ').count());
/// stream.start_epoch(0, rng_for(1, "order", 0))?;
/// let (first, second) = (stream.next_batch(2)?, stream.next_batch(2)?);
/// assert!(!first.last && second.last);
/// assert_eq!(first.lengths.iter().chain(&second.lengths).sum::<usize>(), 6);
/// assert_eq!(stream.batch().len(), 1);
/// # Ok::<(), shards::SourceError>(())
/// ```
pub struct ExampleStream<S: ExampleSource> {
    source: S,
    tokens: CountTokens<S::Example>,
    batch: Vec<S::Example>,
    /// Example that was read ahead, to detect the end of the epoch.
    ahead: Option<S::Example>,
    /// The position before `ahead`.
    position: S::Position,
}

impl<S: ExampleSource> ExampleStream<S> {
    /// Creates a stream; `tokens` returns the length of an example in tokens.
    pub fn new(source: S, tokens: impl Fn(&S::Example) -> usize + 'static) -> Self {
        let position = source.position();
        Self { source, tokens: Box::new(tokens), batch: Vec::new(), ahead: None, position }
    }

    /// Returns the examples of the last batch.
    pub fn batch(&self) -> &[S::Example] {
        &self.batch
    }

    /// Returns the source of the examples.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Adds everything that determines the examples.
    pub fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.source.fingerprint(fingerprint);
    }

    fn read_ahead(&mut self) -> Result<(), SourceError> {
        self.position = self.source.position();
        self.ahead = self.source.next_example()?;
        Ok(())
    }
}

impl<S: ExampleSource> BatchStream for ExampleStream<S> {
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError> {
        self.batch.clear();
        self.source.start_epoch(epoch, rng)?;
        self.read_ahead()
    }

    fn next_batch(&mut self, size: usize) -> Result<StreamedBatch, SourceError> {
        self.batch.clear();
        while self.batch.len() < size {
            let Some(example) = self.ahead.take() else { break };
            self.batch.push(example);
            self.read_ahead()?;
        }
        let lengths = self.batch.iter().map(|example| (self.tokens)(example)).collect();
        Ok(StreamedBatch { lengths, last: self.ahead.is_none() })
    }

    fn position(&self) -> Result<serde_json::Value, SourceError> {
        Ok(serde_json::to_value(&self.position)?)
    }

    fn seek(&mut self, position: &serde_json::Value) -> Result<(), SourceError> {
        self.batch.clear();
        self.source.seek(S::Position::deserialize(position)?)?;
        self.read_ahead()
    }

    fn examples(&self) -> Option<u64> {
        self.source.examples()
    }
}
