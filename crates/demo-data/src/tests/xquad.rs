//! XQuAD, divided by article.
use std::collections::{BTreeMap, BTreeSet};

use crate::stand_in::StandIn;
use crate::xquad::XquadSplit;
use mlqa_eval::Dataset;

use super::common::data;

fn split(first: Option<usize>) -> XquadSplit {
    XquadSplit {
        xquad: data("xquad"),
        languages: ["en", "de"].map(|code| code.parse().unwrap()).into(),
        first,
        train: 0.5,
        dev: 0.1,
        seed: 1234,
    }
}

fn contexts(text: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.json");
    std::fs::write(&path, text).unwrap();
    let questions = Dataset::read(&path).unwrap().questions;
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
