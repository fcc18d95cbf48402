//! Training questions with their passages, instead of a search engine's log.
use std::path::{Path, PathBuf};

use anyhow::Result;
use kg_triples::Language;
use kg_triples::phrases::{Document, QueryDocuments};
use serde_json::{Value, json};

use crate::stand_in::{Files, StandIn, line};

/// The source of the queries.
#[derive(Clone, Debug, clap::Args)]
pub struct Search {
    /// Folder with train-context-xx-question-xx.json; each question is a query with its passage as
    /// the only result
    #[arg(long, value_name = "DIR")]
    pub own: PathBuf,
    /// Languages
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', required = true)]
    pub languages: Vec<Language>,
}

impl StandIn for Search {
    const COMMAND: &'static str = "demo-data search";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// Writes `queries.jsonl.gz`, the input of `kg-triples phrases`.
    fn make(&self) -> Result<(Files, Value)> {
        let found = own_passages(&self.own, &self.languages)?;
        let lines: String = found.iter().map(line).collect::<Result<_>>()?;
        let documents: usize = found.iter().map(|query| query.documents.len()).sum();
        let counts = json!({ "queries": found.len(), "documents": documents });
        Ok((vec![("queries.jsonl.gz".to_owned(), lines)], counts))
    }
}

/// Returns each question with its passage, which also serves as the title.
fn own_passages(folder: &Path, languages: &[Language]) -> Result<Vec<QueryDocuments>> {
    let mut all = Vec::new();
    for &language in languages {
        let path = folder.join(format!("train-context-{language}-question-{language}.json"));
        for question in mlqa_eval::Dataset::read(path)?.questions {
            let text = question.context.to_string();
            let documents = vec![Document { title: text.clone(), text }];
            all.push(QueryDocuments { query: question.question, language, documents });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use kg_triples::phrases::{PhraseConfig, PhraseMiner, mine_passages};

    use super::*;

    #[test]
    fn own_questions_give_the_words_that_they_share_with_their_passage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train-context-en-question-en.json");
        let file = serde_json::json!({"data": [{"paragraphs": [{
            "context": "The old town of Bern lies in a loop of the river Aare.",
            "qas": [{"id": "1", "question": "Where is the old town of Bern?",
                "answers": [{"text": "Aare", "answer_start": 49}]}],
        }]}]});
        std::fs::write(&path, file.to_string()).unwrap();
        let found = own_passages(folder.path(), &[Language::EN]).unwrap();
        let mining = PhraseConfig { min_chars: 0, ..PhraseConfig::default() };
        let miner = PhraseMiner::new(mining).unwrap();
        let (passages, _) = mine_passages(found.into_iter().map(Ok), &miner).unwrap();
        let [passage] = passages.as_slice() else { panic!("{passages:?}") };
        let masked: Vec<&str> = passage.phrases.iter().map(|own| own.phrase.as_str()).collect();
        // Stop words at both ends are removed; "old" is a stop word.
        assert_eq!(masked, ["town of bern"]);
    }
}
