//! Tests of the graph of texts and records, random walks, training and rankings.

use std::collections::BTreeMap;

use kg_triples::matching::{
    Corpora, Document, EmbedConfig, MatchGraph, TermConfig, TermKind, embed, random_walk,
    rank_by_bm25, rank_by_cosine, read_documents,
};
use kg_triples::phrases::StopWords;
use kg_triples::switch::EntityLabels;
use kg_triples::{Error, Language};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tempfile::tempdir;
use testkit::fixture;

use crate::common::{expect_errors, has_row, run, stdout, with_threads, write};

fn texts(texts: &[&str]) -> Vec<Document> {
    let text = |(k, text): (usize, &&str)| Document {
        id: k.to_string(),
        text: (*text).to_owned(),
        ..Document::default()
    };
    texts.iter().enumerate().map(text).collect()
}

fn words(max: usize) -> TermConfig {
    TermConfig { kind: TermKind::WordNgrams { max }, stop_words: Vec::new() }
}

fn labels(labels: &[(&str, &str, &str)]) -> EntityLabels {
    let mut entity_labels = EntityLabels::default();
    for (id, en, de) in labels {
        entity_labels.add(id, Language::EN, en);
        entity_labels.add(id, Language::DE, de);
    }
    entity_labels
}

fn graph(first: &[&str], second: &[&str], labels: Option<&EntityLabels>, max: usize) -> MatchGraph {
    let corpora = Corpora::new(&texts(first), &texts(second), labels, &words(max)).unwrap();
    corpora.graph(false).unwrap()
}

/// The names of the neighbours of a node: a term, or the number of a document.
fn neighbours(graph: &MatchGraph, node: usize) -> Vec<String> {
    let documents = graph.second().end;
    let name = |other: &u32| match (*other as usize).checked_sub(documents) {
        Some(term) => graph.terms()[term].clone(),
        None => other.to_string(),
    };
    graph.neighbours(node).iter().map(name).collect()
}

fn term(graph: &MatchGraph, text: &str) -> usize {
    graph.second().end + graph.terms().iter().position(|term| term == text).unwrap()
}

#[test]
fn the_second_corpus_joins_terms_of_the_first_and_adds_none() {
    let graph = graph(
        &["Red apple pie", "red apple", "green pear"],
        &["RED apple, blue plum", "blue plum"],
        None,
        2,
    );
    // `pie`, `green pear` and so on occur in one document; `blue` and `plum` not in the first corpus.
    assert_eq!(graph.terms(), ["apple", "red", "red apple"]);
    assert_eq!(neighbours(&graph, 3), ["apple", "red", "red apple"]);
    assert_eq!(neighbours(&graph, term(&graph, "red apple")), ["0", "1", "3"]);
    assert_eq!((graph.len(), graph.edge_count()), (8, 9));
    assert!(neighbours(&graph, 2).is_empty() && neighbours(&graph, 4).is_empty());
}

#[test]
fn stop_words_and_kinds_of_terms() {
    let english = StopWords::built_in(Language::EN).unwrap();
    let config = TermConfig { stop_words: vec![english], ..TermConfig::default() };
    let (first, second) = (texts(&["The capital of Peru"]), texts(&["the capital is Peru"]));
    let corpora = Corpora::new(&first, &second, None, &config).unwrap();
    assert_eq!(corpora.graph(false).unwrap().terms(), ["capital", "capital peru", "peru"]);
    let index = TermConfig { kind: TermKind::Index, stop_words: Vec::new() };
    let (first, second) = (texts(&["東京 Capitals"]), texts(&["東京都 capital"]));
    let corpora = Corpora::new(&first, &second, None, &index).unwrap();
    assert_eq!(corpora.graph(false).unwrap().terms(), ["capit", "京", "東", "東京"]);
}

#[test]
fn columns_connect_the_terms_of_their_cells() {
    let record = |id: &str, country: &str, capital: &str| Document {
        id: id.into(),
        fields: [("Country", country), ("capital city", capital)]
            .map(|(column, cell)| (column.to_owned(), cell.to_owned()))
            .into(),
        ..Document::default()
    };
    let first = [record("p", "Peru", "Lima"), record("c", "Chile", "Santiago")];
    let second = texts(&["Lima is the capital city"]);
    let corpora = Corpora::new(&first, &second, None, &words(2)).unwrap();
    let graph = corpora.graph(false).unwrap();
    assert_eq!(neighbours(&graph, term(&graph, "capital city")), ["2", "lima", "santiago"]);
    assert_eq!(neighbours(&graph, term(&graph, "country")), ["peru", "chile"]);
    assert_eq!(neighbours(&graph, 0), ["peru", "lima"]);
}

