//! XEP and XOR: retrieval of descriptions for a masked mention, or for a subject and a relation.
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use kg_triples::Language;
use kg_triples::knowledge::{Candidate, EntailmentExample, MentionExample};
use ndarray::Array2;
use objectives::masking::MaskingVocab;
use tch::{Device, Kind, Tensor, no_grad};
use transfer_eval::retrieval::{
    CandidateList, ListedQuery, RankConfig, RetrievalScore, rank_candidates, score_retrieval,
};
use xlmr_model::{KnowledgeHeads, Model, SpecialTokens};

use super::candidates::{mention_candidates, object_candidates, query_by_id};
use super::domains::{domain_ids, shared_domain};
use super::entity_prediction::mask_mention;
use super::object_baseline::accuracy_by_relation;
use super::{
    KnowledgeTaskConfig, LanguageDomains, MentionShards, ProbeConfig, Representation, TripleProbe,
};
use crate::masked_lm::masking_vocab;
use crate::pooling::{Pooling, at_positions, encode, pool_rows, to_array};
use crate::{Error, Result};

/// Rows per batch.
const BATCH_ROWS: usize = 64;

/// Cross-lingual retrieval of entities (XEP) and objects (XOR) with a trained model (XLM-K,
/// appendix B).
///
/// Queries and candidates are ranked by the vectors that were contrasted in training: projections
/// by the heads if the heads were trained, otherwise the encoder's hidden states; see
/// [`Representation`].
///
/// # Example
/// ```
/// use std::path::Path;
///
/// use tasks::knowledge::{KnowledgeData, KnowledgeProbe, KnowledgeTaskConfig, ProbeConfig};
/// use xlmr_model::{KnowledgeHeads, Pretrained};
///
/// # fn evaluate(base: &Pretrained, heads: &KnowledgeHeads, training_config: &KnowledgeTaskConfig,
/// #     data: &KnowledgeData) -> tasks::Result<()> {
/// let config = ProbeConfig::default();
/// let probe =
///     KnowledgeProbe::new(&base.model, base.special_tokens, heads, training_config, &config)?;
/// let list = Path::new("runs/xlm-k/candidates-xep.json"); // the same for every model
/// let mentions = &data.mentions;
/// let entities = probe.score_entities(mentions, &mentions.probe.unseen_pair_queries, list)?;
/// let list = Path::new("runs/xlm-k/candidates-xor.json");
/// let objects = probe.score_objects(&data.triples.probe, list)?;
/// println!("XEP {:.1}, XOR {:.1}", entities.all.accuracy, objects.0.all.accuracy);
/// # Ok(())
/// # }
/// ```
pub struct KnowledgeProbe<'a> {
    model: &'a Model,
    heads: &'a KnowledgeHeads,
    vocab: MaskingVocab,
    training_config: &'a KnowledgeTaskConfig,
    config: ProbeConfig,
}

/// The encoder's input for one vector.
struct Row {
    /// Token ids, `[L]`.
    input_ids: Vec<u32>,
    /// The position whose hidden state represents the row; `None`: the row is pooled.
    position: Option<usize>,
}

impl<'a> KnowledgeProbe<'a> {
    /// Creates a probe. `training_config` are the training options, which determine masking,
    /// pooling and the trained heads.
    ///
    /// # Errors
    /// [`Error::Masking`](crate::Error::Masking) if every id of the vocabulary is a special token.
    pub fn new(
        model: &'a Model,
        specials: SpecialTokens,
        heads: &'a KnowledgeHeads,
        training_config: &'a KnowledgeTaskConfig,
        config: &ProbeConfig,
    ) -> Result<Self> {
        let vocab = masking_vocab(model, specials)?;
        Ok(Self { model, heads, vocab, training_config, config: config.clone() })
    }

