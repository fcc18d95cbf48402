//! Maps between vectors: known answers, naive loops, and numpy's digits.
use std::path::Path;

use super::refine::refine;
use super::{
    Dictionary, Direction, Frame, LinearMap, MapConfig, OutOfVocabulary, Precision, RefineConfig,
    Step, TranslationConfig, WordVectors, mean_similarity, nearest, procrustes, read_labels,
    read_texts, score_translations, turned,
};
use crate::Error;
use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

const STEPS: [Step; 3] = [Step::Unit, Step::Center, Step::Unit];

fn random(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, width), || rng.random_range(-1.0..1.0))
}

fn unit(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut vectors = random(rows, width, seed);
    Frame::fit(vectors.view(), &[Step::Unit]).unwrap().apply(&mut vectors).unwrap();
    vectors
}

fn words(prefix: &str, vectors: Array2<f32>) -> WordVectors {
    let words = (0..vectors.nrows()).map(|row| format!("{prefix}{row}")).collect();
    WordVectors::new(words, vectors).unwrap()
}

fn dictionary(pairs: impl IntoIterator<Item = (usize, usize)>) -> Dictionary {
    Dictionary::new(pairs.into_iter().map(|(s, t)| (format!("s{s}"), format!("t{t}"))))
}

/// The largest distance of WᵀW from 1.
fn skew(matrix: ArrayView2<'_, f64>) -> f64 {
    let product = matrix.t().dot(&matrix) - Array2::<f64>::eye(matrix.ncols());
    product.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn distance(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> f64 {
    (&a - &b).iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// Rows with whole numbers, turned by a matrix of halves: exact in float32.
fn turned_by_halves(rows: usize) -> (Array2<f32>, Array2<f32>, Array2<f64>) {
    let sign = |row: usize, column: usize| {
        if (row & column).count_ones().is_multiple_of(2) { 0.5 } else { -0.5 }
    };
    let matrix = Array2::from_shape_fn((8, 8), |(row, column)| match (row / 4, column / 4) {
        (0, 1) | (1, 0) => sign(row % 4, column % 4),
        _ => 0.0,
    });
    let source = random(rows, 8, 5).mapv(|value| (value * 100.0).round());
    let target = source.mapv(f64::from).dot(&matrix).mapv(|value| value as f32);
    (source, target, matrix)
}

#[test]
fn procrustes_finds_a_known_turn_and_is_orthogonal() {
    let (source, target, matrix) = turned_by_halves(40);
    let pairs: Vec<_> = (0..40).map(|row| (row, row)).collect();
    let found = procrustes(source.view(), target.view(), &pairs).unwrap();
    assert!(distance(found.view(), matrix.view()) < 1e-10);
    assert!(skew(found.view()) < 1e-12);

    let (source, target) = (random(300, 48, 1), random(200, 48, 2));
    let pairs: Vec<_> = (0..100).map(|row| (row + 7, 199 - row)).collect();
    assert!(skew(procrustes(source.view(), target.view(), &pairs).unwrap().view()) < 1e-12);
    // Fewer pairs than dimensions: still orthogonal, and the pairs meet.
    let few: Vec<_> = (0..5).map(|row| (row, row)).collect();
    let (source, target) = (unit(5, 48, 1), unit(5, 48, 2));
    let found = procrustes(source.view(), target.view(), &few).unwrap();
    assert!(skew(found.view()) < 1e-12);
}

#[test]
fn no_other_turn_brings_pairs_closer() {
    let (source, target) = (unit(60, 6, 3), unit(60, 6, 4));
    let pairs: Vec<_> = (0..60).map(|row| (row, row)).collect();
    let best = procrustes(source.view(), target.view(), &pairs).unwrap();
    let cost = |map: ArrayView2<'_, f64>| -> f64 {
        let mapped = source.mapv(f64::from).dot(&map) - target.mapv(f64::from);
        mapped.iter().map(|value| value * value).sum()
    };
    for (row, column, angle) in [(0, 1, 1e-3), (2, 5, -1e-3), (3, 4, 0.5)] {
        let mut turn = Array2::<f64>::eye(6);
        let (sin, cos) = f64::sin_cos(angle);
        (turn[[row, row]], turn[[column, column]]) = (cos, cos);
        (turn[[row, column]], turn[[column, row]]) = (-sin, sin);
        assert!(cost(best.dot(&turn).view()) > cost(best.view()));
    }
}

#[test]
fn neighbours_are_those_of_naive_loops_on_any_number_of_threads() {
    // More rows than a block of either side, and rows that are equal.
    let queries = unit(300, 12, 6);
    let mut candidates = unit(1500, 12, 7);
    for (to, from) in [(1400, 3), (1401, 3), (900, 40)] {
        let row = candidates.row(from).to_owned();
        candidates.row_mut(to).assign(&row);
    }
    let cosine = |query: usize, candidate: usize| -> f64 {
        let pairs = queries.row(query).into_iter().zip(candidates.row(candidate));
        pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let sorted = |score: &dyn Fn(usize) -> f64, count: usize| {
        let mut all: Vec<_> = (0..1500).map(|index| (index, score(index))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(count);
        all
    };
    let means = mean_similarity(candidates.view(), queries.view(), 10).unwrap();
    for (candidate, mean) in means.iter().enumerate() {
        let mut all: Vec<f64> = (0..300).map(|query| cosine(query, candidate)).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(*mean, all[..10].iter().sum::<f64>() / 10.0);
    }
    let find = |means: Option<&[f64]>, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| nearest(queries.view(), candidates.view(), 5, means)).unwrap()
    };
    let (plain, csls) = (find(None, 1), find(Some(&means), 1));
    for query in 0..300 {
        let pairs = |found: &[crate::retrieval::map::Neighbour]| {
            found.iter().map(|one| (one.index, one.score)).collect::<Vec<_>>()
        };
        assert_eq!(pairs(&plain[query]), sorted(&|candidate| cosine(query, candidate), 5));
        let score = |candidate: usize| 2.0 * cosine(query, candidate) - means[candidate];
        assert_eq!(pairs(&csls[query]), sorted(&score, 5));
    }
    assert_eq!((plain, csls), (find(None, 3), find(Some(&means), 3)));
}

#[test]
fn a_hub_loses_by_csls() {
    // Words along the axes; each has its translation nearby, and one vector lies between all.
    let width = 6;
    let mut source = Array2::<f32>::eye(width);
    source.mapv_inplace(|value| value + 0.6);
    let mut target = Array2::<f32>::from_elem((width + 1, width), 1.0);
    for row in 0..width {
        target.row_mut(row).fill(-0.1);
        target[[row, row]] = 1.0;
    }
    let (source, target) = (words("s", source), words("t", target));
    let normalized = |vectors: WordVectors| vectors.normalized(&[Step::Unit]).unwrap();
    let (source, target) = (normalized(source), normalized(target));
    let config = TranslationConfig { neighbours: 3, ..TranslationConfig::default() };
    let pairs = dictionary((0..width).map(|row| (row, row)));
    let score = score_translations(&source, &target, &pairs, &config).unwrap();
    assert_eq!((score.cosine.p_at_1, score.csls.p_at_1), (0.0, 100.0));
}

#[test]
fn equal_spaces_find_every_word_and_equal_vectors_none() {
    let vectors = unit(50, 8, 8);
    let (source, target) = (words("s", vectors.clone()), words("t", vectors));
    let config = TranslationConfig::default();
    let pairs = dictionary((0..50).map(|row| (row, row)));
    let score = score_translations(&source, &target, &pairs, &config).unwrap();
    let all = Precision { p_at_1: 100.0, p_at_5: 100.0, p_at_10: 100.0 };
    assert_eq!((score.cosine, score.csls), (all, all));
    assert_eq!((score.chance, score.candidates), (2.0, 50));

    let same = unit(1, 8, 9);
    let same = same.broadcast((50, 8)).unwrap().to_owned();
    let (source, target) = (words("s", same.clone()), words("t", same));
    let score = score_translations(&source, &target, &pairs, &config).unwrap();
    assert_eq!((score.cosine, score.csls), (Precision::default(), Precision::default()));
}

#[test]
fn words_without_vectors_are_misses_or_left_out() {
    let vectors = unit(20, 8, 10);
    let (source, target) = (words("s", vectors.clone()), words("t", vectors));
    // Two translations, of which one has a vector; none that has; no word.
    let pairs = dictionary([(0, 99), (0, 0), (1, 1), (2, 98), (77, 3), (78, 3)]);
    let score = |oov| {
        let config = TranslationConfig { oov, ..TranslationConfig::default() };
        score_translations(&source, &target, &pairs, &config).unwrap()
    };
    let miss = score(OutOfVocabulary::Miss);
    assert_eq!((miss.words, miss.without_vector, miss.without_translation), (5, 2, 1));
    assert_eq!((miss.counted, miss.cosine.p_at_1), (5, 40.0));
    let skip = score(OutOfVocabulary::Skip);
    assert_eq!((skip.counted, skip.cosine.p_at_1), (2, 100.0));
    let backward =
        TranslationConfig { direction: Direction::Backward, ..TranslationConfig::default() };
    let score = score_translations(&source, &target, &pairs, &backward).unwrap();
    assert_eq!((score.words, score.without_vector, score.without_translation), (5, 2, 1));
    let none = dictionary([(77, 3)]);
    let config = TranslationConfig { oov: OutOfVocabulary::Skip, ..TranslationConfig::default() };
    let nothing = score_translations(&source, &target, &none, &config);
    assert!(matches!(nothing, Err(Error::Nothing { .. })));
}

/// Two vocabularies of which the second is the first, turned and disturbed.
fn noisy(rows: usize, noise: f32) -> (Array2<f32>, Array2<f32>) {
    let source = unit(rows, 8, 11);
    let turn = procrustes(random(20, 8, 12).view(), random(20, 8, 13).view(), &[(0, 1), (2, 3)]);
    let mut target = turned(source.view(), turn.unwrap().view()).unwrap();
    target.zip_mut_with(&random(rows, 8, 14), |value, other| *value += noise * other);
    Frame::fit(target.view(), &[Step::Unit]).unwrap().apply(&mut target).unwrap();
    (source, target)
}

#[test]
fn refinement_never_lowers_agreement_and_finds_more_words() {
    let (source, target) = noisy(400, 0.2);
    let pairs: Vec<_> = (0..7).map(|row| (row, row)).collect();
    let first = procrustes(source.view(), target.view(), &pairs).unwrap();
    let config = RefineConfig { rounds: 8, words: 300, neighbours: 10 };
    let refined = refine(source.view(), target.view(), &pairs, first.clone(), &config).unwrap();
    let kept: Vec<f64> =
        refined.rounds.iter().filter(|round| round.kept).map(|round| round.agreement).collect();
    assert!(kept.len() > 1 && kept.windows(2).all(|two| two[0] < two[1]), "{kept:?}");
    let dropped = refined.rounds.iter().position(|round| !round.kept);
    assert!(dropped.is_none_or(|round| round == refined.rounds.len() - 1));
    assert!(skew(refined.matrix.view()) < 1e-12);

    let target = words("t", target);
    let held_out = dictionary((7..400).map(|row| (row, row)));
    let score = |matrix: &Array2<f64>| {
        let mapped = words("s", turned(source.view(), matrix.view()).unwrap());
        let config = TranslationConfig::default();
        score_translations(&mapped, &target, &held_out, &config).unwrap().csls.p_at_1
    };
    let (refined, first_score) = (score(&refined.matrix), score(&first));
    assert!(refined > first_score + 5.0, "{refined} after {first_score}");
    let none = RefineConfig { rounds: 0, ..config };
    let same = refine(source.view(), target.vectors().view(), &pairs, first.clone(), &none);
    assert_eq!(same.unwrap().matrix, first);
}

#[test]
fn shuffled_pairs_leave_chance() {
    let (source, target) = noisy(400, 0.15);
    let mut others: Vec<usize> = (0..80).collect();
    others.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
    let score = |pairs: &[(usize, usize)]| {
        let map = procrustes(source.view(), target.view(), pairs).unwrap();
        let mapped = words("s", turned(source.view(), map.view()).unwrap());
        let held_out = dictionary((80..400).map(|row| (row, row)));
        let config = TranslationConfig::default();
        score_translations(&mapped, &words("t", target.clone()), &held_out, &config).unwrap()
    };
    let right: Vec<_> = (0..80).map(|row| (row, row)).collect();
    let wrong: Vec<_> = (0..80).zip(others).collect();
    assert!(score(&right).cosine.p_at_1 > 90.0);
    assert!(score(&wrong).cosine.p_at_1 < 5.0);
}

#[test]
fn a_map_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.safetensors");
    let (mut source, mut target) = (random(30, 8, 15), random(25, 8, 16));
    let raw = source.clone();
    let pairs: Vec<_> = (0..20).map(|row| (row, row)).collect();
    let config = MapConfig::default();
    let (map, rounds) = LinearMap::fit(&mut source, &mut target, &pairs, &config).unwrap();
    assert!(rounds.is_empty());
    map.write(&path).unwrap();
    let read = LinearMap::read(&path).unwrap();
    assert_eq!(read, map);
    let mapped = read.source(raw.clone()).unwrap();
    assert_eq!(mapped, turned(source.view(), map.matrix().view()).unwrap());
    // A vector that comes later is centered by the means of the vocabulary.
    let one = raw.slice(ndarray::s![3..4, ..]).to_owned();
    assert_eq!(read.source(one).unwrap().row(0), mapped.row(3));
    assert!(matches!(read.source(random(2, 7, 1)), Err(Error::Array { .. })));

    std::fs::write(&path, b"no map").unwrap();
    let message = LinearMap::read(&path).unwrap_err().to_string();
    assert!(message.contains("map.safetensors: not a map"), "{message}");
}

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/map.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn take<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn array<T: Clone + serde::de::DeserializeOwned>(value: &Value) -> Array2<T> {
    let rows: Vec<Vec<T>> = take(value);
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// A score with the digits that numpy has.
#[track_caller]
fn same_digits(score: &crate::retrieval::map::TranslationScore, expected: &Value) {
    assert_eq!(score.cosine, take(&expected["cosine"]));
    assert_eq!(score.csls, take(&expected["csls"]));
}

#[test]
fn digits_are_those_of_numpy() {
    let golden = &golden()["small"];
    let pairs: Vec<(usize, usize)> = take(&golden["pairs"]);
    let golds: Vec<(usize, Vec<usize>)> = take(&golden["golds"]);
    let golds = golds.iter().flat_map(|(row, golds)| golds.iter().map(|gold| (*row, *gold)));
    let golds = dictionary(golds);
    let own = dictionary((20..50).map(|row| (row, row)));
    let results = golden["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for expected in results {
        let normalize = Step::list(expected["normalize"].as_str().unwrap()).unwrap();
        let config = MapConfig { normalize, refine: None };
        let (mut source, mut target) = (array(&golden["source"]), array(&golden["target"]));
        let (map, _) = LinearMap::fit(&mut source, &mut target, &pairs, &config).unwrap();
        let matrix: Array2<f64> = array(&expected["matrix"]);
        assert!(distance(map.matrix().view(), matrix.view()) < 1e-13);

        let mapped = turned(source.view(), map.matrix().view()).unwrap();
        let means = mean_similarity(target.view(), mapped.view(), 10).unwrap();
        for (key, means) in [("nearest", None), ("csls_nearest", Some(means.as_slice()))] {
            let found = nearest(mapped.view(), target.view(), 5, means).unwrap();
            let found: Vec<Vec<usize>> =
                found.iter().map(|list| list.iter().map(|one| one.index).collect()).collect();
            assert_eq!(found, take::<Vec<Vec<usize>>>(&expected[key]));
        }
        let means = mean_similarity(mapped.view(), target.view(), 10).unwrap();
        let theirs: Vec<f64> = take(&expected["mean_similarity"]);
        assert!(means.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-14));

        let (source, target) = (words("s", mapped), words("t", target));
        let config = TranslationConfig::default();
        same_digits(&score_translations(&source, &target, &golds, &config).unwrap(), expected);
        let config = TranslationConfig { direction: Direction::Backward, ..config };
        let score = score_translations(&source, &target, &own, &config).unwrap();
        same_digits(&score, &expected["backward"]);
    }
}

fn embedded(
    golden: &Value,
    read: impl Fn(&str) -> Vec<(String, String)>,
    fits: impl Fn(usize) -> bool + Copy,
    languages: usize,
) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base");
    let tokenizer = tokenizer_file::read(root.join("tokenizer.json")).unwrap();
    let vectors =
        |language: &str| WordVectors::of_texts(&read(language), &root, &tokenizer).unwrap();
    let english = vectors("en");
    let golden = golden.as_object().unwrap();
    assert!(golden.len() >= 5);
    // The long form takes all of them.
    let short = if testkit::long() { golden.len() } else { languages };
    for (language, expected) in golden.iter().take(short) {
        let other = vectors(language);
        let own = english.words();
        let pair = |fitted: bool| {
            let words = own.iter().enumerate().filter(move |(row, _)| fits(*row) == fitted);
            Dictionary::new(words.map(|(_, word)| (word.clone(), word.clone())))
        };
        let (fit, held_out) = (pair(true), pair(false));
        let config = TranslationConfig::default();
        let score = |source: &WordVectors, target: &WordVectors| {
            score_translations(source, target, &held_out, &config).unwrap()
        };
        let normalized = |vectors: &WordVectors| vectors.clone().normalized(&STEPS).unwrap();
        let raw = score(&normalized(&english), &normalized(&other));
        same_digits(&raw, &expected["without_map"]);
        assert_eq!(raw.candidates, take::<usize>(&expected["words"]));

        let pairs = fit.rows(&english, &other).pairs;
        let (mut source, mut target) = (english.vectors().clone(), other.vectors().clone());
        let config = MapConfig::default();
        let (map, _) = LinearMap::fit(&mut source, &mut target, &pairs, &config).unwrap();
        let theirs: Vec<f64> = take(&expected["matrix_row"]);
        let row = map.matrix().row(0);
        assert!(row.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-10), "{language}");
        let mapped = english.clone().try_map(|vectors| map.source(vectors)).unwrap();
        let other = other.try_map(|vectors| map.target(vectors)).unwrap();
        same_digits(&score(&mapped, &other), &expected["mapped"]);
    }
}

