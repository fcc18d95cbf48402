//! All probes of one model, or of a baseline.
use std::path::Path;

use kg_triples::knowledge::MentionExample;
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::RetrievalScore;

use super::{FrequencyBaseline, KnowledgeData, KnowledgeProbe, MentionShards, ProbeConfig};
use crate::Result;

/// The probes of XLM-K's appendix B on the three kinds of held-out mentions and on held-out
/// triples; `None` where there is no query.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ProbeScores {
    /// XEP about entities that were trained, in pairs of languages that were trained too.
    pub xep_seen: Option<RetrievalScore>,
    /// XEP about entities that were trained, in pairs of languages that were not.
    pub xep: Option<RetrievalScore>,
    /// XEP about entities that were not trained.
    pub xep_new: Option<RetrievalScore>,
    /// XOR over triples that were not trained.
    pub xor: Option<RetrievalScore>,
    /// The mean over relations of XOR's accuracy, in percent: frequent relations count no more than
    /// rare ones.
    #[serde(default)]
    pub xor_by_relation: Option<f64>,
}

impl KnowledgeProbe<'_> {
    /// [`entities`](Self::entities) on each kind of queries, and [`objects`](Self::objects), as far
    /// as `data` has queries. The lists of candidates are written to `folder` as
    /// `candidates-<probe>.json`, and are the same for every model.
    ///
    /// # Errors
    /// As the two.
    ///
    /// # Example
    /// ```
    /// use tasks::knowledge::{KnowledgeData, KnowledgeProbe};
    ///
    /// # fn ask(probe: &KnowledgeProbe<'_>, data: &KnowledgeData) -> tasks::Result<()> {
    /// let scores = probe.all(data, "runs/xlm-k")?;
    /// println!("XOR {:?}", scores.xor.map(|xor| xor.all.accuracy));
    /// # Ok(())
    /// # }
    /// ```
    pub fn all(&self, data: &KnowledgeData, folder: impl AsRef<Path>) -> Result<ProbeScores> {
        let list = |name: &str| folder.as_ref().join(format!("candidates-{name}.json"));
        let entities = |queries: &[MentionExample], name: &str| {
            let score = || self.entities(&data.mentions, queries, &list(name));
            (!queries.is_empty()).then(score).transpose()
        };
        let objects = || self.objects(&data.triples.probe, &list("xor"));
        let asked = !data.triples.probe.unseen_triples.is_empty();
        let (xor, xor_by_relation) = asked.then(objects).transpose()?.unzip();
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
    /// [`score`](Self::score) on the queries about trained entities; of others and of objects
    /// counting knows nothing.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn all(self, mentions: &MentionShards, config: &ProbeConfig) -> Result<ProbeScores> {
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