#[test]
fn labels_of_an_entity_connect_languages() {
    let labels = labels(&[
        ("Q1", "Munich", "München"),
        ("Q2", "United States of America", "USA"),
        ("Q3", "Rome", "Rom"),
        ("Q4", "Berlin", "Berlin"),
    ]);
    let first = ["Munich and the United States of America", "a visit to Berlin"];
    let second = ["München, USA", "Rom", "Besuch in Berlin"];
    let graph = graph(&first, &second, Some(&labels), 1);
    // Q3 has no label in the first corpus. `united states of america` is longer than the n-grams.
    assert_eq!(graph.terms(), ["munich", "united states of america", "berlin", "münchen", "usa"]);
    assert_eq!(neighbours(&graph, term(&graph, "munich")), ["0", "münchen"]);
    assert_eq!(neighbours(&graph, term(&graph, "usa")), ["2", "united states of america"]);
    assert_eq!(neighbours(&graph, term(&graph, "berlin")), ["1", "4"]);

    let empty = Corpora::new(&texts(&first[..1]), &texts(&second[..1]), None, &words(1));
    assert!(matches!(empty, Err(Error::Empty { .. })));
}

#[test]
fn only_shared_terms_connect_the_corpora() {
    let labels = labels(&[("Q1", "Munich", "München"), ("Q2", "Rome", "Rom")]);
    let first = texts(&["Munich beer garden Oslo", "Munich beer Rome Oslo", "Rome"]);
    let second = texts(&["München", "München Oslo"]);
    let corpora = Corpora::new(&first, &second, Some(&labels), &words(1)).unwrap();
    assert_eq!(
        corpora.graph(false).unwrap().terms(),
        ["beer", "munich", "oslo", "rome", "münchen"]
    );
    assert_eq!(corpora.graph(true).unwrap().terms(), ["munich", "oslo", "münchen"]);
}

#[test]
fn walks_step_to_all_neighbours_equally_often() {
    let graph = graph(&["a b c", "a b", "b d"], &["a d"], None, 1);
    let start = term(&graph, "b");
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    let draws = 6000;
    for seed in 0..draws {
        let walk = random_walk(&graph, start, 5, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!((walk.len(), walk[0] as usize), (6, start));
        for step in walk.windows(2) {
            assert!(graph.neighbours(step[0] as usize).contains(&step[1]));
        }
        *counts.entry(walk[1]).or_default() += 1;
    }
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), graph.neighbours(start));
    // The standard deviation of a count is 37.
    assert!(counts.values().all(|count| count.abs_diff(2000) < 150), "{counts:?}");
}

#[test]
fn long_walks_visit_nodes_in_proportion_to_their_degree() {
    // Every second node of a walk is a document.
    let graph = graph(&["a b c", "a b", "b d"], &["a d"], None, 1);
    let steps = 60_000;
    let walk = random_walk(&graph, 0, steps, &mut ChaCha8Rng::seed_from_u64(5));
    for node in 0..graph.len() {
        let visits = walk.iter().filter(|other| **other as usize == node).count() as f64;
        let degree = graph.neighbours(node).len() as f64;
        let expected = steps as f64 * degree / (2 * graph.edge_count()) as f64;
        assert!((visits / expected - 1.0).abs() < 0.05, "{node}: {visits}, expected {expected}");
    }
}

fn example() -> (MatchGraph, EmbedConfig) {
    let first: Vec<String> = (0..42).map(|k| format!("a{} b{} c{k}", k % 6, k % 7)).collect();
    let second: Vec<String> = (0..42).map(|k| format!("b{} x a{}", k % 7, k % 6)).collect();
    let texts =
        |texts: &[String]| self::texts(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let corpora = Corpora::new(&texts(&first), &texts(&second), None, &words(1)).unwrap();
    let config = EmbedConfig { walks: 4, dimensions: 20, ..EmbedConfig::default() };
    (corpora.graph(false).unwrap(), config)
}

#[test]
fn a_seed_gives_the_same_vectors_with_any_number_of_threads() {
    let (graph, config) = example();
    let train = |config: &EmbedConfig| embed(&graph, config, |_| ()).unwrap();
    let vectors = with_threads(1, || train(&config));
    assert!(with_threads(3, || train(&config)) == vectors);
    let other_seed = train(&EmbedConfig { seed: 1, ..config.clone() });
    assert!(other_seed != vectors);
    let rankings = rank_by_cosine(&graph, &vectors, 3);
    assert!(with_threads(3, || rank_by_cosine(&graph, &vectors, 3)) == rankings);
}

#[test]
fn progress_counts_walks_of_connected_documents() {
    let graph = graph(&["a b", "c"], &["a", "d", "b a"], None, 1);
    let config = EmbedConfig { walks: 3, ..EmbedConfig::default() };
    let last = std::cell::Cell::new(0);
    let vectors = embed(&graph, &config, |walks| last.set(walks)).unwrap();
    assert_eq!(last.get(), 9);
    let lengths: Vec<usize> = rank_by_cosine(&graph, &vectors, 5).iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 0, 1]);
    for (config, key) in [
        (EmbedConfig { walks: 0, ..config.clone() }, "walks"),
        (EmbedConfig { walk_length: 0, ..config.clone() }, "walk_length"),
        (EmbedConfig { window: 0, ..config.clone() }, "window"),
        (EmbedConfig { dimensions: 0, ..config.clone() }, "dimensions"),
        (EmbedConfig { learning_rate: 0.0, ..config.clone() }, "learning_rate"),
        (EmbedConfig { learning_rate: 1e30, ..config.clone() }, "learning_rate"),
    ] {
        let error = embed(&graph, &config, |_| ()).unwrap_err();
        assert!(matches!(error, Error::Config { key: name, .. } if name == key), "{error}");
    }
}

