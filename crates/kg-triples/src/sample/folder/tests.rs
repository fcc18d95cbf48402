//! The streamed sample and that of a graph in memory against a plain one.
use proptest::prelude::*;

use std::collections::BTreeMap;

use super::super::INSTANCE_OF;
use super::super::draw::share;
use super::super::rules::Verdict;
use super::*;
use crate::{Coverage, MissingRelation};

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
    let labels =
        prop::collection::btree_map(prop_oneof![id(), relation()], (codes, "[a-zé]{1,4}"), 10..30);
    (triples, labels).prop_map(|(triples, labels)| {
        let mut builder = GraphBuilder::default();
        for (head, relation, tail) in triples {
            builder.add_triple(&head, &relation, &tail).unwrap();
        }
        for (id, (codes, text)) in labels {
            let codes = CODES.into_iter().zip(codes).filter(|(_, there)| *there);
            for (at, (code, _)) in codes.enumerate() {
                let label = &text[..text.char_indices().nth(at).map_or(text.len(), |(end, _)| end)];
                let label = if label.is_empty() { "l" } else { label };
                builder.add_label(&id, code, label, LabelKind::Entity).unwrap();
            }
        }
        builder.build()
    })
}

fn config() -> impl Strategy<Value = SampleConfig> {
    let languages = prop::sample::subsequence(CODES.to_vec(), 1..=4);
    let options = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let filters = (
        prop::option::weighted(0.3, prop::collection::vec(relation(), 1..3)),
        prop::option::weighted(0.3, prop::collection::vec(id(), 1..4)),
    );
    (languages, options, filters, 1..30usize, any::<u64>(), 0..4usize).prop_map(
        |(languages, (pairs, english, strict, stratified), filters, count, seed, least)| {
            let pairs = pairs && languages.len() > 1;
            SampleConfig {
                languages: languages.into_iter().map(str::to_owned).collect(),
                coverage: if pairs { Coverage::Pairs } else { Coverage::All },
                count,
                seed,
                missing_relation: match english {
                    true => MissingRelation::English,
                    false => MissingRelation::Drop,
                },
                strict,
                relations: filters.0.unwrap_or_default(),
                types: filters.1.unwrap_or_default(),
                min_label_chars: least,
                stratified,
            }
        },
    )
}

/// All triples ranked and sorted, without bounds and blocks.
fn plain(
    graph: &KnowledgeGraph,
    config: &SampleConfig,
) -> Result<(KnowledgeGraph, SampleReport), Error> {
    config.validate()?;
    let languages = known_languages(config, graph.languages())?;
    let (mut ranked, report) = ranked(graph, &languages, config);
    checked(&report, config, &languages)?;
    ranked.sort_unstable();
    if config.stratified {
        ranked = stratified(graph, ranked, config.count);
    }
    ranked.truncate(config.count);
    let mut triples: Vec<_> = ranked.into_iter().map(|(_, triple)| triple).collect();
    triples.sort_unstable();
    finish(graph, &triples, (&languages, config), report)
}

/// A triple of interned ids with its random rank.
type Ranked = (u64, [u32; 3]);

/// The triples that have the labels asked for, each with its rank, and the counts of the others.
fn ranked(
    graph: &KnowledgeGraph,
    languages: &[Language],
    config: &SampleConfig,
) -> (Vec<Ranked>, SampleReport) {
    let rules = Rules::new(config, languages);
    let bits = graph.labels.iter().map(|labels| {
        let labels: Vec<_> = labels.iter().map(|(code, label)| (*code, &**label)).collect();
        rules.bits(&labels)
    });
    let bits: Vec<u64> = bits.collect();
    let bits =
        |id: u32| usize::try_from(id).ok().and_then(|id| bits.get(id)).copied().unwrap_or_default();
    let wanted = Wanted::new(graph, config);
    let ranks = Ranks::new(config.seed);
    let mut report =
        SampleReport { read: graph.len(), requested: config.count, ..SampleReport::default() };
    let mut ranked = Vec::new();
    for triple in &graph.triples {
        let [head, _, tail] = *triple;
        if head == tail {
            report.self_loops += 1;
        } else if !wanted.takes(*triple) {
            report.filtered += 1;
        } else {
            let verdict = rules.judge(triple.map(bits));
            report.count(verdict);
            if verdict == Verdict::Usable {
                ranked.push((ranks.rank(triple.map(|id| graph.id_at(id))), *triple));
            }
        }
    }
    (ranked, report)
}

/// The relations and heads that are asked for.
struct Wanted {
    /// `None`: all.
    relations: Option<HashSet<u32>>,
    heads: Option<HashSet<u32>>,
}

