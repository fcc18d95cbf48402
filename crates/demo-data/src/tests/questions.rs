//! Tests of templates, splits and question items.

use std::collections::{BTreeMap, BTreeSet};

use super::common::{countries, heads, test_set};
use crate::questions::item::{QuestionConfig, QuestionItem, QuestionSet};
use crate::questions::template::{Template, TemplateKind, TemplateSet};
use crate::split::EntitySplit;
use kg_triples::{GraphBuilder, KnowledgeGraph, LabelKind};
use mlqa_eval::{Dataset, Question, squad};
use tempfile::tempdir;

const TEMPLATES: &str = "# a comment\nrelation_id\tlang\tkind\ttemplate
P36\ten\tstatement\tThe capital of {head} is {tail} .
P37\ten\tstatement\tPeople in {head} speak {tail} .
# another
P36\ten\tquestion\tWhat is the capital of {head} ?
P36\tde\tquestion\tWas ist die Hauptstadt von {head} ?
P36\tzh\tquestion\t{head} 的首都是什么？
P37\ten\tquestion\tWhat do people in {head} speak ?
P37\tde\tquestion\tWas spricht man in {head} ?
P37\tzh\tquestion\t{head} 的人说什么？
";

fn parse_templates(text: &str) -> Result<TemplateSet, kg_triples::Error> {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("templates.tsv"), text).unwrap();
    TemplateSet::read(dir.path().join("templates.tsv"))
}

fn config(languages: &[&str], facts: usize, same_relation_facts: usize) -> QuestionConfig {
    QuestionConfig {
        facts_per_context: facts,
        same_relation_facts,
        question_languages: languages.iter().map(|code| code.parse().unwrap()).collect(),
        ..QuestionConfig::default()
    }
}

fn build_set(graph: &KnowledgeGraph, config: &QuestionConfig) -> QuestionSet {
    test_set(graph, &parse_templates(TEMPLATES).unwrap(), &heads(graph), config).unwrap()
}

/// Parses a context and returns head label, tail label and relation of each sentence.
fn parse_context(context: &str) -> Vec<(String, String, &'static str)> {
    let mut facts = Vec::new();
    for sentence in context.split(" .").map(str::trim).filter(|sentence| !sentence.is_empty()) {
        let capital = sentence.strip_prefix("The capital of ").and_then(|s| s.split_once(" is "));
        let language = sentence.strip_prefix("People in ").and_then(|s| s.split_once(" speak "));
        let (pair, relation) = match (capital, language) {
            (Some(pair), _) => (pair, "P36"),
            (_, Some(pair)) => (pair, "P37"),
            _ => panic!("{sentence:?} does not match a template"),
        };
        facts.push((pair.0.to_owned(), pair.1.to_owned(), relation));
    }
    facts
}

fn substring(text: &str, start: usize, length: usize) -> String {
    text.chars().skip(start).take(length).collect()
}

/// Returns a graph of countries with a capital and a language each, labelled in en, de and zh.
fn country_graph(countries: usize) -> KnowledgeGraph {
    let mut builder = GraphBuilder::default();
    for number in 0..countries {
        let country = format!("C{number}");
        let (city, tongue) = (format!("B{number}"), format!("L{number}"));
        builder.add_triple(&country, "P36", &city).unwrap();
        builder.add_triple(&country, "P37", &tongue).unwrap();
        for language in ["en", "de", "zh"] {
            for (id, word) in [(&country, "国Land"), (&city, "Stadt"), (&tongue, "हिन्दी")]
            {
                let text = format!("{word}{language}{number}x");
                builder.add_label(id, language, &text, LabelKind::Entity).unwrap();
            }
        }
    }
    builder.build()
}

