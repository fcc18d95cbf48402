use std::collections::BTreeSet;

use kg_triples::entity_linking::{LinkedText, Mention};
use kg_triples::knowledge::{
    Descriptions, PairConfig, PairCounts, PairKind, RemoveObject, TextPair, TextPairs,
};
use kg_triples::{Error, GraphBuilder, KnowledgeGraph};

use crate::common::{changed_line_error, expect_round_trip, language, linked_text};

/// A graph of three triples. The relation P1 has two labels; the relation P2 and the entity X have
/// none.
fn graph() -> KnowledgeGraph {
    let triples = [["A", "P1", "B"], ["B", "P2", "A"], ["A", "P1", "X"]];
    let labels = [
        ["A", "en", "a"],
        ["A", "de", "ä"],
        ["A", "zh", "甲"],
        ["B", "en", "b"],
        ["B", "zh", "乙"],
        ["P1", "en", "r"],
        ["P1", "de", "R"],
    ];
    crate::common::graph(&triples, &labels)
}

fn config(languages: &[&str], seed: u64) -> PairConfig {
    let languages = languages.iter().map(|code| language(code)).collect();
    PairConfig { languages, seed, ..PairConfig::default() }
}

/// The query, query language, key, key language and entity of a pair.
type Row = [String; 5];

fn row(pair: TextPair) -> Row {
    let [query, key] = [pair.query_language, pair.key_language].map(|code| code.to_string());
    [pair.query, query, pair.key, key, pair.entity]
}

fn rows(rows: &[[&str; 5]]) -> BTreeSet<Row> {
    rows.iter().map(|row| row.map(str::to_owned)).collect()
}

/// Returns the distinct pairs for 200 seeds.
fn distinct_rows<'a>(
    pairs_for_seed: impl Fn(u64) -> Result<TextPairs<'a>, Error>,
    kind: PairKind,
) -> BTreeSet<Row> {
    let seed_pairs = |seed| pairs_for_seed(seed).unwrap().train_pairs().collect::<Vec<_>>();
    (0..200).flat_map(seed_pairs).inspect(|pair| assert_eq!(pair.kind, kind)).map(row).collect()
}

#[test]
fn entities_of_triples_are_paired_in_two_languages() {
    let graph = graph();
    // In German and English, B has one label and X has none, so only A has pairs. Three of the six
    // subjects and objects are A.
    let counts = PairCounts { sources: 6, without_label: 3, train: 3, ..PairCounts::default() };
    let pairs = TextPairs::from_labels(&graph, &config(&["de", "en"], 0)).unwrap();
    assert_eq!((pairs.counts(), pairs.train_pairs().count()), (counts, 3));
    assert_eq!(
        distinct_rows(
            |seed| TextPairs::from_labels(&graph, &config(&["de", "en"], seed)),
            PairKind::Ep
        ),
        rows(&[["a", "en", "ä", "de", "A"], ["ä", "de", "a", "en", "A"]])
    );
    // In all languages, A has three labels, which form 6 ordered pairs, and B has two labels, which
    // form 2.
    let all_rows =
        distinct_rows(|seed| TextPairs::from_labels(&graph, &config(&[], seed)), PairKind::Ep);
    assert_eq!(all_rows.len(), 8);
    assert!(all_rows.iter().all(|[_, query, _, key, _]| query != key));
}

#[test]
fn subject_and_relation_are_joined_in_independent_languages() {
    let graph = graph();
    let pairs_for_seed = |seed| TextPairs::from_triples(&graph, &config(&["de", "en"], seed));
    let counts = PairCounts {
        sources: 3,
        without_label: 1,
        train: 2,
        without_relation: 1,
        ..PairCounts::default()
    };
    assert_eq!(pairs_for_seed(0).unwrap().counts(), counts);
    let expected = rows(&[
        ["a r", "en", "b", "en", "B"],
        ["a R", "en", "b", "en", "B"],
        ["ä r", "de", "b", "en", "B"],
        ["ä R", "de", "b", "en", "B"],
        // P2 has no label, so the query is only the subject.
        ["b", "en", "a", "en", "A"],
        ["b", "en", "ä", "de", "A"],
    ]);
    assert_eq!(distinct_rows(pairs_for_seed, PairKind::Tp), expected);
    // No relation has a Chinese label, so both pairs lack a relation. The triple with X has no
    // pair, because X has no label.
    let chinese = TextPairs::from_triples(&graph, &config(&["zh"], 1)).unwrap();
    assert_eq!((chinese.counts().train, chinese.counts().without_relation), (2, 2));
}