    /// Evaluates XEP: retrieves the entity's description for each masked mention of `queries`.
    ///
    /// Candidates are taken from `mentions`. The list of candidates is written to `path`.
    ///
    /// # Errors
    /// [`Error::Transfer`] if there is no query or the list cannot be written; errors of the model.
    pub fn score_entities(
        &self,
        mentions: &MentionShards,
        queries: &[MentionExample],
        path: &Path,
    ) -> Result<RetrievalScore> {
        let candidates = &mentions.probe.candidates;
        let list = mention_candidates(candidates, queries, &self.config)?;
        list.write(path)?;
        let losses = &self.training_config.losses;
        let representation = self.training_config.mention_representation();
        let domains = losses.norm_by_language.then(|| LanguageDomains::of(&mentions.languages));

        let rows = list.queries.iter().map(|query| {
            let example = query_by_id(queries, &query.id);
            let masked = mask_mention(example, &self.vocab, &losses.mention)?;
            Ok(Row { input_ids: masked.input_ids, position: Some(masked.position) })
        });
        let languages = parse_languages(list.queries.iter().map(|query| &query.language))?;
        let row_domains = domain_ids(domains.as_ref(), languages)?;
        let query_vectors = self.vectors(rows, |hidden, rows| match representation {
            Representation::Projected(_) => {
                Ok(self.heads.mep_query(hidden, block_domains(&row_domains, rows), false)?)
            }
            Representation::Encoder => Ok(hidden.shallow_clone()),
        })?;

        let rows = description_rows(&list, candidates);
        let languages =
            parse_languages(list.candidates.iter().map(|candidate| &candidate.language))?;
        let row_domains = domain_ids(domains.as_ref(), languages)?;
        let candidate_vectors = self.vectors(rows, |hidden, rows| match representation {
            Representation::Projected(_) => {
                Ok(self.heads.mep_key(hidden, block_domains(&row_domains, rows), false)?)
            }
            Representation::Encoder => Ok(hidden.shallow_clone()),
        })?;
        score(&list, &query_vectors, &candidate_vectors, representation)
    }

    /// Evaluates XOR: retrieves the object for the subject and the relation of each held-out
    /// triple.
    ///
    /// The list of candidates is written to `path`. Without trained heads a relation has no
    /// embedding, and only the subject is used. Returns the score and the mean accuracy over
    /// relations, in percent.
    ///
    /// # Errors
    /// [`Error::Transfer`] if there is no query or the list cannot be written;
    /// [`Error::Knowledge`]; errors of the model.
    pub fn score_objects(
        &self,
        triples: &TripleProbe,
        path: &Path,
    ) -> Result<(RetrievalScore, Option<f64>)> {
        let TripleProbe { candidates, unseen_triples } = triples;
        let list = object_candidates(candidates, unseen_triples, &self.config)?;
        list.write(path)?;
        let representation = self.training_config.object_representation();
        let norm_by_language = self.training_config.losses.norm_by_language;

        let query = |query: &ListedQuery| query_by_id(unseen_triples, &query.id);
        let queries: Vec<&EntailmentExample> = list.queries.iter().map(query).collect();
        let relations: Vec<i64> =
            queries.iter().map(|example| i64::from(example.relation)).collect();
        let rows = queries
            .iter()
            .map(|example| Ok(Row { input_ids: example.subject_ids.clone(), position: None }));
        let row_domains = shared_domain(norm_by_language, queries.len());
        let query_vectors = self.vectors(rows, |hidden, rows| match representation {
            Representation::Projected(_) => {
                let relations =
                    Tensor::f_from_slice(&relations[rows.clone()])?.f_to_device(hidden.device())?;
                Ok(self.heads.oe_query(
                    hidden,
                    &relations,
                    block_domains(&row_domains, rows),
                    false,
                )?)
            }
            Representation::Encoder => Ok(hidden.shallow_clone()),
        })?;

        let rows = description_rows(&list, candidates);
        let row_domains = shared_domain(norm_by_language, list.candidates.len());
        let candidate_vectors = self.vectors(rows, |hidden, rows| match representation {
            Representation::Projected(_) => {
                Ok(self.heads.oe_key(hidden, block_domains(&row_domains, rows), false)?)
            }
            Representation::Encoder => Ok(hidden.shallow_clone()),
        })?;
        let ranks = ranks(&list, &query_vectors, &candidate_vectors, representation)?;
        let mean_accuracy = accuracy_by_relation(unseen_triples, &list, &ranks);
        Ok((score_retrieval(&list, &ranks)?, mean_accuracy))
    }

