//! Readers while a writer commits.
use std::sync::atomic::{AtomicBool, Ordering};

use collection::{Collection, Encoder};

use crate::{create, document};

/// Every commit replaces all documents by those of the next generation, and embeds the ones of the
/// previous commit. A reader must never see documents of two generations, or vectors of passages
/// that are not there.
#[test]
fn readers_see_complete_commits() {
    const DOCUMENTS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let id = |k: usize| format!("d{k}");
    let mut writer = create(folder.path(), &[]);
    let probe = vec![1.0, 0.0];
    writer.set_encoder(Encoder { options: String::new(), probe: probe.clone() }).unwrap();
    for k in 0..DOCUMENTS {
        writer.add(&document(&id(k), "generation 0")).unwrap();
    }
    writer.commit().unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let collection = Collection::open(folder.path()).unwrap();
                    let mut seen = std::collections::BTreeSet::new();
                    while !is_done.load(Ordering::Relaxed) {
                        let snapshot = collection.snapshot().unwrap();
                        assert_eq!(snapshot.document_count(), DOCUMENTS as u64);
                        let hits = snapshot
                            .select_hybrid(&"generation".into(), &probe, 50, &|_| false)
                            .unwrap();
                        assert_eq!(hits.len(), DOCUMENTS);
                        let texts: std::collections::BTreeSet<_> =
                            hits.iter().map(|hit| hit.passage.text.to_string()).collect();
                        assert_eq!(texts.len(), 1, "{texts:?}");
                        seen.extend(texts);
                    }
                    seen.len()
                })
            })
            .collect();
        for generation in 1..40 {
            let numbers = writer.snapshot().passages_without_vectors().unwrap();
            let rows = numbers.iter().map(|&number| (number, probe.clone())).collect();
            writer.add_vectors(rows).unwrap();
            writer.commit().unwrap();
            for k in 0..DOCUMENTS {
                let text = format!("generation {generation}");
                writer.update(&document(&id(k), &text)).unwrap();
            }
            writer.commit().unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 1);
        }
    });
    writer.finish().unwrap();
}
