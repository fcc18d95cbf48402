//! Tests of candidate lists, exact ranks and scores.
use std::collections::BTreeSet;

use ndarray::{Array2, array, s};
use proptest::prelude::*;
use transfer_eval::Error;
use transfer_eval::retrieval::{
    CandidateConfig, CandidateList, Description, GoldLanguage, Query, RankConfig, Similarity,
    SkipReason, SkippedQuery, rank_candidates, read_vectors, score_retrieval,
};

fn describe(entity: &str, language: &str) -> Description {
    Description { entity: entity.into(), language: language.into() }
}

fn query(id: &str, entity: &str, language: &str) -> Query {
    Query { id: id.into(), entity: entity.into(), language: language.into() }
}

/// Returns descriptions of Q0 to Q99 in one, two or three of the languages de, en and zh.
fn descriptions() -> Vec<Description> {
    let languages = ["de", "en", "zh"];
    (0..100)
        .flat_map(|k| {
            let described_in = &languages[k % 3..];
            described_in.iter().map(move |language| describe(&format!("Q{k}"), language))
        })
        .collect()
}

fn config(size: usize, seed: u64) -> CandidateConfig {
    CandidateConfig { size, seed, ..CandidateConfig::default() }
}

#[test]
fn lists_have_each_gold_once_in_another_language() {
    let queries = [
        query("a", "Q0", "de"),
        query("b", "Q0", "en"),
        query("c", "Q3", "zh"),
        query("d", "Q2", "zh"),
        query("e", "none", "de"),
        query("f", "Q2", "de"),
    ];
    let mut languages = BTreeSet::new();
    for seed in 0..20 {
        let list = CandidateList::draw(&descriptions(), &queries, &config(60, seed)).unwrap();
        let entities: BTreeSet<&str> =
            list.candidates.iter().map(|candidate| candidate.entity.as_str()).collect();
        assert_eq!((list.candidates.len(), entities.len()), (60, 60));
        for query in &list.queries {
            let gold = &list.candidates[query.gold];
            assert_eq!(gold.entity, query.entity);
            assert_ne!(gold.language, query.language);
            languages.insert(gold.language.clone());
        }
        // Q0 is described in de, en and zh; only zh differs from the languages of its queries a and
        // b. Q2 is described only in zh, which is the language of query d, but not of f.
        assert_eq!(list.candidates[list.queries[0].gold].language, "zh");
        let ids: Vec<&str> = list.queries.iter().map(|query| query.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c", "f"]);
        let skipped = |id: &str, reason| SkippedQuery { id: id.into(), reason };
        assert_eq!(
            list.skipped,
            [skipped("d", SkipReason::SameLanguage), skipped("e", SkipReason::NoDescription)]
        );
        assert_eq!(list.gold_indices()[0], list.gold_indices()[1]);
    }
    assert_eq!(languages.len(), 3, "the language is drawn");
    let any = CandidateConfig { gold_language: GoldLanguage::Any, ..config(60, 0) };
    let list = CandidateList::draw(&descriptions(), &queries, &any).unwrap();
    assert_eq!((list.queries.len(), list.skipped.len()), (5, 1));
}

#[test]
fn the_list_depends_only_on_the_seed() {
    let queries = [query("a", "Q0", "de"), query("b", "Q50", "en")];
    let mut reversed = descriptions();
    reversed.reverse();
    let draw = |descriptions: &[Description], seed| {
        CandidateList::draw(descriptions, &queries, &config(40, seed)).unwrap()
    };
    assert_eq!(draw(&descriptions(), 7), draw(&reversed, 7));
    assert_ne!(draw(&descriptions(), 7).candidates, draw(&descriptions(), 8).candidates);
}

#[test]
fn positions_and_languages_are_drawn_uniformly() {
    let queries = [query("a", "Q0", "zh")];
    let (mut first_half, mut german) = (0, 0);
    for seed in 0..400 {
        let list = CandidateList::draw(&descriptions(), &queries, &config(100, seed)).unwrap();
        first_half += usize::from(list.queries[0].gold < 50);
        german += usize::from(list.candidates[list.queries[0].gold].language == "de");
    }
    // The bounds are four standard deviations of 400 tosses of a fair coin.
    assert!((160..=240).contains(&first_half), "{first_half}");
    assert!((160..=240).contains(&german), "{german}");
}

#[test]
fn lists_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists/xep.json");
    let list =
        CandidateList::draw(&descriptions(), &[query("a", "Q0", "de")], &config(10, 1)).unwrap();
    list.write(&path).unwrap();
    assert_eq!(CandidateList::read(&path).unwrap(), list);
    let rejects = |change: &dyn Fn(&mut CandidateList), word: &str| {
        let mut list = list.clone();
        change(&mut list);
        list.write(&path).unwrap();
        let text = CandidateList::read(&path).unwrap_err().to_string();
        assert!(text.contains("xep.json") && text.contains(word), "{text}");
    };
    rejects(&|list| drop(list.candidates.pop()), "9 candidates, but size = 10");
    rejects(&|list| list.candidates[0] = list.candidates[1].clone(), "occurs twice");
    rejects(&|list| list.queries[0].gold = 99, "query `a`: candidate 99 does not describe `Q0`");
    rejects(&|list| list.queries[0].entity = "Q1".into(), "does not describe `Q1`");
    std::fs::write(&path, "{\"config\": {},\n\"candidates\": 3}").unwrap();
    assert!(CandidateList::read(&path).unwrap_err().to_string().contains("xep.json:2: "));

    let rows = folder.path().join("rows.jsonl");
    std::fs::write(&rows, "{\"entity\": \"Q1\", \"language\": \"de\"}\n\n{\"entity\": \"Q2\"}\n")
        .unwrap();
    let text = Description::read(&rows).unwrap_err().to_string();
    assert!(text.contains("rows.jsonl:3: ") && text.contains("language"), "{text}");
    std::fs::write(&rows, "{\"id\": \"a\", \"entity\": \"Q1\", \"language\": \"de\"}\n").unwrap();
    assert_eq!(Query::read(&rows).unwrap(), [query("a", "Q1", "de")]);
}

