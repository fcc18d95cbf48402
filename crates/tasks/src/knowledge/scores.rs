//! Scores of all probes, for a model or a baseline.
use std::path::Path;

use kg_triples::knowledge::MentionExample;
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::{RetrievalScore, score_retrieval};

use super::candidates::object_candidates;
use super::object_baseline::accuracy_by_relation;
use super::{
    EntailmentShards, FrequencyBaseline, KnowledgeData, KnowledgeProbe, MentionShards,
    ObjectBaseline, ProbeConfig,
};
use crate::Result;

/// Scores of XLM-K's probes (appendix B) on three groups of held-out mentions and on held-out
/// triples.
///
/// A score is `None` without queries.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ProbeScores {
    /// Score of XEP queries about trained entities in trained language pairs.
    pub xep_seen: Option<RetrievalScore>,
    /// Score of XEP queries about trained entities in untrained language pairs.
    pub xep: Option<RetrievalScore>,
    /// Score of XEP queries about untrained entities.
    pub xep_new: Option<RetrievalScore>,
    /// Score of XOR queries, which are untrained triples.
    pub xor: Option<RetrievalScore>,
    /// The unweighted mean of XOR's accuracy over relations, in percent.
    #[serde(default)]
    pub xor_by_relation: Option<f64>,
}

impl KnowledgeProbe<'_> {
    /// Evaluates [`Self::score_entities`] on each group of XEP queries in `data`, and
    /// [`Self::score_objects`] on the XOR queries.
    ///
    /// The candidate lists are written to `folder` as `candidates-<probe>.json`, and are the same
    /// for every model.
    ///
    /// # Errors
    /// The errors of [`Self::score_entities`] and [`Self::score_objects`].
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
        let list_path = |name: &str| folder.as_ref().join(format!("candidates-{name}.json"));
        let entities = |queries: &[MentionExample], name: &str| {
            let score = || self.score_entities(&data.mentions, queries, &list_path(name));
            (!queries.is_empty()).then(score).transpose()
        };
        let objects = || self.score_objects(&data.triples.probe, &list_path("xor"));
        let has_queries = !data.triples.probe.unseen_triples.is_empty();
        let (xor, xor_by_relation) = has_queries.then(objects).transpose()?.unzip();
        let probe = &data.mentions.probe;
        Ok(ProbeScores {
            xep_seen: entities(&probe.unseen_text_queries, "xep-seen")?,
            xep: entities(&probe.unseen_pair_queries, "xep")?,
            xep_new: entities(&probe.unseen_entity_queries, "xep-new")?,
            xor,
            xor_by_relation: xor_by_relation.flatten(),
        })
    }
}

impl FrequencyBaseline {
    /// Evaluates [`score`](Self::score) on the queries about trained entities. The remaining scores
    /// are `None`: untrained entities have no training frequency, and objects are ranked by
    /// [`ObjectBaseline`].
    ///
    /// # Errors
    /// The errors of [`score`](Self::score).
    pub fn score_all(self, mentions: &MentionShards, config: &ProbeConfig) -> Result<ProbeScores> {
        let score = |queries: &[MentionExample]| {
            (!queries.is_empty()).then(|| self.score(mentions, queries, config)).transpose()
        };
        Ok(ProbeScores {
            xep_seen: score(&mentions.probe.unseen_text_queries)?,
            xep: score(&mentions.probe.unseen_pair_queries)?,
            ..ProbeScores::default()
        })
    }
}

impl ObjectBaseline {
    /// Computes the baseline's XOR scores on the candidates of [`KnowledgeProbe::score_objects`].
    ///
    /// The result is empty if there are no queries or more than a million training triples. Tied
    /// candidates rank before the correct one.
    ///
    /// # Errors
    /// The errors of [`KnowledgeProbe::score_objects`] for the candidate list.
    pub fn score_all(
        self,
        triples: &EntailmentShards,
        config: &ProbeConfig,
    ) -> Result<ProbeScores> {
        let queries = &triples.probe.unseen_triples;
        if queries.is_empty() || triples.facts.0.is_empty() {
            return Ok(ProbeScores::default());
        }
        let list = object_candidates(&triples.probe.candidates, queries, config)?;
        let ranks = self.ranks(&triples.facts, queries, &list);
        Ok(ProbeScores {
            xor: Some(score_retrieval(&list, &ranks)?),
            xor_by_relation: accuracy_by_relation(queries, &list, &ranks),
            ..ProbeScores::default()
        })
    }
}

impl KnowledgeData {
    /// Computes the frequency baselines of XEP and XOR, with names for a table; empty without XEP
    /// queries.
    ///
    /// # Errors
    /// The errors of [`FrequencyBaseline::score_all`] and [`ObjectBaseline::score_all`].
    pub fn baselines(&self, config: &ProbeConfig) -> Result<Vec<(&'static str, ProbeScores)>> {
        if self.mentions.probe.is_empty() {
            return Ok(Vec::new());
        }
        let entity = FrequencyBaseline::Entity.score_all(&self.mentions, config)?;
        let pair = FrequencyBaseline::LanguagePair.score_all(&self.mentions, config)?;
        let object = ObjectBaseline::Relation.score_all(&self.triples, config)?;
        let neighbours = ObjectBaseline::Neighbours.score_all(&self.triples, config)?;
        Ok(vec![
            ("Baseline: most frequent entity of the language", entity),
            ("Baseline: most frequent entity of the language pair", pair),
            ("Baseline: most frequent object of the relation", object),
            ("Baseline: object of subjects that share facts", neighbours),
        ])
    }
}
