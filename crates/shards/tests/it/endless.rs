//! Tests of endless sources.
use rand_chacha::ChaCha8Rng;
use shards::{Endless, ExampleSource, Fingerprint, SourceError, rng_for};

/// A source without examples.
struct EmptySource;

impl ExampleSource for EmptySource {
    type Example = ();
    type Position = ();

    fn start_epoch(&mut self, _: u64, _: ChaCha8Rng) -> Result<(), SourceError> {
        Ok(())
    }

    fn next_example(&mut self) -> Result<Option<()>, SourceError> {
        Ok(None)
    }

    fn position(&self) {}

    fn seek(&mut self, _: ()) -> Result<(), SourceError> {
        Ok(())
    }

    fn fingerprint(&self, _: &mut Fingerprint) {}
}

#[test]
fn an_empty_source_is_an_error_instead_of_an_infinite_loop() {
    let mut source = Endless::new(EmptySource);
    source.start_epoch(0, rng_for(3, "order", 0)).unwrap();
    assert!(source.next_example().is_err());
}