#[test]
fn a_description_is_paired_with_a_label_of_its_entity() {
    let graph = graph();
    let mut descriptions = Descriptions::default();
    for (entity, code, text) in [
        ("A", "en", "First letter."),
        ("A", "de", "Erster Buchstabe."),
        ("B", "zh", "第二。"),
        ("X", "en", "No label."),
        ("Y", "en", "Not in the graph."),
    ] {
        descriptions.add(entity, language(code), text).unwrap();
    }
    let pairs_for_seed =
        |seed| TextPairs::from_descriptions(&graph, &descriptions, &config(&["de", "en"], seed));
    // B is not a source, because it has no German or English description.
    let counts = PairCounts { sources: 3, without_label: 2, train: 1, ..PairCounts::default() };
    assert_eq!(pairs_for_seed(0).unwrap().counts(), counts);
    let expected = rows(&[
        ["First letter.", "en", "a", "en", "A"],
        ["First letter.", "en", "ä", "de", "A"],
        ["Erster Buchstabe.", "de", "a", "en", "A"],
        ["Erster Buchstabe.", "de", "ä", "de", "A"],
    ]);
    assert_eq!(distinct_rows(pairs_for_seed, PairKind::Es), expected);
}

/// A text in which `[entity|text]` is a mention.
fn text(code: &str, marked: &str) -> LinkedText {
    let mut text = String::new();
    let mut mentions = Vec::new();
    for (at, part) in marked.split(['[', ']']).enumerate() {
        let (entity, mention_text) = part.split_once('|').unwrap_or(("", part));
        let start = text.chars().count();
        text.push_str(mention_text);
        if at % 2 == 1 {
            let end = text.chars().count();
            mentions.push(Mention { start, end, entity: entity.to_owned() });
        }
    }
    LinkedText { mentions, ..linked_text(code, &text, &[]) }
}

fn pairs_of_sentences<'a>(
    graph: &'a KnowledgeGraph,
    texts: &[LinkedText],
    remove_object: RemoveObject,
) -> TextPairs<'a> {
    let config = PairConfig { remove_object, ..config(&["de", "en"], 0) };
    TextPairs::from_sentences(graph, texts.iter().cloned().map(Ok), &config).unwrap()
}

#[test]
fn objects_of_linked_triples_are_removed_from_sentences() {
    let graph = graph();
    let texts = [
        // Both A and B are objects, because the graph has triples in both directions. The letter ü
        // before the mentions tests that offsets are code points.
        text("de", "Über [A|Alpha] und [B|Beta zwei]. Nur [A|Alpha]. [B|Beta] und [C|Gamma]."),
        // B is mentioned twice, and both mentions are removed. X has no label, so it has no pair.
        text("en", "[B|Two], [B|two] and [A|one]. [A|One] with [X|none]."),
        // Sentences in a language that is not requested are ignored.
        text("zh", "[A|甲]和[B|乙]。"),
    ];
    let pairs = pairs_of_sentences(&graph, &texts, RemoveObject::Whole);
    // Two sentences do not mention both subject and object of a triple. The remaining three
    // sentences have five objects; one of these is X, which has no label.
    let counts = PairCounts {
        sources: 7,
        without_label: 1,
        without_triple: 2,
        train: 4,
        ..PairCounts::default()
    };
    assert_eq!(pairs.counts(), counts);
    let queries = |pairs: &TextPairs| -> Vec<(String, String)> {
        pairs.train_pairs().map(|pair| (pair.entity, pair.query)).collect()
    };
    let expected = [
        ("A", "Über und Beta zwei."),
        ("B", "Über Alpha und ."),
        ("A", "Two, two and ."),
        ("B", ", and one."),
    ]
    .map(|(entity, query)| (entity.to_owned(), query.to_owned()));
    assert_eq!(queries(&pairs), expected);
    let has_known_key = |pair: TextPair| ["a", "ä", "b"].contains(&&*pair.key);
    assert!(pairs.draw(50).all(has_known_key));

    // All words except the last are removed.
    let released = pairs_of_sentences(&graph, &texts, RemoveObject::Released);
    let expected = [
        ("A", "Über Alpha und Beta zwei."),
        ("B", "Über Alpha und zwei."),
        ("A", "Two, two and one."),
        ("B", "Two, two and one."),
    ]
    .map(|(entity, query)| (entity.to_owned(), query.to_owned()));
    assert_eq!(queries(&released), expected);

    // The mention of the subject is "+", so the sentence has no word besides the mention of B.
    let pairs = pairs_of_sentences(&graph, &[text("en", "[A|+] [B|two] .")], RemoveObject::Whole);
    let counts = PairCounts { sources: 2, bare: 1, train: 1, ..PairCounts::default() };
    assert_eq!(pairs.counts(), counts);
    let error = || Error::Tokenizer("a broken text".into());
    let texts_with_error = [Ok(texts[0].clone()), Err(error())].into_iter();
    let result = TextPairs::from_sentences(&graph, texts_with_error, &config(&[], 0));
    assert_eq!(result.err().unwrap().to_string(), error().to_string());
}

