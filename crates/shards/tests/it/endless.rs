//! Sources that begin anew where their epoch ends, alone and side by side.
use shards::{Endless, ExampleSource, Zipped, rng_for};

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

#[test]
fn sources_side_by_side_count_their_own_epochs() {
    let mentions = Endless::new(MemorySource::new(vec!["Bern", "Lima", "Oslo"]));
    let triples = Endless::new(MemorySource::new(vec![1, 2]));
    let mut source = Zipped::new(Some(mentions), Some(triples));
    source.start_epoch(0, rng_for(7, "order", 0)).unwrap();
    for _ in 0..6 {
        assert!(matches!(source.next_example().unwrap(), Some((Some(_), Some(_)))));
    }
    let (mentions, triples) = source.position();
    assert_eq!(mentions.map(|place| place.epoch), Some(1));
    assert_eq!(triples.map(|place| place.epoch), Some(2));
}
