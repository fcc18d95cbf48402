//! Several sources as one, for tasks that train on several kinds of examples at once.
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{ExampleSource, Fingerprint, SourceError};

/// An example of each of two sources at a time; the epoch ends with the shorter one. Give sources
/// of different lengths as [`Endless`](crate::Endless), and further ones as another `Zipped`.
pub struct Zipped<A, B> {
    first: A,
    second: B,
}

impl<A, B> Zipped<A, B> {
    /// Puts two sources side by side.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

impl<A: ExampleSource, B: ExampleSource> ExampleSource for Zipped<A, B> {
    type Example = (A::Example, B::Example);
    type Position = (A::Position, B::Position);

    fn start_epoch(&mut self, epoch: u64, mut rng: ChaCha8Rng) -> Result<(), SourceError> {
        let (first, second) = (ChaCha8Rng::from_rng(&mut rng), ChaCha8Rng::from_rng(&mut rng));
        self.first.start_epoch(epoch, first)?;
        self.second.start_epoch(epoch, second)
    }

    fn next_example(&mut self) -> Result<Option<Self::Example>, SourceError> {
        let first = self.first.next_example()?;
        Ok(first.zip(self.second.next_example()?))
    }

    fn position(&self) -> Self::Position {
        (self.first.position(), self.second.position())
    }

    fn seek(&mut self, (first, second): Self::Position) -> Result<(), SourceError> {
        self.first.seek(first)?;
        self.second.seek(second)
    }

    /// Those of the shorter source; of two without end, those of its epoch.
    fn examples(&self) -> Option<u64> {
        let both = [self.first.examples(), self.second.examples()];
        both.into_iter().flatten().min()
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("source", "first");
        self.first.fingerprint(fingerprint);
        fingerprint.add("source", "second");
        self.second.fingerprint(fingerprint);
    }
}

/// A source that may be missing: then it gives `None` without end.
impl<S: ExampleSource> ExampleSource for Option<S> {
    type Example = Option<S::Example>;
    type Position = Option<S::Position>;

    fn start_epoch(&mut self, epoch: u64, rng: ChaCha8Rng) -> Result<(), SourceError> {
        self.as_mut().map_or(Ok(()), |source| source.start_epoch(epoch, rng))
    }

    fn next_example(&mut self) -> Result<Option<Self::Example>, SourceError> {
        match self {
            Some(source) => Ok(source.next_example()?.map(Some)),
            None => Ok(Some(None)),
        }
    }

    fn position(&self) -> Self::Position {
        self.as_ref().map(ExampleSource::position)
    }

    fn seek(&mut self, position: Self::Position) -> Result<(), SourceError> {
        match (self, position) {
            (Some(source), Some(position)) => source.seek(position),
            (None, None) => Ok(()),
            _ => Err("the place is of other sources than those that are read".into()),
        }
    }

    fn examples(&self) -> Option<u64> {
        self.as_ref().and_then(ExampleSource::examples)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        if let Some(source) = self {
            source.fingerprint(fingerprint);
        }
    }
}
