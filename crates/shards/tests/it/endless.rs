//! Sources that begin anew where their epoch ends.
use shards::{Endless, ExampleSource, rng_for};

use crate::memory_source::MemorySource;

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