#[test]
fn template_errors_name_line_and_column() {
    let valid = parse_templates(TEMPLATES).unwrap();
    let language = "en".parse().unwrap();
    assert_eq!(valid.get("P36", language, TemplateKind::Statement).len(), 1);
    assert_eq!(valid.get("P36", language, TemplateKind::Question).len(), 1);
    assert!(valid.get("P99", language, TemplateKind::Question).is_empty());
    for (row, column) in [
        ("P36\ten\tquestion", "columns"),
        ("\ten\tquestion\tWhat of {head} ?", "relation_id"),
        ("P36\tEnglish language\tquestion\tWhat of {head} ?", "language"),
        ("P36\ten\tanswer\tWhat of {head} ?", "kind"),
        ("P36\ten\tquestion\tWhat ?", "template"),
        ("P36\ten\tquestion\tIs {tail} of {head} ?", "template"),
        ("P36\ten\tstatement\t{head} and {head} : {tail}", "template"),
        ("P36\ten\tstatement\t{head} : {Tail}", "template"),
        ("P36\ten\tstatement\t{head} : {tail} {", "template"),
    ] {
        match parse_templates(&format!("{TEMPLATES}{row}\n")) {
            Err(kg_triples::Error::Row { line: 12, column: actual, path, .. }) => {
                assert_eq!(actual, column);
                assert!(path.ends_with("templates.tsv"));
            }
            other => panic!("{row}: {other:?}"),
        }
    }
    assert!(matches!(parse_templates("# nothing\n"), Err(kg_triples::Error::Header { .. })));
    assert!(Template::parse("{tail} is of {head}", TemplateKind::Statement).is_ok());
}

#[test]
fn contexts_state_true_facts_once() {
    let graph = countries();
    let label = |id: &str, language: &str| graph.label(id, language).unwrap();
    let set = build_set(&graph, &config(&["en", "de", "zh"], 3, 2));
    assert_eq!(set.items.len(), 6, "one item per fact");
    let mut facts = BTreeSet::new();
    for item in &set.items {
        let triple = graph.triple(item.fact_number).unwrap();
        facts.insert(item.fact_number);
        assert_eq!(item.answer, label(triple.tail, "en"));
        let parsed = parse_context(&item.context);
        assert_eq!(parsed.len(), 3);
        for (head, tail, relation) in &parsed {
            assert_eq!(*relation, triple.relation, "two more facts of the relation exist");
            let is_true = graph.triples().any(|fact| {
                fact.relation == *relation
                    && (label(fact.head, "en"), label(fact.tail, "en")) == (head, tail)
            });
            assert!(is_true, "{head} {relation} {tail}");
        }
        check_item(item, &parsed);
        for (language, question) in &item.questions {
            let head = substring(&question.text, question.head_start, question.head_length);
            assert_eq!(head, label(triple.head, language.as_str()));
        }
    }
    assert_eq!(facts.len(), 6);
    let berlin = set.items.iter().find(|item| item.answer == "Berlin").unwrap();
    let texts: BTreeMap<_, _> =
        berlin.questions.iter().map(|(l, q)| (l.as_str(), q.text.as_str())).collect();
    assert_eq!(texts["de"], "Was ist die Hauptstadt von Deutschland ?");
    assert_eq!(texts["zh"], "德国 的首都是什么？");
}

/// Checks that the answer is at its offset and is unambiguous in the context.
fn check_item(item: &QuestionItem, parsed: &[(String, String, &str)]) {
    let length = item.answer.chars().count();
    assert_eq!(substring(&item.context, item.answer_start, length), item.answer);
    let tails: BTreeSet<_> = parsed.iter().map(|(_, tail, _)| tail).collect();
    assert_eq!(tails.len(), parsed.len(), "tails are distinct");
    let head_relations: BTreeSet<_> =
        parsed.iter().map(|(head, _, relation)| (head, relation)).collect();
    assert_eq!(head_relations.len(), parsed.len(), "heads and relations are distinct");
    assert!(parsed.iter().all(|(head, _, _)| !tails.contains(head)), "no label is head and tail");
}

