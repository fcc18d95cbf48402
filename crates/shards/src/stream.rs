//! Examples that are read as training goes on, because they do not fit in memory.
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Fingerprint;

/// The error of a source.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Gives examples one by one, in the same order whenever an epoch starts with the same generator.
/// [`ExampleStream`] makes batches of them.
///
/// Of several processes, each reads all examples: position and batch are those of one process. A
/// source whose examples cost much may share that cost within `start_epoch` and `next_example`,
/// where it knows of the others; not within `seek`.
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
    /// A place between two examples of an epoch; checkpoints hold it.
    type Position: Serialize + DeserializeOwned;

    /// Goes to the first example of an epoch, counted from 0. `rng` is the epoch's generator,
    /// for a source that draws an order.
    ///
    /// # Errors
    /// If the source cannot be read.
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError>;

    /// The next example of the epoch; `None` at its end.
    ///
    /// # Errors
    /// If the example cannot be read.
    fn next_example(&mut self) -> Result<Option<Self::Example>, SourceError>;

    /// The place before the next example.
    fn position(&self) -> Self::Position;

    /// Goes to a place in the epoch that was started last.
    ///
    /// # Errors
    /// If there is no such place.
    fn seek(&mut self, position: Self::Position) -> Result<(), SourceError>;

    /// Examples in an epoch, where known.
    fn examples(&self) -> Option<u64> {
        None
    }

    /// Adds what decides the examples.
    fn fingerprint(&self, fingerprint: &mut Fingerprint);
}

/// Streamed examples in batches, whatever their type; see [`ExampleStream`].
pub trait BatchStream {
    /// See [`ExampleSource::start_epoch`].
    ///
    /// # Errors
    /// If the source cannot be read.
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError>;

    /// Reads the next `size` examples of the epoch, fewer at its end, in place of the last batch.
    ///
    /// # Errors
    /// If an example cannot be read.
    fn next_batch(&mut self, size: usize) -> Result<StreamedBatch, SourceError>;

    /// The place before the next batch, as JSON.
    ///
    /// # Errors
    /// If it has no JSON form.
    fn position(&self) -> Result<serde_json::Value, SourceError>;

    /// Goes to a place in the epoch that was started last.
    ///
    /// # Errors
    /// If there is no such place.
    fn seek(&mut self, position: &serde_json::Value) -> Result<(), SourceError>;

    /// Examples in an epoch, where known.
    fn examples(&self) -> Option<u64>;
}

/// What a batch from a stream is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedBatch {
    /// The length in tokens of each example.
    pub lengths: Vec<usize>,
    /// Whether the epoch ends with this batch.
    pub last: bool,
}

/// The length of an example in tokens.
type CountTokens<E> = Box<dyn Fn(&E) -> usize>;

/// Examples from a source, a batch in memory at a time.
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
    /// Read ahead, to know whether the epoch ends.
    ahead: Option<S::Example>,
    /// The place before `ahead`.
    position: S::Position,
}

impl<S: ExampleSource> ExampleStream<S> {
    /// `tokens` is the length of an example in tokens.
    pub fn new(source: S, tokens: impl Fn(&S::Example) -> usize + 'static) -> Self {
        let position = source.position();
        Self { source, tokens: Box::new(tokens), batch: Vec::new(), ahead: None, position }
    }

    /// The examples of the batch that was read last.
    pub fn batch(&self) -> &[S::Example] {
        &self.batch
    }

    /// Where the examples come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Adds what decides the examples.
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