#[test]
fn impossible_lists_are_rejected() {
    let rejects = |queries: &[Query], size, word: &str| {
        let error = CandidateList::draw(&descriptions(), queries, &config(size, 0)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    };
    rejects(&[query("a", "Q0", "de"), query("a", "Q1", "de")], 10, "query id `a` occurs twice");
    rejects(
        &[query("a", "Q0", "de"), query("b", "Q1", "de")],
        1,
        "the queries have 2 entities, but size = 1",
    );
    rejects(&[query("a", "Q0", "de")], 101, "100 entities have a description, but size = 101");
    rejects(
        &[query("a", "none", "de"), query("b", "Q2", "zh")],
        10,
        "1 queries for entities without a description, 1 for",
    );
}

/// Computes ranks from all scores in float64.
fn brute_force_ranks(
    queries: &Array2<f32>,
    candidates: &Array2<f32>,
    gold: &[usize],
    config: &RankConfig,
) -> Vec<usize> {
    let mut ranks = Vec::new();
    for (query, &gold) in queries.outer_iter().zip(gold) {
        let mut scores = Vec::new();
        for candidate in candidates.outer_iter() {
            let mut dot = 0.0f64;
            let mut square = 0.0f64;
            for k in 0..query.len() {
                dot += f64::from(query[k]) * f64::from(candidate[k]);
                square += f64::from(candidate[k]) * f64::from(candidate[k]);
            }
            let cosine = config.similarity == Similarity::Cosine && square > 0.0;
            scores.push(if cosine { dot / square.sqrt() } else { dot });
        }
        let before = |k: usize| k != gold && scores[k] >= scores[gold];
        ranks.push(1 + (0..scores.len()).filter(|&k| before(k)).count());
    }
    ranks
}

/// Returns pseudo-random vectors from an xorshift generator.
fn random(rows: usize, width: usize, seed: u32) -> Array2<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    Array2::from_shape_fn((rows, width), |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    })
}

/// Checks that ranks equal those of [`brute_force_ranks`] for both similarities.
#[track_caller]
fn assert_exact(queries: &Array2<f32>, candidates: &Array2<f32>, gold: &[usize]) {
    for similarity in [Similarity::Dot, Similarity::Cosine] {
        let config = RankConfig { similarity };
        let ranks = rank_candidates(queries.view(), candidates.view(), gold, &config).unwrap();
        assert_eq!(ranks, brute_force_ranks(queries, candidates, gold, &config), "{config:?}");
    }
}

#[test]
fn ranks_equal_brute_force_for_any_number_of_threads() {
    // There are more queries, and more candidates, than in one block.
    let (queries, mut candidates) = (random(70, 12, 1), random(4300, 12, 2));
    let gold: Vec<usize> = (0..70).map(|k| k * 61 % 4300).collect();
    // Exact ties are copies of gold candidates before and after the originals, in both blocks. One
    // row is zero.
    for (from, to) in [(61, 4299), (0, 4200), (122, 121), (4209, 3)] {
        let copy = candidates.row(from).to_owned();
        candidates.row_mut(to).assign(&copy);
    }
    candidates.row_mut(17).fill(0.0);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| assert_exact(&queries, &candidates, &gold));
    }
}

#[test]
fn scores_closer_than_float32_are_distinguished() {
    // The vectors are nearly equal, so float32 dot products are equal or in the wrong order.
    let base = random(1, 64, 3);
    let noise = random(300, 64, 4).mapv(|value| value * 1e-6);
    let candidates = &base.broadcast((300, 64)).unwrap() * 100.0 + &noise;
    let queries =
        &base.broadcast((20, 64)).unwrap() * 100.0 + &random(20, 64, 5).mapv(|value| value * 1e-6);
    let gold: Vec<usize> = (0..20).map(|k| k * 15).collect();
    assert_exact(&queries, &candidates, &gold);
}

#[test]
fn ranks_are_exact_for_large_and_small_values() {
    for scale in [1e30f32, 1e-30] {
        let (queries, candidates) = (random(5, 8, 6) * scale, random(50, 8, 7) * scale);
        assert_exact(&queries, &candidates, &[0, 10, 20, 30, 49]);
    }
}

