//! Parallel questions: questions of several languages with equal ids.
use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use mlqa_eval::{Dataset, Language};

use crate::stand_in::{Files, json_of};

/// Writes `<split>-context-xx-question-yy.json` for each pair of languages, including xx = yy:
/// passages and answers of the first language with the questions of the second one, for ids that
/// both have.
pub(crate) fn pairs(split: &str, all: &BTreeMap<Language, Dataset>) -> Result<Files> {
    let mut files = Files::new();
    for (question, asked) in all {
        let texts: HashMap<&str, &str> =
            asked.questions.iter().map(|one| (one.id.as_str(), one.question.as_str())).collect();
        for (context, answered) in all {
            let mut pair = answered.clone();
            pair.questions.retain_mut(|one| {
                let text = texts.get(one.id.as_str());
                one.question = text.copied().unwrap_or_default().to_owned();
                text.is_some()
            });
            let name = format!("{split}-context-{context}-question-{question}.json");
            files.push((name, json_of(&pair)?));
        }
    }
    Ok(files)
}
