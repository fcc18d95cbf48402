//! Templates, splits and reading items.

use std::collections::{BTreeMap, BTreeSet};

use super::common::{countries, heads, one_set};
use crate::questions::item::{QuestionConfig, QuestionItem, QuestionSet};
use crate::questions::template::{Template, TemplateKind, TemplateSet};
use crate::split::EntitySplit;
use kg_triples::{GraphBuilder, KnowledgeGraph, LabelKind};
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

fn templates(text: &str) -> Result<TemplateSet, kg_triples::Error> {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("templates.tsv"), text).unwrap();
    TemplateSet::read(dir.path().join("templates.tsv"))
}

fn config(languages: &[&str], facts: usize, same: usize) -> QuestionConfig {
    QuestionConfig {
        facts_per_context: facts,
        same_relation: same,
        question_languages: languages.iter().map(|code| code.parse().unwrap()).collect(),
        ..QuestionConfig::default()
    }
}

fn build(graph: &KnowledgeGraph, config: &QuestionConfig) -> QuestionSet {
    one_set(graph, &templates(TEMPLATES).unwrap(), &heads(graph), config).unwrap()
}

/// Head and tail labels and relation of each sentence, read back from the text.
fn parse(context: &str) -> Vec<(String, String, &'static str)> {
    let mut facts = Vec::new();
    for sentence in context.split(" .").map(str::trim).filter(|sentence| !sentence.is_empty()) {
        let capital = sentence.strip_prefix("The capital of ").and_then(|s| s.split_once(" is "));
        let language = sentence.strip_prefix("People in ").and_then(|s| s.split_once(" speak "));
        let (pair, relation) = match (capital, language) {
            (Some(pair), _) => (pair, "P36"),
            (_, Some(pair)) => (pair, "P37"),
            _ => panic!("{sentence:?} has no known form"),
        };
        facts.push((pair.0.to_owned(), pair.1.to_owned(), relation));
    }
    facts
}

fn substring(text: &str, start: usize, length: usize) -> String {
    text.chars().skip(start).take(length).collect()
}

/// `n` countries with a capital and a language each, in en, de and zh.
fn world(n: usize) -> KnowledgeGraph {
    let mut builder = GraphBuilder::default();
    for at in 0..n {
        let (country, city, tongue) = (format!("C{at}"), format!("B{at}"), format!("L{at}"));
        builder.add_triple(&country, "P36", &city).unwrap();
        builder.add_triple(&country, "P37", &tongue).unwrap();
        for language in ["en", "de", "zh"] {
            for (id, word) in [(&country, "国Land"), (&city, "Stadt"), (&tongue, "हिन्दी")]
            {
                let text = format!("{word}{language}{at}x");
                builder.add_label(id, language, &text, LabelKind::Entity).unwrap();
            }
        }
    }
    builder.build()
}

#[test]
fn template_files_name_the_line_of_a_mistake() {
    let ok = templates(TEMPLATES).unwrap();
    let language = "en".parse().unwrap();
    assert_eq!(ok.get("P36", language, TemplateKind::Statement).len(), 1);
    assert_eq!(ok.get("P36", language, TemplateKind::Question).len(), 1);
    assert!(ok.get("P99", language, TemplateKind::Question).is_empty());
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
        match templates(&format!("{TEMPLATES}{row}\n")) {
            Err(kg_triples::Error::Row { line: 12, column: found, path, .. }) => {
                assert_eq!(found, column);
                assert!(path.ends_with("templates.tsv"));
            }
            other => panic!("{row}: {other:?}"),
        }
    }
    assert!(matches!(templates("# nothing\n"), Err(kg_triples::Error::Header { .. })));
    assert!(Template::parse("{tail} is of {head}", TemplateKind::Statement).is_ok());
}