    /// Computes one vector for each row, `[N, H]` float32, in the order of the rows. `project`
    /// computes the vectors of a block of rows from the rows' hidden states `[b, H]` and the range
    /// of their indices.
    fn vectors(
        &self,
        rows: impl Iterator<Item = Result<Row>>,
        project: impl Fn(&Tensor, Range<usize>) -> Result<Tensor>,
    ) -> Result<Array2<f32>> {
        let rows: Vec<Row> = rows.collect::<Result<_>>()?;
        let pooling = self.training_config.losses.pooling;
        no_grad(|| {
            let mut blocks = Vec::new();
            for (block, rows) in rows.chunks(BATCH_ROWS).enumerate() {
                let first = block * BATCH_ROWS;
                let hidden = self.hidden_states(rows, pooling)?;
                let projected = project(&hidden, first..first + rows.len())?;
                blocks.push(projected.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?);
            }
            to_array("vectors", &Tensor::f_cat(&blocks, 0)?)
        })
    }

    /// Computes the hidden states that represent a block of rows, `[b, H]`.
    fn hidden_states(&self, rows: &[Row], pooling: Pooling) -> Result<Tensor> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        match rows.iter().map(|row| row.position).collect::<Option<Vec<usize>>>() {
            Some(positions) => at_positions(&encode(self.model, &ids, false)?, &positions),
            None => pool_rows(self.model, &ids, pooling, false),
        }
    }
}

/// Returns the descriptions of a list's candidates.
fn description_rows<'c>(
    list: &'c CandidateList,
    candidates: &'c [Candidate],
) -> impl Iterator<Item = Result<Row>> + 'c {
    let ids = |candidate: &'c Candidate| {
        ((candidate.entity.as_str(), candidate.language.as_str()), &candidate.input_ids)
    };
    let descriptions: BTreeMap<(&str, &str), &Vec<u32>> = candidates.iter().map(ids).collect();
    list.candidates.iter().map(move |candidate| {
        let input_ids = descriptions.get(&(candidate.entity.as_str(), candidate.language.as_str()));
        let input_ids = input_ids.ok_or_else(|| {
            let what = format!("candidate {}", candidate.entity);
            Error::data(what, format!("a description in {}", candidate.language), "none")
        })?;
        Ok(Row { input_ids: (*input_ids).clone(), position: None })
    })
}

fn parse_languages<'b>(codes: impl Iterator<Item = &'b String>) -> Result<Vec<Language>> {
    let language = |code: &String| Ok(Language::new(code).map_err(kg_triples::Error::from)?);
    codes.map(language).collect()
}

/// Returns the domain ids of a range of rows; empty if the rows have no domains.
fn block_domains(domain_ids: &[usize], rows: Range<usize>) -> &[usize] {
    if domain_ids.is_empty() { &[] } else { &domain_ids[rows] }
}

/// Computes the rank of each query's correct candidate, in the list's order, from vectors `[N, H]`
/// of the queries and `[M, H]` of the candidates.
fn ranks(
    list: &CandidateList,
    queries: &Array2<f32>,
    candidates: &Array2<f32>,
    representation: Representation,
) -> Result<Vec<usize>> {
    let config = RankConfig { similarity: representation.similarity() };
    Ok(rank_candidates(queries.view(), candidates.view(), &list.gold_indices(), &config)?)
}

/// Ranks the candidates of each query by their vectors, and scores the ranks.
pub(super) fn score(
    list: &CandidateList,
    queries: &Array2<f32>,
    candidates: &Array2<f32>,
    representation: Representation,
) -> Result<RetrievalScore> {
    Ok(score_retrieval(list, &ranks(list, queries, candidates, representation)?)?)
}
