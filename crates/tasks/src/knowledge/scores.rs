//! All probes of one model, or of a baseline.
use std::path::Path;

use kg_triples::knowledge::{EntailmentDataset, MentionDataset, MentionExample};
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::RetrievalScore;

use super::{FrequencyBaseline, KnowledgeData, KnowledgeProbe, Mentions, ProbeConfig, Triples};
use crate::Result;

/// The probes of XLM-K's appendix B on the three test sets of mentions and on held-out triples;
/// `None` where there is no query, or nothing to ask with.
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
}

impl KnowledgeProbe<'_> {
    /// [`entities`](Self::entities) on each test set of `mentions`, and
    /// [`objects`](Self::objects). The lists of candidates are written to `folder` as
    /// `candidates-<probe>.json`, and are the same for every model.
    ///
    /// # Errors
    /// As the two.
    ///
    /// # Example
    /// ```
    /// use kg_triples::knowledge::{EntailmentDataset, MentionDataset};
    /// use tasks::knowledge::KnowledgeProbe;
    ///
    /// # fn ask(probe: &KnowledgeProbe<'_>, mentions: &MentionDataset, triples: &EntailmentDataset)
    /// #     -> tasks::Result<()> {
    /// let scores = probe.all(mentions, triples, "runs/xlm-k")?;
    /// println!("XOR {:?}", scores.xor.map(|xor| xor.all.accuracy));
    /// # Ok(())
    /// # }
    /// ```
    pub fn all(
        &self,
        mentions: &MentionDataset,
        triples: &EntailmentDataset,
        folder: impl AsRef<Path>,
    ) -> Result<ProbeScores> {
        let folder = folder.as_ref();
        let xor = self.held_out_objects(triples, folder)?;
        Ok(ProbeScores { xor, ..self.all_entities(mentions, folder)? })
    }

    /// The same for those of `data` that are in memory: what is streamed has no queries.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub fn known(&self, data: &KnowledgeData, folder: impl AsRef<Path>) -> Result<ProbeScores> {
        let folder = folder.as_ref();
        let mut scores = match &data.mentions {
            Mentions::Drawn(mentions) => self.all_entities(mentions, folder)?,
            Mentions::Streamed(_) => ProbeScores::default(),
        };
        if let Triples::Drawn(triples) = &data.triples {
            scores.xor = self.held_out_objects(triples, folder)?;
        }
        Ok(scores)
    }

    fn held_out_objects(
        &self,
        triples: &EntailmentDataset,
        folder: &Path,
    ) -> Result<Option<RetrievalScore>> {
        let score = || self.objects(triples, &folder.join("candidates-xor.json"));
        (triples.report().test > 0).then(score).transpose()
    }

    fn all_entities(&self, mentions: &MentionDataset, folder: &Path) -> Result<ProbeScores> {
        let list = |name: &str| folder.join(format!("candidates-{name}.json"));
        let entities = |queries: &[MentionExample], name: &str| {
            let score = || self.entities(mentions, queries, &list(name));
            (!queries.is_empty()).then(score).transpose()
        };
        Ok(ProbeScores {
            xep_seen: entities(&mentions.test_seen_pairs, "xep-seen")?,
            xep: entities(&mentions.test_unseen_pairs, "xep")?,
            xep_new: entities(&mentions.test_unseen_entities, "xep-new")?,
            xor: None,
        })
    }
}

impl FrequencyBaseline {
    /// [`score`](Self::score) on the test sets of trained entities; of others and of objects
    /// counting knows nothing.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    ///
    /// # Example
    /// ```
    /// use kg_triples::knowledge::MentionDataset;
    /// use tasks::knowledge::{FrequencyBaseline, ProbeConfig, ProbeScores};
    ///
    /// let (mentions, config) = (MentionDataset::default(), ProbeConfig::default());
    /// let scores = FrequencyBaseline::Entity.all(&mentions, &config)?;
    /// assert_eq!(scores, ProbeScores::default()); // no query
    /// # Ok::<(), tasks::Error>(())
    /// ```
    pub fn all(self, mentions: &MentionDataset, config: &ProbeConfig) -> Result<ProbeScores> {
        let score = |queries: &[MentionExample]| {
            (!queries.is_empty()).then(|| self.score(mentions, queries, config)).transpose()
        };
        Ok(ProbeScores {
            xep_seen: score(&mentions.test_seen_pairs)?,
            xep: score(&mentions.test_unseen_pairs)?,
            ..ProbeScores::default()
        })
    }
}
