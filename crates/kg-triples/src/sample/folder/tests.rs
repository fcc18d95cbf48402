//! Tests that compare samples of a folder, and samples of a graph in memory, with a reference
//! implementation.
use proptest::prelude::*;

use super::super::rules::LabelCheck;
use super::*;
use crate::Coverage;

const CODES: [&str; 4] = ["de", "en", "vi", "zh"];

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..14u32).prop_map(|number| format!("Q{number}")),
        1 => prop::sample::select(vec!["P31", "Q70000", "x y", "Q007", "Q99999999999"])
            .prop_map(str::to_owned),
    ]
}

fn relation() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["P1", "P2", "P31", "Q3", "r"]).prop_map(str::to_owned)
}

fn graph() -> impl Strategy<Value = KnowledgeGraph> {
    let triples = prop::collection::vec((id(), relation(), id()), 1..60);
    let codes = prop::collection::vec(prop::bool::weighted(0.8), 4);
    let source = prop::sample::select(LabelSource::ALL.to_vec());
    let labels = prop::collection::btree_map(
        prop_oneof![id(), relation()],
        (codes, "[a-zé]{1,4}", source),
        10..30,
    );
    (triples, labels, any::<bool>()).prop_map(|(triples, labels, has_sources)| {
        let mut builder = GraphBuilder::default();
        for (head, relation, tail) in triples {
            builder.add_triple(&head, &relation, &tail).unwrap();
        }
        for (id, (codes, text, source)) in labels {
            let codes = CODES.into_iter().zip(codes).filter(|(_, is_labelled)| *is_labelled);
            for (at, (code, _)) in codes.enumerate() {
                let label = &text[..text.char_indices().nth(at).map_or(text.len(), |(end, _)| end)];
                let label = if label.is_empty() { "l" } else { label };
                let kind = LabelKind::Entity;
                match has_sources {
                    true => builder.add_label_from(&id, code, label, kind, source).unwrap(),
                    false => builder.add_label(&id, code, label, kind).unwrap(),
                }
            }
        }
        builder.build()
    })
}

fn config() -> impl Strategy<Value = SampleConfig> {
    let languages = prop::sample::subsequence(CODES.to_vec(), 1..=4);
    let sources = prop_oneof![
        3 => Just(LabelSource::ALL.to_vec()),
        1 => prop::sample::subsequence(LabelSource::ALL.to_vec(), 1..=4),
    ];
    (languages, any::<bool>(), sources, 1..30usize, any::<u64>()).prop_map(
        |(languages, uses_pairs, label_sources, count, seed)| {
            let uses_pairs = uses_pairs && languages.len() > 1;
            SampleConfig {
                languages: languages.into_iter().map(str::to_owned).collect(),
                coverage: if uses_pairs { Coverage::Pairs } else { Coverage::All },
                label_sources,
                count,
                seed,
            }
        },
    )
}

/// Reference implementation: ranks and sorts all triples, without rank bounds and without blocks.
fn reference_sample(
    graph: &KnowledgeGraph,
    config: &SampleConfig,
) -> Result<(KnowledgeGraph, SampleReport), Error> {
    config.validate()?;
    config.check_sources(graph.has_label_sources())?;
    let languages = known_languages(config, graph.languages())?;
    let (mut ranked, report) = rank_triples(graph, &languages, config);
    check_available(&report, config, &languages)?;
    ranked.sort_unstable();
    ranked.truncate(config.count);
    let mut triples: Vec<_> = ranked.into_iter().map(|(_, triple)| triple).collect();
    triples.sort_unstable();
    Ok(build_sample(graph, &triples, &languages, config, report))
}

/// A triple of interned ids with its random rank.
type RankedTriple = (u64, [u32; 3]);

