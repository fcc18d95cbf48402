//! Scores of all probes, for a model or a baseline.
use std::path::Path;

use kg_triples::knowledge::MentionExample;
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::RetrievalScore;

use super::{FrequencyBaseline, KnowledgeData, KnowledgeProbe, MentionShards, ProbeConfig};
use crate::Result;

/// Scores of XLM-K's probes (appendix B) on three kinds of held-out mentions and on held-out
/// triples.
///
/// A score is `None` without queries.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ProbeScores {
    /// XEP about trained entities in trained language pairs.
    pub xep_seen: Option<RetrievalScore>,
    /// XEP about trained entities in untrained language pairs.
    pub xep: Option<RetrievalScore>,
    /// XEP about untrained entities.
    pub xep_new: Option<RetrievalScore>,
    /// XOR over untrained triples.
    pub xor: Option<RetrievalScore>,
    /// The unweighted mean of XOR's accuracy over relations, in percent.
    #[serde(default)]
    pub xor_by_relation: Option<f64>,
}

impl KnowledgeProbe<'_> {
    /// Evaluates [`entities`](Self::entities) on each kind of queries, and
    /// [`objects`](Self::objects), if `data` has such queries.
    ///
    /// The candidate lists are written to `folder` as `candidates-<probe>.json`, and are the same
    /// for every model.
    ///
    /// # Errors
    /// The errors of both methods.
    ///
    /// # Example
    /// ```
    /// use tasks::knowledge::{KnowledgeData, KnowledgeProbe};
    ///
    /// # fn evaluate(probe: &KnowledgeProbe<'_>, data: &KnowledgeData) -> tasks::Result<()> {
    /// let scores = probe.score_all(data, "runs/xlm-k")?;
    /// println!("XOR {:?}", scores.xor.map(|xor| xor.all.accuracy));
    /// # Ok(())
    /// # }
    /// ```
    pub fn score_all(&self, data: &KnowledgeData, folder: impl AsRef<Path>) -> Result<ProbeScores> {
        let list = |name: &str| folder.as_ref().join(format!("candidates-{name}.json"));
        let entities = |queries: &[MentionExample], name: &str| {
            let score = || self.entities(&data.mentions, queries, &list(name));
            (!queries.is_empty()).then(score).transpose()
        };
        let objects = || self.objects(&data.triples.probe, &list("xor"));
        let has_queries = !data.triples.probe.unseen_triples.is_empty();
        let (xor, xor_by_relation) = has_queries.then(objects).transpose()?.unzip();
        let probe = &data.mentions.probe;
        Ok(ProbeScores {
            xep_seen: entities(&probe.unseen_texts, "xep-seen")?,
            xep: entities(&probe.unseen_pairs, "xep")?,
            xep_new: entities(&probe.unseen_entities, "xep-new")?,
            xor,
            xor_by_relation: xor_by_relation.flatten(),
        })
    }
}

impl FrequencyBaseline {
    /// Evaluates [`score`](Self::score) on the queries about trained entities. There are no
    /// frequencies of untrained entities and objects.
    ///
    /// # Errors
    /// The errors of [`score`](Self::score).
    pub fn score_all(self, mentions: &MentionShards, config: &ProbeConfig) -> Result<ProbeScores> {
        let score = |queries: &[MentionExample]| {
            (!queries.is_empty()).then(|| self.score(mentions, queries, config)).transpose()
        };
        Ok(ProbeScores {
            xep_seen: score(&mentions.probe.unseen_texts)?,
            xep: score(&mentions.probe.unseen_pairs)?,
            ..ProbeScores::default()
        })
    }
}
