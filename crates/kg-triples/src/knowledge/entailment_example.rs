//! An example of object entailment.
use serde::{Deserialize, Serialize};

use crate::Language;
use crate::jsonl::Record;

/// A triple with descriptions of its subject and object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EntailmentExample {
    /// Fact number: position of the triple in [`triples`](crate::KnowledgeGraph::triples) of the
    /// graph.
    pub fact: u32,
    /// Id of the subject.
    pub subject: String,
    /// Id of the relation, such as `P36`.
    pub relation_id: String,
    /// Index of the relation (r in Eq. 3), from 0, in the sorted list of the ids of the graph's
    /// relations.
    pub relation: u32,
    /// Id of the object.
    pub object: String,
    /// Language of the subject's description (u in the paper).
    pub subject_language: Language,
    /// Token ids of the subject's description, `<s> … </s>`.
    pub subject_ids: Vec<u32>,
    /// Language of the object's description (t in the paper).
    pub object_language: Language,
    /// Token ids of the object's description, `<s> … </s>`.
    pub object_ids: Vec<u32>,
}

impl Record for EntailmentExample {
    const NAME: &'static str = "entailment example";

    fn invalid_reason(&self) -> Option<String> {
        let empty = self.subject_ids.is_empty() || self.object_ids.is_empty();
        empty.then(|| "a description without tokens".into())
    }
}
