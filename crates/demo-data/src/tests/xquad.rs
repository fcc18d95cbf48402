//! Tests of splitting XQuAD by article.
use std::collections::{BTreeMap, BTreeSet};

use crate::stand_in::StandIn;
use crate::xquad::XquadSplit;
use mlqa_eval::Dataset;

use super::common::data;

fn split(first: Option<usize>) -> XquadSplit {
    XquadSplit {
        xquad: data("xquad"),
        languages: ["en", "de"].map(|code| code.parse().unwrap()).into(),
        articles: None,
        first,
        fold: None,
        documents: false,
        train: 0.5,
        dev: 0.1,
        seed: 1234,
    }
}

fn dataset(text: &str) -> Dataset {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.json");
    std::fs::write(&path, text).unwrap();
    Dataset::read(&path).unwrap()
}

fn contexts(text: &str) -> BTreeSet<String> {
    let questions = dataset(text).questions;
    questions.iter().map(|question| question.context.to_string()).collect()
}

#[test]
fn no_article_is_in_two_splits_in_any_language() {
    for (first, splits) in [(None, 3), (Some(36), 2)] {
        let (files, counts) = split(first).make().unwrap();
        let files: BTreeMap<String, String> = files.into_iter().collect();
        for language in ["en", "de"] {
            let parts: Vec<BTreeSet<String>> = ["train", "dev", "test"]
                .iter()
                .filter_map(|split| {
                    let name = format!("{split}-context-{language}-question-{language}.json");
                    files.get(&name).map(|text| contexts(text))
                })
                .collect();
            assert_eq!(parts.len(), splits);
            let all: BTreeSet<&String> = parts.iter().flatten().collect();
            assert_eq!(all.len(), parts.iter().map(BTreeSet::len).sum::<usize>());
            assert_eq!(all.len(), 240);
            let test = &files[&format!("test-context-{language}-question-{language}.json")];
            assert_eq!(test, &files[&format!("xquad.{language}.json")]);
        }
        assert_eq!(files["second/xquad.de.json"], files["xquad.en.json"]);
        let total: u64 = counts.as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
        assert_eq!(total, 1190);
    }
    assert_eq!(split(Some(36)).make().unwrap().1["train"], 925);
}

#[test]
fn folds_test_each_question_once_in_each_pair_of_languages() {
    let mut tested = Vec::new();
    for fold in ["1/4", "2/4", "3/4", "4/4"] {
        let split = XquadSplit { fold: Some(fold.parse().unwrap()), ..split(None) };
        let (files, counts) = split.make().unwrap();
        let files: BTreeMap<String, String> = files.into_iter().collect();
        assert_eq!(files.len(), 2 + 4, "{:?}", files.keys());
        let test = |pair: &str| dataset(&files[&format!("test-context-{pair}.json")]);
        let train = contexts(&files["train-context-en-question-en.json"]);
        let english = test("en-question-en").questions;
        assert!(english.iter().all(|question| !train.contains(&*question.context)));
        let mixed = test("de-question-en").questions;
        let german = test("de-question-de").questions;
        for ((mixed, english), german) in mixed.iter().zip(&english).zip(&german) {
            assert_eq!((&mixed.id, &mixed.question), (&english.id, &english.question));
            assert_eq!((&mixed.context, &mixed.answers), (&german.context, &german.answers));
        }
        assert_eq!(counts["test"], english.len());
        assert_eq!(counts["train"], 1190 - english.len());
        tested.extend(english.into_iter().map(|question| question.id));
    }
    assert_eq!(tested.len(), 1190);
    assert_eq!(tested.iter().collect::<BTreeSet<_>>().len(), 1190);
}

#[test]
fn documents_are_whole_articles_with_the_same_answers() {
    let file = |documents| {
        let (files, _) = XquadSplit { documents, ..split(Some(36)) }.make().unwrap();
        let name = if documents { "documents.de.json" } else { "xquad.de.json" };
        let text = files.into_iter().find(|file| file.0 == name).unwrap().1;
        let all = dataset(&text);
        all.check_answers().unwrap();
        (contexts(&text), all.questions)
    };
    let ((paragraphs, of_paragraphs), (articles, of_articles)) = (file(false), file(true));
    assert_eq!((paragraphs.len(), articles.len(), of_articles.len()), (60, 12, 265));
    for (one, other) in of_paragraphs.iter().zip(&of_articles) {
        assert_eq!((&one.id, &one.question), (&other.id, &other.question));
        assert!(other.context.split("\n\n").any(|paragraph| *paragraph == *one.context));
        assert_eq!(one.answers[0].text, other.answers[0].text);
    }
}

/// All runs of thirteen words, in lower case and without punctuation.
fn thirteens(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    words.windows(13).map(|run| run.join(" ")).collect()
}

#[test]
fn no_training_paragraph_shares_a_sentence_with_xquad() {
    let of = |path: &str| Dataset::read(data(path)).unwrap().questions;
    let tested: std::collections::HashSet<String> = of("xquad/xquad.en.json")
        .iter()
        .flat_map(|question| thirteens(&question.context))
        .collect();
    let shares = |text: &str| thirteens(text).iter().any(|run| tested.contains(run));
    // Whatever the spaces around punctuation.
    let paragraph = &of("xquad/xquad.en.json")[0].context;
    assert!(shares(&paragraph.replace('(', " ( ").replace('.', " . ")));
    for (file, questions) in [("train", 7046), ("dev", 1263)] {
        let read = of(&format!("nq-qed/{file}.json.gz"));
        assert_eq!(read.len(), questions);
        assert_eq!(read.iter().find(|question| shares(&question.context)), None, "{file}");
    }
}