#[test]
fn no_entity_is_both_trained_and_held_out() {
    let graph = crate::common::grid(20, 30);
    let mut descriptions = Descriptions::default();
    for entity in graph.entities() {
        descriptions.add(entity, language("en"), "Something.").unwrap();
    }
    let texts: Vec<_> = (0..600)
        .map(|at| text("en", &format!("[H{}|it] is [T{}|that].", at % 20, at / 20)))
        .collect();
    for seed in 0..5 {
        let config = PairConfig { hold_out: 0.3, seed, ..PairConfig::default() };
        let texts = texts.iter().cloned().map(Ok);
        let (mut trained, mut held_out) = (BTreeSet::new(), BTreeSet::new());
        for pairs in [
            TextPairs::from_labels(&graph, &config),
            TextPairs::from_triples(&graph, &config),
            TextPairs::from_descriptions(&graph, &descriptions, &config),
            TextPairs::from_sentences(&graph, texts, &config),
        ] {
            let pairs = pairs.unwrap();
            let counts = pairs.counts();
            assert_eq!(counts.train + counts.held_out, counts.sources);
            assert_eq!(pairs.train_pairs().count(), counts.train);
            assert_eq!(pairs.held_out().count(), counts.held_out);
            trained.extend(pairs.train_pairs().chain(pairs.draw(1000)).map(|pair| pair.entity));
            held_out.extend(pairs.held_out().map(|pair| pair.entity));
        }
        assert!(trained.is_disjoint(&held_out));
        assert_eq!(trained.len() + held_out.len(), 50);
        assert!((5..=26).contains(&held_out.len()), "{}", held_out.len());
    }
}

#[test]
fn pairs_depend_only_on_seed_and_index() {
    let graph = crate::common::countries();
    let pairs_for_seed = |seed| TextPairs::from_triples(&graph, &config(&[], seed)).unwrap();
    let draw = |seed, count| pairs_for_seed(seed).draw(count).collect::<Vec<_>>();
    assert_eq!(draw(1, 300)[..100], draw(1, 100));
    assert_ne!(draw(1, 100), draw(2, 100));
    let train_pairs = |seed| pairs_for_seed(seed).train_pairs().collect::<Vec<_>>();
    assert_eq!(train_pairs(1), train_pairs(1));
    assert_ne!(train_pairs(1), train_pairs(2));
    // There are six triples. In each, subject, relation and object have three possible languages,
    // and every combination of languages is drawn.
    let distinct: BTreeSet<Row> = draw(1, 4000).into_iter().map(row).collect();
    // A row does not contain the language of the relation, but the labels of a relation are
    // distinct.
    assert_eq!(distinct.len(), 6 * 27);
}

#[test]
fn invalid_values_are_reported() {
    let graph = graph();
    for (config, expected_error) in [
        (config(&["de", "fr"], 0), "language \"fr\" has no label in this knowledge graph"),
        (config(&["de", "en", "de"], 0), "languages = de,en,de: must be a list that names each"),
        (
            PairConfig { hold_out: 1.0, ..PairConfig::default() },
            "hold_out = 1: must be from 0 to below 1",
        ),
    ] {
        let error = TextPairs::from_labels(&graph, &config).err().unwrap().to_string();
        assert!(error.starts_with(expected_error), "{error}");
    }
    let empty = GraphBuilder::default().build();
    let empty_pairs = TextPairs::from_triples(&empty, &PairConfig::default()).unwrap();
    assert_eq!((empty_pairs.counts(), empty_pairs.draw(9).count()), (PairCounts::default(), 0));
}

#[test]
fn pairs_are_read_back_and_blank_ones_reported() {
    let graph = graph();
    let pairs: Vec<_> =
        TextPairs::from_labels(&graph, &config(&[], 3)).unwrap().train_pairs().collect();
    expect_round_trip(&pairs);
    let error = changed_line_error(&pairs[0], "key", " ".into());
    assert!(error.ends_with("got a blank key"), "{error}");
}