#[test]
fn a_true_context_states_true_facts_once() {
    let graph = countries();
    let label = |id: &str, language: &str| graph.label(id, language).unwrap();
    let set = build(&graph, &config(&["en", "de", "zh"], 3, 2));
    assert_eq!(set.items.len(), 6, "each fact is asked once");
    let mut asked = BTreeSet::new();
    for item in &set.items {
        let triple = graph.triple(item.fact).unwrap();
        asked.insert(item.fact);
        assert_eq!(item.answer, label(triple.tail, "en"));
        let stated = parse(&item.context);
        assert_eq!(stated.len(), 3);
        for (head, tail, relation) in &stated {
            assert_eq!(*relation, triple.relation, "two others of the same relation exist");
            let known = graph.triples().any(|known| {
                known.relation == *relation
                    && (label(known.head, "en"), label(known.tail, "en")) == (head, tail)
            });
            assert!(known, "{head} {relation} {tail}");
        }
        check_item(item, &stated);
        for (language, question) in &item.questions {
            let head = substring(&question.text, question.head_start, question.head_length);
            assert_eq!(head, label(triple.head, language.as_str()));
        }
    }
    assert_eq!(asked.len(), 6);
    let berlin = set.items.iter().find(|item| item.answer == "Berlin").unwrap();
    let texts: BTreeMap<_, _> =
        berlin.questions.iter().map(|(l, q)| (l.as_str(), q.text.as_str())).collect();
    assert_eq!(texts["de"], "Was ist die Hauptstadt von Deutschland ?");
    assert_eq!(texts["zh"], "德国 的首都是什么？");
}

/// The answer stands where it is said to, and nothing in the context makes it ambiguous.
fn check_item(item: &QuestionItem, stated: &[(String, String, &str)]) {
    let length = item.answer.chars().count();
    assert_eq!(substring(&item.context, item.answer_start, length), item.answer);
    let tails: BTreeSet<_> = stated.iter().map(|(_, tail, _)| tail).collect();
    assert_eq!(tails.len(), stated.len(), "tails are distinct");
    let keys: BTreeSet<_> = stated.iter().map(|(head, _, relation)| (head, relation)).collect();
    assert_eq!(keys.len(), stated.len(), "no head and relation twice");
    assert!(stated.iter().all(|(head, _, _)| !tails.contains(head)), "no label is head and tail");
}

#[test]
fn fillers_of_other_relations_stand_in() {
    let graph = world(12);
    let set = build(&graph, &QuestionConfig { items: Some(240), ..config(&["en"], 4, 1) });
    assert_eq!(set.items.len(), 240);
    let mut other = 0;
    for item in &set.items {
        let stated = parse(&item.context);
        assert_eq!(stated.len(), 4);
        check_item(item, &stated);
        let asked = graph.triple(item.fact).unwrap();
        let (relation, head) = (asked.relation, graph.label(asked.head, "en").unwrap());
        assert_eq!(
            stated.iter().filter(|(h, _, _)| h == head).count(),
            1,
            "one sentence about the head"
        );
        assert!(stated.iter().filter(|(_, _, r)| *r == relation).count() >= 2);
        other += stated.iter().filter(|(_, _, r)| *r != relation).count();
    }
    assert!(other > 0);
    // Three countries give three capitals: the fourth sentence can only be about a language.
    let few = build(&countries(), &config(&["en"], 4, 3));
    assert!(few.items.iter().all(|item| {
        let relation = countries().triple(item.fact).unwrap().relation.to_owned();
        parse(&item.context).iter().filter(|(_, _, r)| *r == relation).count() == 3
    }));
}

#[test]
fn contexts_have_no_ambiguous_labels() {
    // Eight heads with four tails each of only ten, and heads that are tails of others.
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
    // T8 and T9 share their name, and so do T0 and H0.
    for (tail, name) in (0..10).map(|t| (t, if t == 9 { 8 } else { t })) {
        let text = if tail == 0 { "head0".to_owned() } else { format!("tail{name}") };
        builder.add_label(&format!("T{tail}"), "en", &text, LabelKind::Entity).unwrap();
    }
    let graph = builder.build();
    let set = build(&graph, &QuestionConfig { items: Some(400), ..config(&["en"], 4, 3) });
    assert!(set.items.len() > 300, "{:?}", set.report);
    for item in &set.items {
        check_item(item, &parse(&item.context));
    }
}

#[test]
fn counterfactual_items_have_random_labels_and_a_question_about_the_drawn_head() {
    let graph = world(40);
    let config =
        QuestionConfig { counterfactual: true, items: Some(200), ..config(&["en", "zh"], 4, 3) };
    let set = build(&graph, &config);
    assert_eq!(set.items.len(), 200);
    let english: BTreeSet<&str> =
        graph.entities().map(|id| graph.label(id, "en").unwrap()).collect();
    let mut true_facts = 0;
    let mut labels = BTreeSet::new();
    for item in &set.items {
        let stated = parse(&item.context);
        check_item(item, &stated);
        let relation = graph.triple(item.fact).unwrap().relation;
        let all: BTreeSet<&str> =
            stated.iter().flat_map(|(head, tail, _)| [head.as_str(), tail.as_str()]).collect();
        assert_eq!(all.len(), 8, "drawn without replacement");
        assert!(all.is_subset(&english));
        labels.extend(all.iter().map(|label| label.to_string()));
        let (head, _, _) =
            stated.iter().find(|(_, tail, r)| *tail == item.answer && *r == relation).unwrap();
        for (language, question) in &item.questions {
            let named = substring(&question.text, question.head_start, question.head_length);
            let same = graph.entities().any(|id| {
                graph.label(id, "en") == Some(head)
                    && graph.label(id, language.as_str()) == Some(named.as_str())
            });
            assert!(same, "{named:?} is not {head:?}");
        }
        let of =
            |text: &str| graph.entities().find(|id| graph.label(id, "en") == Some(text)).unwrap();
        true_facts += graph
            .triples()
            .filter(|t| t.head == of(head) && t.tail == of(&item.answer) && t.relation == relation)
            .count();
    }
    assert!(true_facts < 10, "{true_facts} of 200 are true");
    assert!(labels.len() > 100, "labels come from all entities: {}", labels.len());
}

