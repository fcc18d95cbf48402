//! Tests of splitting XQuAD by article.
use std::collections::{BTreeMap, BTreeSet};

use crate::generator::Generator;
use crate::xquad::XquadSplit;
use mlqa_eval::Dataset;

use super::common::data_path;

fn split_config(first: Option<usize>) -> XquadSplit {
    XquadSplit {
        xquad: data_path("xquad"),
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

fn parse_dataset(text: &str) -> Dataset {
    Dataset::parse(text, "xquad.json").unwrap()
}

fn contexts(text: &str) -> BTreeSet<String> {
    let questions = parse_dataset(text).questions;
    questions.iter().map(|question| question.context.to_string()).collect()
}

#[test]
fn no_article_is_in_two_splits_in_any_language() {
    for (first, splits) in [(None, 3), (Some(36), 2)] {
        let (files, counts) = split_config(first).generate().unwrap();
        let files: BTreeMap<String, String> = files.into_iter().collect();
        for language in ["en", "de"] {
            let by_split: Vec<BTreeSet<String>> = ["train", "dev", "test"]
                .iter()
                .filter_map(|split| {
                    let name = format!("{split}-context-{language}-question-{language}.json");
                    files.get(&name).map(|text| contexts(text))
                })
                .collect();
            assert_eq!(by_split.len(), splits);
            let distinct_contexts: BTreeSet<&String> = by_split.iter().flatten().collect();
            assert_eq!(distinct_contexts.len(), by_split.iter().map(BTreeSet::len).sum::<usize>());
            assert_eq!(distinct_contexts.len(), 240);
            let test = &files[&format!("test-context-{language}-question-{language}.json")];
            assert_eq!(test, &files[&format!("xquad.{language}.json")]);
        }
        assert_eq!(files["second/xquad.de.json"], files["xquad.en.json"]);
        let total: u64 = counts.as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
        assert_eq!(total, 1190);
    }
    assert_eq!(split_config(Some(36)).generate().unwrap().1["train"], 925);
}

#[test]
fn folds_test_each_question_once_in_each_pair_of_languages() {
    let mut test_ids = Vec::new();
    for fold in ["1/4", "2/4", "3/4", "4/4"] {
        let split = XquadSplit { fold: Some(fold.parse().unwrap()), ..split_config(None) };
        let (files, counts) = split.generate().unwrap();
        let files: BTreeMap<String, String> = files.into_iter().collect();
        assert_eq!(files.len(), 2 + 4, "{:?}", files.keys());
        let test = |pair: &str| parse_dataset(&files[&format!("test-context-{pair}.json")]);
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
        test_ids.extend(english.into_iter().map(|question| question.id));
    }
    assert_eq!(test_ids.len(), 1190);
    assert_eq!(test_ids.iter().collect::<BTreeSet<_>>().len(), 1190);
}

#[test]
fn documents_are_whole_articles_with_the_same_answers() {
    let test_file = |documents| {
        let (files, _) = XquadSplit { documents, ..split_config(Some(36)) }.generate().unwrap();
        let name = if documents { "documents.de.json" } else { "xquad.de.json" };
        let text = files.into_iter().find(|file| file.0 == name).unwrap().1;
        let dataset = parse_dataset(&text);
        dataset.check_answers().unwrap();
        (contexts(&text), dataset.questions)
    };
    let ((paragraphs, paragraph_questions), (articles, article_questions)) =
        (test_file(false), test_file(true));
    assert_eq!((paragraphs.len(), articles.len(), article_questions.len()), (60, 12, 265));
    for (short, long) in paragraph_questions.iter().zip(&article_questions) {
        assert_eq!((&short.id, &short.question), (&long.id, &long.question));
        assert!(long.context.split("\n\n").any(|paragraph| *paragraph == *short.context));
        assert_eq!(short.answers[0].text, long.answers[0].text);
    }
}

/// Returns all 13-grams of words, in lower case and without punctuation; in Chinese, of characters.
fn word_13_grams(text: &str) -> Vec<String> {
    let is_han = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    let characters: Vec<String> = text.chars().filter(|&c| is_han(c)).map(String::from).collect();
    let words = text.split(|c: char| !c.is_alphanumeric() || is_han(c));
    let words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let ngrams = |units: &[String]| -> Vec<String> {
        units.windows(13).map(|ngram| ngram.join(" ")).collect()
    };
    [ngrams(&words), ngrams(&characters)].concat()
}

#[test]
fn no_training_paragraph_shares_a_13_gram_with_xquad() {
    let questions = |path: &str| Dataset::read(data_path(path)).unwrap().questions;
    let contexts_of = |questions: &[mlqa_eval::Question]| -> BTreeSet<String> {
        questions.iter().map(|question| question.context.to_string()).collect()
    };
    let test_ngrams: std::collections::HashSet<String> = ["en", "ar", "zh"]
        .iter()
        .flat_map(|language| contexts_of(&questions(&format!("xquad/xquad.{language}.json"))))
        .flat_map(|context| word_13_grams(&context))
        .collect();
    let has_overlap =
        |text: &str| word_13_grams(text).iter().any(|ngram| test_ngrams.contains(ngram));
    // Checks that `has_overlap` ignores spaces around punctuation.
    let paragraph = &questions("xquad/xquad.en.json")[0].context;
    assert!(has_overlap(&paragraph.replace('(', " ( ").replace('.', " . ")));
    let chinese = &questions("xquad/xquad.zh.json")[0].context;
    assert!(has_overlap(&chinese.chars().skip(9).collect::<String>()));
    for (file, count) in [
        ("nq-qed/train", 7046),
        ("nq-qed/dev", 1263),
        ("multilingual-qa/arcd.train", 690),
        ("multilingual-qa/cmrc2018.trial", 997),
        ("multilingual-qa/drcd.dev", 3524),
        ("multilingual-qa/drcd.test", 3493),
        ("multilingual-qa/jaquad.train", 4388),
    ] {
        let training = questions(&format!("{file}.json.gz"));
        assert_eq!(training.len(), count);
        assert_eq!(contexts_of(&training).into_iter().find(|context| has_overlap(context)), None);
    }
}
