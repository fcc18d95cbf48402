//! A source whose examples are in memory, for tests.
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use shards::{ExampleSource, Fingerprint, SourceError};

/// A source of examples in memory, in a new order each epoch.
pub struct MemorySource<T> {
    examples: Vec<T>,
    order: Vec<usize>,
    next: usize,
}

impl<T> MemorySource<T> {
    /// Creates a source of `examples`.
    pub fn new(examples: Vec<T>) -> Self {
        let order = (0..examples.len()).collect();
        Self { examples, order, next: 0 }
    }
}

impl<T: Clone + Serialize> ExampleSource for MemorySource<T> {
    type Example = T;
    type Position = usize;

    fn start_epoch(&mut self, _: u64, mut rng: ChaCha8Rng) -> Result<(), SourceError> {
        self.order = (0..self.examples.len()).collect();
        self.order.shuffle(&mut rng);
        self.next = 0;
        Ok(())
    }

    fn next_example(&mut self) -> Result<Option<T>, SourceError> {
        let example = self.order.get(self.next).and_then(|&number| self.examples.get(number));
        self.next += usize::from(example.is_some());
        Ok(example.cloned())
    }

    fn position(&self) -> usize {
        self.next
    }

    fn seek(&mut self, position: usize) -> Result<(), SourceError> {
        if position > self.order.len() {
            return Err(format!("example {position} of {}", self.order.len()).into());
        }
        self.next = position;
        Ok(())
    }

    fn example_count(&self) -> Option<u64> {
        Some(self.examples.len() as u64)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for example in &self.examples {
            fingerprint.add_json("example", example);
        }
    }
}