#[test]
fn the_same_seed_gives_the_same_items_in_any_pool() {
    let graph = world(20);
    let config = config(&["en", "de"], 4, 3);
    let run = |threads, config: &QuestionConfig| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build(&graph, config))
    };
    assert_eq!(run(1, &config), run(3, &config));
    assert_ne!(run(1, &config), run(1, &QuestionConfig { seed: 43, ..config.clone() }));
    let contexts: BTreeSet<String> = run(1, &QuestionConfig { items: Some(400), ..config })
        .items
        .into_iter()
        .map(|i| i.context)
        .collect();
    assert!(contexts.len() > 300, "a fact that is asked again stands in another context");
}

#[test]
fn splits_divide_the_heads() {
    let graph = world(50);
    let split = EntitySplit::default().divide(&graph).unwrap();
    assert_eq!((split.train.len(), split.dev.len(), split.test.len()), (20, 15, 15));
    let all: BTreeSet<String> =
        [&split.train, &split.dev, &split.test].into_iter().flatten().cloned().collect();
    assert_eq!(all, heads(&graph));
    assert_eq!(EntitySplit::default().divide(&graph).unwrap(), split);
    let other = EntitySplit { seed: 1, ..EntitySplit::default() };
    assert_ne!(other.divide(&graph).unwrap(), split);
    for bad in [
        EntitySplit { shares: [0.5, 0.3, 0.3], ..EntitySplit::default() },
        EntitySplit { shares: [-0.1, 0.8, 0.3], ..EntitySplit::default() },
    ] {
        assert!(matches!(bad.divide(&graph), Err(kg_triples::Error::Config { .. })));
    }
    // Questions of a split are only about its heads, and so are its contexts.
    let config = config(&["en"], 4, 3);
    let set = one_set(&graph, &templates(TEMPLATES).unwrap(), &split.dev, &config).unwrap();
    assert_eq!(set.items.len(), 30);
    let names: BTreeSet<&str> = split.dev.iter().map(|id| graph.label(id, "en").unwrap()).collect();
    for item in &set.items {
        assert!(split.dev.contains(graph.triple(item.fact).unwrap().head));
        assert!(parse(&item.context).iter().all(|(head, _, _)| names.contains(head.as_str())));
    }
}

#[test]
fn files_are_parallel_squad_json() {
    let graph = countries();
    let set = build(&graph, &config(&["en", "de", "zh"], 3, 2));
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
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let paragraphs = json["data"][0]["paragraphs"].as_array().unwrap();
        let mut rows = Vec::new();
        for paragraph in paragraphs {
            let qas = &paragraph["qas"][0];
            let context = paragraph["context"].as_str().unwrap();
            let answer = qas["answers"][0]["text"].as_str().unwrap();
            let start = qas["answers"][0]["answer_start"].as_u64().unwrap() as usize;
            assert_eq!(substring(context, start, answer.chars().count()), answer);
            let number = |key: &str| qas[key].as_u64().unwrap() as usize;
            let head = substring(
                qas["question"].as_str().unwrap(),
                number("head_start"),
                number("head_length"),
            );
            let languages = ["en", "de", "zh"];
            let is_label = |id| languages.iter().any(|code| graph.label(id, code) == Some(&head));
            assert!(graph.entities().any(is_label), "{head}");
            rows.push((qas["id"].as_str().unwrap().to_owned(), context.to_owned(), start));
        }
        parallel.push(rows);
    }
    assert_eq!(parallel[0].len(), 6);
    assert_eq!(parallel[0][0].0, "test-000000");
    assert!(parallel.iter().all(|rows| *rows == parallel[0]));
}
