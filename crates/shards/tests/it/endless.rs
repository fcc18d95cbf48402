//! Tests of endless sources.
use shards::{Endless, ExampleSource, rng_for};

use crate::memory_source::MemorySource;

#[test]
fn an_empty_source_is_an_error_instead_of_an_infinite_loop() {
    let mut source = Endless::new(MemorySource::<u8>::new(vec![]));
    source.start_epoch(0, rng_for(3, "order", 0)).unwrap();
    assert!(source.next_example().is_err());
}