#[test]
fn facts_of_other_relations_complete_a_context() {
    let graph = country_graph(12);
    let set = build_set(&graph, &QuestionConfig { items: Some(240), ..config(&["en"], 4, 1) });
    assert_eq!(set.items.len(), 240);
    let mut other_relation_count = 0;
    for item in &set.items {
        let parsed = parse_context(&item.context);
        assert_eq!(parsed.len(), 4);
        check_item(item, &parsed);
        let fact = graph.triple(item.fact_number).unwrap();
        let (relation, head) = (fact.relation, graph.label(fact.head, "en").unwrap());
        assert_eq!(
            parsed.iter().filter(|(h, _, _)| h == head).count(),
            1,
            "one sentence about the head"
        );
        assert!(parsed.iter().filter(|(_, _, r)| *r == relation).count() >= 2);
        other_relation_count += parsed.iter().filter(|(_, _, r)| *r != relation).count();
    }
    assert!(other_relation_count > 0);
    // This graph has only three facts per relation, so the fourth sentence of each context has
    // another relation than the question.
    let small_set = build_set(&countries(), &config(&["en"], 4, 3));
    assert!(small_set.items.iter().all(|item| {
        let relation = countries().triple(item.fact_number).unwrap().relation.to_owned();
        parse_context(&item.context).iter().filter(|(_, _, r)| *r == relation).count() == 3
    }));
}

#[test]
fn contexts_have_no_ambiguous_labels() {
    // Each of eight heads has four of ten tails, and is also the tail of another head.
    let mut builder = GraphBuilder::default();
    for head in 0..8 {
        for step in 0..4 {
            let tail = (head + 3 * step) % 10;
            builder.add_triple(&format!("H{head}"), "P37", &format!("T{tail}")).unwrap();
        }
        builder.add_triple(&format!("H{head}"), "P37", &format!("H{}", (head + 1) % 8)).unwrap();
        builder
            .add_label(&format!("H{head}"), "en", &format!("head{head}"), LabelKind::Entity)
            .unwrap();
    }
    // T8 and T9 have equal labels, and so have T0 and H0.
    for (tail, name) in (0..10).map(|t| (t, if t == 9 { 8 } else { t })) {
        let text = if tail == 0 { "head0".to_owned() } else { format!("tail{name}") };
        builder.add_label(&format!("T{tail}"), "en", &text, LabelKind::Entity).unwrap();
    }
    let graph = builder.build();
    let set = build_set(&graph, &QuestionConfig { items: Some(400), ..config(&["en"], 4, 3) });
    assert!(set.items.len() > 300, "{:?}", set.report);
    for item in &set.items {
        check_item(item, &parse_context(&item.context));
    }
}

#[test]
fn counterfactual_items_have_random_labels_and_a_question_about_the_drawn_head() {
    let graph = country_graph(40);
    let config =
        QuestionConfig { counterfactual: true, items: Some(200), ..config(&["en", "zh"], 4, 3) };
    let set = build_set(&graph, &config);
    assert_eq!(set.items.len(), 200);
    let english: BTreeSet<&str> =
        graph.entities().map(|id| graph.label(id, "en").unwrap()).collect();
    let mut true_fact_count = 0;
    let mut labels = BTreeSet::new();
    for item in &set.items {
        let parsed = parse_context(&item.context);
        check_item(item, &parsed);
        let relation = graph.triple(item.fact_number).unwrap().relation;
        let context_labels: BTreeSet<&str> =
            parsed.iter().flat_map(|(head, tail, _)| [head.as_str(), tail.as_str()]).collect();
        assert_eq!(context_labels.len(), 8, "drawn without replacement");
        assert!(context_labels.is_subset(&english));
        labels.extend(context_labels.iter().map(|label| label.to_string()));
        let (head, _, _) =
            parsed.iter().find(|(_, tail, r)| *tail == item.answer && *r == relation).unwrap();
        let entity =
            |text: &str| graph.entities().find(|id| graph.label(id, "en") == Some(text)).unwrap();
        for (language, question) in &item.questions {
            let translation = graph.label(entity(head), language.as_str()).unwrap();
            let label = substring(&question.text, question.head_start, question.head_length);
            assert_eq!(label, translation, "{head:?}");
        }
        true_fact_count += graph
            .triples()
            .filter(|t| {
                t.head == entity(head) && t.tail == entity(&item.answer) && t.relation == relation
            })
            .count();
    }
    assert!(true_fact_count < 10, "{true_fact_count} of 200 are true");
    assert!(labels.len() > 100, "labels come from all entities: {}", labels.len());
}