/// The expected scores are computed by hand with k1 = 1.2 and b = 0.75.
#[test]
fn bm25_scores() {
    let first = texts(&["pear apple apple", "apple", "plum"]);
    let second = texts(&["apple", "cherry", "apple pear"]);
    let corpora = Corpora::new(&first, &second, None, &words(1)).unwrap();
    let rankings = rank_by_bm25(&corpora, 10);
    let idf = |containing: f64| (1.0 + (3.0 - containing + 0.5) / (containing + 0.5)).ln();
    let weight = |count: f64, length: f64| {
        count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / (5.0 / 3.0)))
    };
    let (long, short) = (idf(2.0) * weight(2.0, 3.0), idf(2.0) * weight(1.0, 1.0));
    assert_eq!(rankings[0], [(1, short as f32), (0, long as f32)]);
    assert!(rankings[1].is_empty());
    assert_eq!(rankings[2][0], (0, (long + idf(1.0) * weight(1.0, 3.0)) as f32));
    assert_eq!(rank_by_bm25(&corpora, 1)[0].len(), 1);

    // A label of a query's entity in the other language is a query term.
    let labels = labels(&[("Q1", "apple", "Apfel")]);
    let german = texts(&["Apfel"]);
    let corpora = Corpora::new(&first, &german, Some(&labels), &words(1)).unwrap();
    assert_eq!(rank_by_bm25(&corpora, 10)[0], rankings[0]);
}

#[test]
fn the_program_matches_records_with_texts_in_another_language() {
    let dir = tempdir().unwrap();
    let file = |name: &str| fixture(&format!("matching/{name}")).display().to_string();
    let mini_kg = fixture("../../../data/mini-kg/labels.tsv");
    let arguments = format!(
        "match --first {} --second {} --labels {} --languages en,de --limit 2",
        file("countries.jsonl"),
        file("german.jsonl"),
        mini_kg.display()
    );
    let table = stdout(&run(dir.path(), &format!("{arguments} --seed 1 --out matches.run")));
    assert!(has_row(&table, "documents without a ranking, second 0"), "{table}");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let text = read("matches.run");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 8);
    let best: Vec<(&str, &str)> =
        lines.iter().filter(|line| line[3] == "1").map(|line| (line[0], line[2])).collect();
    let expected = [("wien", "austria"), ("kairo", "egypt"), ("athen", "greece"), ("lima", "peru")];
    assert_eq!(best, expected);
    stdout(&run(dir.path(), &format!("{arguments} --method bm25 --terms index --out bm25.run")));
    assert!(read("bm25.run").starts_with("wien Q0 austria 1 "), "{}", read("bm25.run"));
}

#[test]
fn invalid_documents_are_errors() {
    let dir = tempdir().unwrap();
    write(dir.path(), "first", "{\"id\": \"1\", \"text\": \"a\"}\n");
    write(dir.path(), "empty", "\n");
    let cases = [
        ("{\"id\": \"1 2\", \"text\": \"a\"}", "second:1: expected one document"),
        ("{\"id\": \"\", \"text\": \"a\"}", "an empty id"),
        ("{\"id\": \"1\", \"text\": \" \"}", "no text"),
        ("{\"id\": \"1\", \"title\": \"a\"}", "title"),
        ("{\"id\": \"1\", \"text\": \"a\"}\n{\"id\": \"1\", \"text\": \"a\"}", "second:2"),
        ("{\"id\": \"1\", \"text\": \"b\"}", "common terms: no data"),
    ];
    for (text, expected) in cases {
        write(dir.path(), "second", format!("{text}\n"));
        expect_errors(dir.path(), "match --first first --second second", &[("", expected)]);
    }
    write(dir.path(), "second", "{\"id\": \"1\", \"text\": \"a\"}\n");
    let cases = [
        ("--second empty", "empty: no data"),
        ("--second none.jsonl", "none.jsonl"),
        ("--second second --limit 0", "limit = 0"),
        ("--second second --walks 0", "walks = 0"),
        ("--second second --learning-rate inf", "learning_rate = inf"),
        ("--second second --terms 0", "--terms"),
        ("--second second --terms words", "--terms"),
        ("--second second --method tfidf", "tfidf"),
        ("--second second --stop-words cn", "cn"),
        ("--second second --labels none.tsv", "none.tsv"),
    ];
    expect_errors(dir.path(), "match --first first", &cases);
    let read = read_documents(dir.path().join("first")).unwrap();
    assert_eq!(read, [Document { id: "1".into(), text: "a".into(), ..Document::default() }]);
}