#[test]
fn labels_have_the_digits_of_numpy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/demo/kg/labels.tsv");
    embedded(
        &golden()["labels"],
        |language| read_labels(&path, language).unwrap(),
        |row| row % 5 != 0,
        2,
    );
}

#[test]
fn sentences_have_the_digits_of_numpy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/pud");
    let read = |language: &str| read_texts(path.join(format!("{language}.tsv"))).unwrap();
    embedded(&golden()["pud"], read, |row| row % 5 == 0, 1);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (source, target) = (unit(4, 3, 1), unit(4, 5, 2));
    assert!(procrustes(source.view(), target.view(), &[(0, 0)]).is_err());
    assert!(matches!(procrustes(source.view(), source.view(), &[]), Err(Error::Nothing { .. })));
    let message = procrustes(source.view(), source.view(), &[(0, 4)]).unwrap_err().to_string();
    assert!(message.contains("rows 0 and 4"), "{message}");
    assert!(nearest(source.view(), target.view(), 1, None).is_err());
    let long = source.mapv(|value| value * 2.0);
    let message = nearest(long.view(), source.view(), 1, None).unwrap_err().to_string();
    assert!(message.contains("queries: row 0"), "{message}");
    assert!(nearest(source.view(), source.view(), 1, Some(&[0.0])).is_err());
    assert_eq!(nearest(source.view(), source.view(), 0, None).unwrap(), vec![vec![]; 4]);
    assert_eq!(nearest(source.view(), source.view(), 9, None).unwrap()[0].len(), 4);
    for steps in ["", "center", "unit,center", "unit,mean,unit"] {
        assert!(matches!(Step::list(steps), Err(Error::Config { .. })), "{steps}");
    }
}