/// Returns the ranks of all triples that have the required labels, and counts of skipped triples.
fn rank_triples(
    graph: &KnowledgeGraph,
    languages: &[Language],
    config: &SampleConfig,
) -> (Vec<RankedTriple>, SampleReport) {
    let rules = LabelRules::new(config, languages);
    let bits = graph.labels.iter().map(|labels| {
        let labels = labels.iter().map(|label| (label.language, &*label.text, label.source));
        let labels: Vec<_> = labels.collect();
        rules.label_bits(&labels)
    });
    let bits: Vec<u64> = bits.collect();
    let bits =
        |id: u32| usize::try_from(id).ok().and_then(|id| bits.get(id)).copied().unwrap_or_default();
    let ranks = Ranks::new(config.seed);
    let mut report = SampleReport {
        read: graph.len(),
        repeated: graph.repeated_triples(),
        requested: config.count,
        ..SampleReport::default()
    };
    let mut ranked = Vec::new();
    for triple in &graph.triples {
        let [head, _, tail] = *triple;
        if head == tail {
            report.self_loops += 1;
        } else {
            let check = rules.check(triple.map(bits));
            report.count_fact(check);
            if check == LabelCheck::Complete {
                ranked.push((ranks.rank(triple.map(|id| graph.id_at(id))), *triple));
            }
        }
    }
    (ranked, report)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn streamed_and_in_memory_samples_are_equal(
        graph in graph(),
        config in config(),
        redirects in prop::option::of(prop::collection::vec((id(), id()), 0..6)),
    ) {
        let folder = tempfile::tempdir().unwrap();
        graph.write_dir(folder.path()).unwrap();
        let path = folder.path().join("redirects.tsv");
        if let Some(redirects) = redirects {
            let rows = redirects.iter().map(|(id, target)| format!("{id}\t{target}\n"));
            std::fs::write(&path, format!("id\ttarget_id\n{}", rows.collect::<String>())).unwrap();
        }
        let graph = KnowledgeGraph::read_dir(folder.path()).unwrap();
        let graph = graph.with_redirects(&path).unwrap();
        let streaming_result = sample_streaming(folder.path(), &config).expect("a table in order");
        for result in [streaming_result, sample(&graph, &config)] {
            match (result, reference_sample(&graph, &config)) {
                (Ok(actual), Ok(expected)) => prop_assert_eq!(actual, expected),
                (actual, expected) => prop_assert_eq!(
                    actual.err().map(|error| error.to_string()),
                    expected.err().map(|error| error.to_string())
                ),
            }
        }
    }

    #[test]
    fn pair_coverage_matches_its_definition(graph in graph(), config in config()) {
        let label_sources = LabelSource::ALL.to_vec();
        let coverage = Coverage::Pairs;
        let config = SampleConfig { coverage, label_sources, count: 1000, ..config };
        let has_label = |id: &str, code: &str| graph.label(id, code).is_some();
        let expected = graph.triples().filter(|triple| {
            let pairs = config.languages.iter().flat_map(|first| {
                config.languages.iter().map(move |second| (first, second))
            });
            triple.head != triple.tail
                && pairs.into_iter().any(|(first, second)| {
                    first != second
                        && has_label(triple.head, first)
                        && has_label(triple.tail, second)
                        && has_label(triple.relation, first)
                        && has_label(triple.relation, second)
                })
        });
        let expected: Vec<_> = expected.map(|triple| (triple.head, triple.relation, triple.tail)).collect();
        match sample(&graph, &config) {
            Ok((found, _)) => {
                let found = found.triples().map(|t| (t.head, t.relation, t.tail));
                prop_assert!(found.eq(expected));
            }
            Err(Error::Empty { .. }) => prop_assert!(expected.is_empty()),
            // A requested language has no labels, or only one language is requested.
            Err(error) => {
                let is_rejected = matches!(
                    error,
                    Error::UnknownLanguage { .. } | Error::Config { .. }
                );
                prop_assert!(is_rejected);
            }
        }
    }
}

#[test]
fn unsorted_folders_are_read_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let config = SampleConfig { languages: vec!["en".into()], ..SampleConfig::default() };
    let labels =
        "id\tlang\tlabel\tkind\nP1\ten\tp\trelation\nQ1\ten\ta\tentity\nQ2\ten\tb\tentity\n";
    let triples = "head_id\trelation_id\ttail_id\n";
    for (rows, table) in [
        ("Q2\tP1\tQ1\nQ1\tP1\tQ2\n", labels.to_owned()),
        ("Q1\tP1\tQ2\nQ1\tP1\tQ2\nQ2\tP1\tQ1\n", labels.to_owned()),
        ("Q1\tP1\tQ2\nQ2\tP1\tQ1\n", labels.replace("Q1\ten", "Q3\ten") + "Q1\ten\ta\tentity\n"),
        ("Q1\tP1\tQ2\nQ2\tP1\tQ1\n", labels.replace('\n', "\r\n")),
    ] {
        write("triples.tsv", &format!("{triples}{rows}"));
        write("labels.tsv", &table);
        assert_eq!(sample_streaming(folder.path(), &config).err(), Some(BlockReadError));
        let (found, report) = sample_folder(folder.path(), &config).unwrap();
        assert_eq!((found.len(), report.read), (2, 2));
    }
    // The errors are equal to the errors of `KnowledgeGraph::read_dir`.
    write("triples.tsv", &format!("{triples}Q1\tP1\n"));
    let error = sample_folder(folder.path(), &config).unwrap_err().to_string();
    assert_eq!(error, KnowledgeGraph::read_dir(folder.path()).unwrap_err().to_string());
}