impl Wanted {
    fn new(graph: &KnowledgeGraph, config: &SampleConfig) -> Self {
        let listed = |id: u32, all: &[String]| all.iter().any(|known| *known == graph.id_at(id));
        let relations = graph.triples.iter().map(|[_, relation, _]| *relation);
        let relations: HashSet<u32> = relations.collect();
        let instances = graph.triples.iter().filter(|[_, relation, tail]| {
            graph.id_at(*relation) == INSTANCE_OF && listed(*tail, &config.types)
        });
        Self {
            relations: (!config.relations.is_empty()).then(|| {
                relations.into_iter().filter(|id| listed(*id, &config.relations)).collect()
            }),
            heads: (!config.types.is_empty())
                .then(|| instances.map(|[head, _, _]| *head).collect()),
        }
    }

    fn takes(&self, [head, relation, _]: [u32; 3]) -> bool {
        self.relations.as_ref().is_none_or(|relations| relations.contains(&relation))
            && self.heads.as_ref().is_none_or(|heads| heads.contains(&head))
    }
}

/// At most `count` triples, of each relation those with the smallest ranks.
fn stratified(graph: &KnowledgeGraph, ranked: Vec<Ranked>, count: usize) -> Vec<Ranked> {
    let mut groups: BTreeMap<&str, Vec<Ranked>> = BTreeMap::new();
    for (rank, triple) in ranked {
        let [_, relation, _] = triple;
        groups.entry(graph.id_at(relation)).or_default().push((rank, triple));
    }
    let sizes = groups.iter().map(|(relation, group)| (*relation, group.len())).collect();
    let mut taken = Vec::new();
    for (relation, quota) in share(sizes, count) {
        let mut group = groups.remove(relation).unwrap_or_default();
        group.sort_unstable();
        group.truncate(quota);
        taken.extend(group);
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_streamed_sample_is_that_of_the_graph(
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
        let graph = graph.with_redirects(&path).unwrap();
        let streamed = streamed(folder.path(), &config).expect("a table in order");
        for found in [streamed, sample(&graph, &config)] {
            match (found, plain(&graph, &config)) {
                (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
                (found, expected) => prop_assert_eq!(
                    found.err().map(|error| error.to_string()),
                    expected.err().map(|error| error.to_string())
                ),
            }
        }
    }

    #[test]
    fn pairs_are_what_their_definition_says(graph in graph(), config in config()) {
        let config = SampleConfig {
            coverage: Coverage::Pairs,
            missing_relation: MissingRelation::Drop,
            relations: Vec::new(),
            types: Vec::new(),
            strict: false,
            stratified: false,
            count: 1000,
            ..config
        };
        let long = |id: &str, code: &str| {
            graph.label(id, code).is_some_and(|text| text.chars().count() >= config.min_label_chars)
        };
        let usable = graph.triples().filter(|triple| {
            let pairs = config.languages.iter().flat_map(|first| {
                config.languages.iter().map(move |second| (first, second))
            });
            triple.head != triple.tail
                && pairs.into_iter().any(|(first, second)| {
                    first != second
                        && long(triple.head, first)
                        && long(triple.tail, second)
                        && graph.label(triple.relation, first).is_some()
                        && graph.label(triple.relation, second).is_some()
                })
        });
        let usable: Vec<_> = usable.map(|triple| (triple.head, triple.relation, triple.tail)).collect();
        match sample(&graph, &config) {
            Ok((found, _)) => {
                let found = found.triples().map(|t| (t.head, t.relation, t.tail));
                prop_assert!(found.eq(usable));
            }
            Err(Error::Empty { .. }) => prop_assert!(usable.is_empty()),
            // A language that no label is in, or one language alone.
            Err(error) => {
                let is_refused = matches!(
                    error,
                    Error::UnknownLanguage { .. } | Error::Config { .. }
                );
                prop_assert!(is_refused);
            }
        }
    }
}

#[test]
fn folders_in_another_order_are_read_into_memory() {
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
        assert_eq!(streamed(folder.path(), &config).err(), Some(Irregular));
        let (found, report) = sample_folder(folder.path(), &config).unwrap();
        assert_eq!((found.len(), report.read), (2, 2));
    }
    // Errors are those of the reader of graphs.
    write("triples.tsv", &format!("{triples}Q1\tP1\n"));
    let error = sample_folder(folder.path(), &config).unwrap_err().to_string();
    assert_eq!(error, KnowledgeGraph::read_dir(folder.path()).unwrap_err().to_string());
}
