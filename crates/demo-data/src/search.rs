//! Training questions with their passages, a substitute for a search engine's log.
use std::path::{Path, PathBuf};

use anyhow::Result;
use kg_triples::Language;
use kg_triples::phrases::{Document, QueryDocuments};
use serde_json::{Value, json};

use crate::generator::{Files, Generator, json_line};

/// Options of `demo-data search`: folder and languages of the questions.
#[derive(Clone, Debug, clap::Args)]
pub struct SearchConfig {
    /// Folder with train-context-xx-question-xx.json; each question is a query with its passage as
    /// the only result
    #[arg(long, value_name = "DIR")]
    pub questions: PathBuf,
    /// Languages of the questions
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', required = true, value_parser = Language::registered)]
    pub languages: Vec<Language>,
}

impl Generator for SearchConfig {
    const COMMAND: &'static str = "demo-data search";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// Returns `queries.jsonl.gz`, the input of `kg-triples phrases`.
    fn generate(&self) -> Result<(Files, Value)> {
        let queries = questions_as_queries(&self.questions, &self.languages)?;
        let lines: String = queries.iter().map(json_line).collect::<Result<_>>()?;
        let documents: usize = queries.iter().map(|query| query.documents.len()).sum();
        let counts = json!({ "queries": queries.len(), "documents": documents });
        Ok((vec![("queries.jsonl.gz".to_owned(), lines)], counts))
    }
}

/// Returns each question as a query with its passage as the only document. The passage is also the
/// title of the document.
fn questions_as_queries(folder: &Path, languages: &[Language]) -> Result<Vec<QueryDocuments>> {
    let mut queries = Vec::new();
    for &language in languages {
        let path = folder.join(format!("train-context-{language}-question-{language}.json"));
        for question in mlqa_eval::Dataset::read(path)?.questions {
            let text = question.context.to_string();
            let documents = vec![Document { title: text.clone(), text }];
            queries.push(QueryDocuments { query: question.question, language, documents });
        }
    }
    Ok(queries)
}

#[cfg(test)]
mod tests {
    use kg_triples::phrases::{PhraseConfig, PhraseMiner, mine_passages};

    use super::*;

    #[test]
    fn mined_phrases_occur_in_question_and_passage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train-context-en-question-en.json");
        let dataset = serde_json::json!({"data": [{"paragraphs": [{
            "context": "The old town of Bern lies in a loop of the river Aare.",
            "qas": [{"id": "1", "question": "Where is the old town of Bern?",
                "answers": [{"text": "Aare", "answer_start": 49}]}],
        }]}]});
        std::fs::write(&path, dataset.to_string()).unwrap();
        let queries = questions_as_queries(folder.path(), &[Language::EN]).unwrap();
        let phrase_config = PhraseConfig { min_chars: 0, ..PhraseConfig::default() };
        let miner = PhraseMiner::new(phrase_config).unwrap();
        let (passages, _) = mine_passages(queries.into_iter().map(Ok), &miner).unwrap();
        let [passage] = passages.as_slice() else { panic!("{passages:?}") };
        let phrases: Vec<&str> =
            passage.phrases.iter().map(|phrase| phrase.phrase.as_str()).collect();
        // Stop words at both ends of a phrase are removed; "old" is a stop word.
        assert_eq!(phrases, ["town of bern"]);
    }
}
