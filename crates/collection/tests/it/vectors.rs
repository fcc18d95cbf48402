//! Vectors of passages.
use collection::{Collection, Encoder, Passage, Snapshot, Writer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{create, document, snapshot};

const WIDTH: usize = 48;

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

fn random_unit(rng: &mut ChaCha8Rng) -> Vec<f32> {
    unit((0..WIDTH).map(|_| rng.random_range(-1.0..1.0)).collect())
}

fn encoder(options: &str) -> Encoder {
    Encoder { options: options.to_owned(), probe: unit(vec![1.0; WIDTH]) }
}

/// The vector of the document `number`.
fn vector(number: usize) -> Vec<f32> {
    random_unit(&mut ChaCha8Rng::seed_from_u64(number as u64))
}

/// Adds the vectors of all passages without vectors, and commits after each batch.
fn embed(writer: &mut Writer, batch: usize) {
    writer.set_encoder(encoder("a")).unwrap();
    for numbers in writer.snapshot().passages_without_vectors().unwrap().chunks(batch) {
        let row = |&number: &u64| {
            let passage = writer.snapshot().passage(number).unwrap().unwrap();
            (number, vector(passage.document.parse().unwrap()))
        };
        let rows = numbers.iter().map(row).collect();
        writer.add_vectors(rows).unwrap();
        writer.commit().unwrap();
    }
}

fn numbered(folder: &std::path::Path, count: usize) -> Writer {
    let mut writer = Writer::create(folder).unwrap();
    for number in 0..count {
        writer.add(&document(&number.to_string(), &format!("text {number}"))).unwrap();
    }
    writer.commit().unwrap();
    writer
}

fn never(_: &Passage) -> bool {
    false
}

/// Returns the ids of the passages that are most similar to a vector, among those with vectors.
fn nearest(snapshot: &Snapshot, query: &[f32], limit: usize) -> Vec<usize> {
    let hits = snapshot.select_hybrid(&"?".into(), query, limit, &never).unwrap();
    hits.iter().map(|hit| hit.passage.document.parse().unwrap()).collect()
}

/// The same by comparison with all vectors.
fn expected(ids: impl Iterator<Item = usize>, query: &[f32], limit: usize) -> Vec<usize> {
    let cosine = |id: usize| -> f64 {
        vector(id).iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let mut scores: Vec<(usize, f64)> = ids.map(|id| (id, cosine(id))).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.iter().take(limit).map(|&(id, _)| id).collect()
}

#[test]
fn the_scan_finds_the_most_similar_passages() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = numbered(folder.path(), 1000);
    embed(&mut writer, 300);
    let first = snapshot(folder.path());
    assert_eq!(first.vector_count().unwrap(), 1000);
    for seed in 5000..5020 {
        let query = vector(seed);
        assert_eq!(nearest(&first, &query, 50), expected(0..1000, &query, 50));
    }
    let hits = first.select_hybrid(&"?".into(), &vector(7), 3, &never).unwrap();
    assert_eq!(&*hits[0].passage.document, "7");
    assert!((hits[0].cosine.unwrap() - 1.0).abs() < 1e-5 && hits[0].words.is_none());

    // Passages of removed documents are not found; files with many of them are written again.
    for number in 0..400 {
        writer.remove(&number.to_string()).unwrap();
    }
    writer.update(&document("999", "another text")).unwrap();
    writer.commit().unwrap();
    let second = snapshot(folder.path());
    assert_eq!(second.vector_count().unwrap(), 599);
    assert_eq!(second.passages_without_vectors().unwrap().len(), 1);
    let query = vector(6000);
    assert_eq!(nearest(&second, &query, 50), expected(400..999, &query, 50));
    let mut scores = second.vector_scores(&query).unwrap();
    assert!(scores.len() == 599 && scores.is_sorted_by_key(|&(number, _)| number));
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = scores.iter().take(50);
    let best: Vec<usize> = best.map(|&(number, _)| usize::try_from(number).unwrap()).collect();
    assert_eq!(best, expected(400..999, &query, 50));
    embed(&mut writer, 300);
    writer.finish().unwrap();
    assert_eq!(snapshot(folder.path()).vector_count().unwrap(), 600);
    // The earlier state is still complete.
    assert_eq!(nearest(&first, &query, 50), expected(0..1000, &query, 50));
}

#[test]
fn small_files_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = numbered(folder.path(), 100);
    embed(&mut writer, 4);
    writer.finish().unwrap();
    let files = std::fs::read_dir(folder.path().join("vectors")).unwrap().count();
    assert!(files < 8, "{files} files");
    let query = vector(300);
    let snapshot = snapshot(folder.path());
    assert_eq!(nearest(&snapshot, &query, 20), expected(0..100, &query, 20));
}

