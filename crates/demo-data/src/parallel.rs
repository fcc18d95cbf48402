//! Files of parallel questions, which have equal ids in several languages.
use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use mlqa_eval::{Dataset, Language};

use crate::generator::{Files, dataset_json};

/// Returns the file `<split>-context-xx-question-yy.json` for each pair of languages, including
/// xx = yy.
///
/// A file has the passages and answers in xx and the questions in yy, for the ids that occur in
/// both languages.
pub(crate) fn language_pair_files(
    split: &str,
    datasets: &BTreeMap<Language, Dataset>,
) -> Result<Files> {
    let mut files = Files::new();
    for (question_language, question_dataset) in datasets {
        let question_texts: HashMap<&str, &str> = question_dataset
            .questions
            .iter()
            .map(|question| (question.id.as_str(), question.question.as_str()))
            .collect();
        for (context_language, context_dataset) in datasets {
            let mut pair_dataset = context_dataset.clone();
            pair_dataset.questions.retain_mut(|question| {
                let Some(&text) = question_texts.get(question.id.as_str()) else { return false };
                question.question = text.to_owned();
                true
            });
            let name =
                format!("{split}-context-{context_language}-question-{question_language}.json");
            files.push((name, dataset_json(&pair_dataset)?));
        }
    }
    Ok(files)
}