proptest! {
    #[test]
    fn ranks_are_exact_with_many_ties(
        values in prop::collection::vec(-2i8..3, 3 * 9), golds in prop::collection::vec(0usize..6, 3),
    ) {
        let all = Array2::from_shape_vec((9, 3), values.iter().map(|&v| f32::from(v)).collect()).unwrap();
        let (queries, candidates) = (all.slice(s![..3, ..]).to_owned(), all.slice(s![3.., ..]).to_owned());
        assert_exact(&queries, &candidates, &golds);
    }
}

#[test]
fn invalid_arrays_are_rejected() {
    let (queries, candidates) = (random(2, 4, 1), random(3, 4, 2));
    let config = RankConfig::default();
    let rejects = |queries: &Array2<f32>, candidates: &Array2<f32>, gold: &[usize], word: &str| {
        let text = rank_candidates(queries.view(), candidates.view(), gold, &config)
            .unwrap_err()
            .to_string();
        assert!(text.contains(word), "{text}");
    };
    rejects(&queries, &candidates, &[0, 3], "query 2: gold candidate 3, but there are 3");
    rejects(&queries, &candidates, &[0], "gold: 1 indices and candidates of 4 dimensions");
    rejects(&queries, &random(3, 5, 2), &[0, 1], "gold: 2 indices and candidates of 5 dimensions");
    rejects(&random(0, 4, 1), &candidates, &[], "no query");
    let mut invalid = candidates.clone();
    invalid[[2, 1]] = f32::INFINITY;
    rejects(&queries, &invalid, &[0, 1], "candidates: row 2 has a value that is not finite");
    invalid[[2, 1]] = 0.0;
    let mut with_nan = queries.clone();
    with_nan[[1, 0]] = f32::NAN;
    rejects(&with_nan, &invalid, &[0, 1], "queries: row 1");
}

#[test]
fn scores_equal_hand_computed_values() {
    let descriptions = ["Q1", "Q2", "Q3"].map(|q| describe(q, if q == "Q3" { "zh" } else { "de" }));
    let mut all: Vec<Description> = descriptions.to_vec();
    all.extend((4..24).map(|k| describe(&format!("Q{k}"), "en")));
    let queries = [
        query("a", "Q1", "en"),
        query("b", "Q2", "en"),
        query("c", "Q3", "en"),
        query("d", "Q1", "fr"),
    ];
    let list = CandidateList::draw(&all, &queries, &config(20, 3)).unwrap();
    let score = score_retrieval(&list, &[1, 4, 20, 10]).unwrap();
    assert_eq!((score.all.queries, score.all.accuracy, score.all.hits_at_10), (4, 25.0, 75.0));
    assert!((score.all.mrr - (1.0 + 0.25 + 0.05 + 0.1) / 4.0).abs() < 1e-12);
    assert_eq!((score.candidates, score.chance), (20, 5.0));
    assert_eq!(score.languages["fr"].hits_at_10, 100.0);
    assert_eq!((score.languages["en"].queries, score.languages["en"].accuracy), (3, 100.0 / 3.0));
    let pairs: Vec<(&str, &str, usize)> = score
        .pairs
        .iter()
        .map(|pair| (pair.query.as_str(), pair.candidate.as_str(), pair.ranks.queries))
        .collect();
    assert_eq!(pairs, [("en", "de", 2), ("en", "zh", 1), ("fr", "de", 1)]);
    let error_of = |ranks: &[usize]| score_retrieval(&list, ranks).unwrap_err().to_string();
    assert_eq!(error_of(&[1]), "1 predictions for 4 queries; query 2 (`b`) is unmatched");
    assert_eq!(error_of(&[1, 0, 1, 1]), "query 2: rank 0; expected 1 to 20");
    assert_eq!(error_of(&[1, 21, 1, 1]), "query 2: rank 21; expected 1 to 20");
}

#[test]
fn vectors_are_read_from_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.safetensors");
    let values = array![[1.0f32, -2.5], [0.0, 3.0]];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = |dtype, shape: Vec<usize>| {
        safetensors::tensor::TensorView::new(dtype, shape, &bytes).unwrap()
    };
    let tensors = [
        ("queries", view(safetensors::Dtype::F32, vec![2, 2])),
        ("flat", view(safetensors::Dtype::F32, vec![4])),
        ("ids", view(safetensors::Dtype::I64, vec![2, 1])),
    ];
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    assert_eq!(read_vectors(&path, "queries").unwrap(), values);
    let error_of = |name: &str| read_vectors(&path, name).unwrap_err().to_string();
    assert!(error_of("flat").contains("`flat` is F32 of shape [4]; expected F32 or F64 [rows, D]"));
    assert!(error_of("ids").contains("I64"));
    assert!(error_of("none").contains("no tensor `none`; the file has"));
    std::fs::write(&path, b"not a file of tensors").unwrap();
    assert!(error_of("queries").contains("v.safetensors: not a safetensors file"));
    assert!(matches!(read_vectors("none", "x"), Err(Error::File(_))));
}