#[test]
fn hybrid_selection_fuses_words_and_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(
        folder.path(),
        &[("1", "Lima is in Peru."), ("2", "Quito is in Ecuador."), ("3", "Lima liegt in Peru.")],
    );
    embed(&mut writer, 9);
    let snapshot = snapshot(folder.path());
    let select = |question: &str, vector: &[f32], is_foreign: &dyn Fn(&Passage) -> bool| {
        let hits = snapshot.select_hybrid(&question.into(), vector, 9, is_foreign).unwrap();
        hits.iter().map(|hit| hit.passage.document.to_string()).collect::<Vec<_>>()
    };
    // Passage 2 is the best by its vector, passage 1 by words.
    let nearest = expected(1..=3, &vector(2), 9);
    assert_eq!(nearest[0], 2);
    assert_eq!(select("Quito", &vector(2), &never)[0], "2");
    assert_eq!(select("Where is Lima?", &vector(3), &|one| &*one.document == "3")[0], "3");
    assert_eq!(select("Where is Lima?", &vector(2), &never).len(), 3);
}

#[test]
fn vectors_must_fit_the_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = numbered(folder.path(), 3);
    let error = |result: collection::Result<()>| result.unwrap_err().to_string();
    let no_encoder = error(writer.add_vectors(vec![(0, vector(0))]));
    assert!(no_encoder.contains("no encoder is set"), "{no_encoder}");
    let query = snapshot(folder.path()).select_hybrid(&"?".into(), &vector(0), 1, &never);
    assert!(query.unwrap_err().to_string().contains("has no vectors"));
    writer.set_encoder(encoder("a")).unwrap();
    for (rows, problem) in [
        (vec![(0, vec![1.0])], "1 elements, expected 48"),
        (vec![(0, vec![1.0; WIDTH])], "norm 6.9"),
        (vec![(0, vec![f32::NAN; WIDTH])], "norm NaN"),
        (vec![(9, vector(9))], "passage 9: expected a passage of the collection without a vector"),
        (vec![(1, vector(1)), (1, vector(1))], "passage 1: expected a passage"),
    ] {
        let error = error(writer.add_vectors(rows));
        assert!(error.contains(problem), "{error}");
    }
    embed(&mut writer, 9);
    assert!(error(writer.add_vectors(vec![(1, vector(1))])).contains("without a vector"));
    let other = error(writer.set_encoder(encoder("b")));
    assert!(other.contains("options a, expected b"), "{other}");
    let close = Encoder { probe: unit(vec![1.0001; WIDTH]), ..encoder("a") };
    writer.set_encoder(close).unwrap();
    let far = Encoder { probe: vector(1), ..encoder("a") };
    assert!(error(writer.set_encoder(far)).contains("another encoder"));
    let collection = Collection::open(folder.path()).unwrap();
    let stored = collection.snapshot().unwrap().encoder().unwrap().clone();
    assert!(error(stored.check(&encoder("b"))).contains("options a, expected b"));
    let short = collection.snapshot().unwrap().select_hybrid(&"?".into(), &[1.0], 1, &never);
    assert!(short.unwrap_err().to_string().contains("1 elements, expected 48"));
}
