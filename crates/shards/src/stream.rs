//! Streaming of examples that do not fit in memory.
use std::rc::Rc;

use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Fingerprint;

/// An error of a source of examples.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Processes that read the same examples in the same order, and share the work of encoding them.
pub trait ReadingGroup {
    /// Returns the rank of this process, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of processes.
    fn size(&self) -> usize;

    /// Gathers rows of integers on every process. Row k of the result is row k of the list that
    /// process k mod size passes. Row k of every other process's list is ignored.
    ///
    /// # Errors
    /// If the processes cannot exchange data, or pass different numbers of rows.
    fn gather_rows(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, SourceError>;
}

/// A source of examples, which [`ExampleStream`] groups into batches.
///
/// Epochs that start with equal random generators have the same order.
///
/// If there are several processes, each process reads all examples, so positions and batches are
/// the same as for one process. A source with expensive examples can distribute the work between
/// the processes of [`share`](Self::share).
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
///         fingerprint.add_number("end", u64::from(self.end));
///     }
/// }
/// ```
pub trait ExampleSource {
    /// Type of the examples.
    type Example;
    /// A position between two examples of an epoch, stored in checkpoints.
    type Position: Serialize + DeserializeOwned;

    /// Moves to the first example of an epoch. `epoch` is the epoch's index, from 0. `rng` is the
    /// epoch's random generator, for sources that shuffle.
    ///
    /// # Errors
    /// If the source cannot be read.
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError>;

    /// Returns the next example of the epoch, or `None` at the end of the epoch.
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
    fn example_count(&self) -> Option<u64> {
        None
    }

    /// Sets the processes that share the work of the next calls; `None` for this process only.
    /// Every process of the group then makes the same calls. By default, each process does all the
    /// work.
    fn share(&mut self, group: Option<Rc<dyn ReadingGroup>>) {
        let _ = group;
    }

    /// Adds everything that determines the examples to the fingerprint.
    fn fingerprint(&self, fingerprint: &mut Fingerprint);
}

/// A stream of batches that is independent of the type of the examples; see [`ExampleStream`].
pub trait BatchStream {
    /// See [`ExampleSource::start_epoch`].
    ///
    /// # Errors
    /// If the source cannot be read.
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError>;

    /// Replaces the current batch by the next `size` examples, or fewer at the end of the epoch.
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
    fn example_count(&self) -> Option<u64>;

    /// See [`ExampleSource::share`].
    fn share(&mut self, group: Option<Rc<dyn ReadingGroup>>);
}

/// Example lengths of a streamed batch, and whether it is the last batch of the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedBatch {
    /// Length of each example in tokens.
    pub lengths: Vec<usize>,
    /// Whether the epoch ends with this batch.
    pub is_last: bool,
}

/// A function that returns the length of an example in tokens.
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
/// assert!(!first.is_last && second.is_last);
/// assert_eq!(first.lengths.iter().chain(&second.lengths).sum::<usize>(), 6);
/// assert_eq!(stream.batch().len(), 1);
/// # Ok::<(), shards::SourceError>(())
/// ```
pub struct ExampleStream<S: ExampleSource> {
    source: S,
    count_tokens: CountTokens<S::Example>,
    batch: Vec<S::Example>,
    /// The next example, which is read in advance to detect the end of the epoch.
    next: Option<S::Example>,
    /// The position before `next`.
    position: S::Position,
}

impl<S: ExampleSource> ExampleStream<S> {
    /// Creates a stream; `count_tokens` returns the length of an example in tokens.
    pub fn new(source: S, count_tokens: impl Fn(&S::Example) -> usize + 'static) -> Self {
        let position = source.position();
        Self {
            source,
            count_tokens: Box::new(count_tokens),
            batch: Vec::new(),
            next: None,
            position,
        }
    }

    /// Returns the examples of the last batch.
    pub fn batch(&self) -> &[S::Example] {
        &self.batch
    }

    /// Returns the source of the examples.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Adds everything that determines the examples to the fingerprint.
    pub fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.source.fingerprint(fingerprint);
    }

    fn read_next(&mut self) -> Result<(), SourceError> {
        self.position = self.source.position();
        self.next = self.source.next_example()?;
        Ok(())
    }
}

impl<S: ExampleSource> BatchStream for ExampleStream<S> {
    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError> {
        self.batch.clear();
        self.source.start_epoch(epoch, rng)?;
        self.read_next()
    }

    fn next_batch(&mut self, size: usize) -> Result<StreamedBatch, SourceError> {
        self.batch.clear();
        while self.batch.len() < size {
            let Some(example) = self.next.take() else { break };
            self.batch.push(example);
            self.read_next()?;
        }
        let lengths = self.batch.iter().map(|example| (self.count_tokens)(example)).collect();
        Ok(StreamedBatch { lengths, is_last: self.next.is_none() })
    }

    fn position(&self) -> Result<serde_json::Value, SourceError> {
        Ok(serde_json::to_value(&self.position)?)
    }

    fn seek(&mut self, position: &serde_json::Value) -> Result<(), SourceError> {
        self.batch.clear();
        self.source.seek(S::Position::deserialize(position)?)?;
        self.read_next()
    }

    fn example_count(&self) -> Option<u64> {
        self.source.example_count()
    }

    fn share(&mut self, group: Option<Rc<dyn ReadingGroup>>) {
        self.source.share(group);
    }
}
