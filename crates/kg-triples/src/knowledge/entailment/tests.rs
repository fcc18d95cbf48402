use std::path::Path;

use rand_chacha::ChaCha8Rng;

use super::*;
use crate::seed::digest;

fn rng(stream: &str, seed: u64) -> ChaCha8Rng {
    seed::stream_rng(seed, stream, 0)
}

fn dataset(multilingual: bool) -> EntailmentExamples {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tokenizer = Tokenizer::from_file(root.join("data/base/tokenizer.json")).unwrap();
    let graph = KnowledgeGraph::read_dir(root.join("data/mini-kg")).unwrap();
    let config = EntailmentConfig {
        multilingual,
        description_tokens: 24,
        hold_out: 0.2,
        seed: 0,
        ..EntailmentConfig::default()
    };
    EntailmentExamples::with_triples(graph, &tokenizer, &config).unwrap()
}

#[test]
fn descriptions_contain_only_other_training_facts() {
    let data = dataset(true);
    let DescriptionSource::Triples(triples) = &data.descriptions else { panic!("synthetic") };
    let train: BTreeSet<u32> = data.train.iter().copied().collect();
    assert!(data.test.iter().all(|fact| !train.contains(fact)));
    assert!(triples.facts_about.values().flatten().all(|fact| train.contains(fact)));
    let mut example_rng = rng("test", 1);
    let english = Language::new("en").unwrap();
    // The fact is the continent of a country. The country has so few facts that its description
    // contains the continent only if this fact is not excluded.
    let fact = *data
        .train
        .iter()
        .find(|&&fact| {
            let triple = data.graph.triple(fact).unwrap();
            triple.relation == "continent" && triples.facts_about[triple.head].len() < 5
        })
        .unwrap();
    let triple = data.graph.triple(fact).unwrap();
    let text = |excluded_fact| {
        let mut rng = rng("text", 2);
        let ids = triples.describe(&data.graph, triple.head, english, excluded_fact, &mut rng);
        triples.tokenizer.decode(&ids.unwrap(), true).unwrap()
    };
    let continent = data.graph.label("continent", "en").unwrap();
    assert!(text(None).contains(continent), "{}", text(None));
    assert!(!text(Some(fact)).contains(continent), "{}", text(Some(fact)));
    for _ in 0..200 {
        let example = data.sample(&mut example_rng).unwrap();
        assert!(example.subject_ids.len() <= 24 && example.object_ids.len() <= 24);
        assert!((0..6).contains(&example.relation));
        for ids in [&example.subject_ids, &example.object_ids] {
            assert_eq!((ids.first(), ids.last()), (Some(&0), Some(&2)));
        }
    }
}

/// Compares results for fixed seeds with stored digests.
#[test]
fn samples_objects_and_queries_are_pinned() {
    let data = dataset(true);
    let report = EntailmentReport {
        triples: 1442,
        ambiguous: 101,
        train: 1164,
        relations: 6,
        test: 177,
        ..EntailmentReport::default()
    };
    assert_eq!(data.report(), report);
    let line = |example: &EntailmentExample| {
        let EntailmentExample { subject_ids, relation, object, object_ids, .. } = example;
        format!("{subject_ids:?} {relation} {object} {object_ids:?}\n")
    };
    let mut example_rng = rng("gold", 9);
    let monolingual = dataset(false);
    let dataset_for = |k: usize| if k.is_multiple_of(2) { &data } else { &monolingual };
    let samples = (0..300).map(|k| line(&dataset_for(k).sample(&mut example_rng).unwrap()));
    assert_eq!(digest(samples.collect()), "dcb1a126960cc71a");
    let objects = data.candidate_objects();
    let lines = objects.iter().map(|(object, language)| {
        format!("{object} {language} {:?}\n", data.candidate_token_ids(object, *language).unwrap())
    });
    assert_eq!((objects.len(), digest(lines.collect()).as_str()), (403, "ae769544ec80204c"));
    let queries = data.create_queries(&objects).unwrap();
    let lines = queries.iter().map(|query| format!("{} {}", query.subject_language, line(query)));
    assert_eq!((queries.len(), digest(lines.collect()).as_str()), (171, "cefd494258d130a7"));
}