#[test]
fn items_depend_on_the_seed_but_not_on_the_number_of_threads() {
    let graph = country_graph(20);
    let config = config(&["en", "de"], 4, 3);
    let run = |threads, config: &QuestionConfig| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build_set(&graph, config))
    };
    assert_eq!(run(1, &config), run(3, &config));
    assert_ne!(run(1, &config), run(1, &QuestionConfig { seed: 43, ..config.clone() }));
    let contexts: BTreeSet<String> = run(1, &QuestionConfig { items: Some(400), ..config })
        .items
        .into_iter()
        .map(|i| i.context)
        .collect();
    assert!(contexts.len() > 300, "repeated facts have different contexts");
}

#[test]
fn every_head_is_in_one_split() {
    let graph = country_graph(50);
    let split = EntitySplit::default().split_heads(&graph).unwrap();
    assert_eq!((split.train.len(), split.dev.len(), split.test.len()), (20, 15, 15));
    let split_heads: BTreeSet<String> =
        [&split.train, &split.dev, &split.test].into_iter().flatten().cloned().collect();
    assert_eq!(split_heads, heads(&graph));
    assert_eq!(EntitySplit::default().split_heads(&graph).unwrap(), split);
    let other_seed = EntitySplit { seed: 1, ..EntitySplit::default() };
    assert_ne!(other_seed.split_heads(&graph).unwrap(), split);
    for invalid in [
        EntitySplit { shares: [0.5, 0.3, 0.3], ..EntitySplit::default() },
        EntitySplit { shares: [-0.1, 0.8, 0.3], ..EntitySplit::default() },
    ] {
        assert!(matches!(invalid.split_heads(&graph), Err(kg_triples::Error::Config { .. })));
    }
    // Questions and contexts of a split are only about heads of the split.
    let config = config(&["en"], 4, 3);
    let set = test_set(&graph, &parse_templates(TEMPLATES).unwrap(), &split.dev, &config).unwrap();
    assert_eq!(set.items.len(), 30);
    let names: BTreeSet<&str> = split.dev.iter().map(|id| graph.label(id, "en").unwrap()).collect();
    for item in &set.items {
        assert!(split.dev.contains(graph.triple(item.fact_number).unwrap().head));
        assert!(parse_context(&item.context).iter().all(|(head, ..)| names.contains(&**head)));
    }
}

#[test]
fn files_are_parallel_squad_json() {
    let graph = countries();
    let set = build_set(&graph, &config(&["en", "de", "zh"], 3, 2));
    let files = set.files().unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "test-context-en-question-de.json",
            "test-context-en-question-en.json",
            "test-context-en-question-zh.json"
        ]
    );
    let mut parallel = Vec::new();
    for (_, text) in &files {
        // The keys `head_start` and `head_length` must delimit an entity's label in each question.
        for qa in squad::File::parse(text, "questions.json").unwrap().questions() {
            let number = |key| qa.parse_field(key, "questions.json").unwrap().unwrap();
            let head = substring(&qa.question, number("head_start"), number("head_length"));
            let is_label =
                |id| ["en", "de", "zh"].map(|code| graph.label(id, code)).contains(&Some(&head));
            assert!(graph.entities().any(is_label), "{head}");
        }
        let dataset = Dataset::parse(text, "questions.json").unwrap();
        dataset.check_answers().unwrap();
        let row = |question: Question| (question.id, question.context, question.answers);
        parallel.push(dataset.questions.into_iter().map(row).collect::<Vec<_>>());
    }
    assert_eq!(parallel[0].len(), 6);
    assert_eq!(parallel[0][0].0, "test-000000");
    assert!(parallel.iter().all(|rows| *rows == parallel[0]));
}
