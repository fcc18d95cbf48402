//! XEP and XOR: the right description among many, for a masked mention or for a subject and a relation.
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use kg_triples::Language;
use kg_triples::knowledge::{EntailmentDataset, MentionDataset, MentionExample, ObjectExample};
use ndarray::Array2;
use objectives::masking::{EntityMaskingConfig, MaskingVocab};
use objectives::tch::{Device, Kind, Tensor, no_grad};
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::{
    CandidateConfig, CandidateList, Description, GoldLanguage, PlacedQuery, Query, RankConfig,
    RetrievalScore, Similarity, rank_candidates, score_retrieval,
};
use transfer_eval::xlmr::to_array;
use xlmr_model::{KnowledgeHeads, Model, SpecialTokens};

use super::states::{MaskedMention, at, encode, mask_mention, masking_vocab, pooled, wide};
use super::{Languages, LossConfig, Pooling, one_set};

/// Rows encoded at once.
const ROWS: usize = 64;

/// What is ranked, and how.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Candidates of XEP; fewer where there are fewer entities.
    pub candidates: usize,
}

impl ProbeConfig {
    /// The paper's 32k unless something else is said.
    fn size(&self) -> usize {
        if self.candidates == 0 { 32_768 } else { self.candidates }
    }
}

/// What stands for a query or a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankedBy {
    /// Projected by the heads, compared as the loss compares: by cosine or by dot product.
    Heads(Similarity),
    /// The encoder's states alone, by cosine: a model whose heads were never trained.
    States,
}

/// What is counted to guess without reading, see [`guess_entities`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// Trained mentions, in the query's language, of the candidate's entity.
    Entity,
    /// Those that were trained with a description in the candidate's language.
    Pair,
}

/// The probes of one run: the same lists for every model.
pub struct Probe<'a> {
    mentions: &'a MentionDataset,
    facts: Option<&'a EntailmentDataset>,
    vocab: MaskingVocab,
    masking: EntityMaskingConfig,
    pooling: Pooling,
    description_tokens: usize,
    config: ProbeConfig,
    languages: Option<Languages>,
}

impl<'a> Probe<'a> {
    /// # Errors
    /// If the vocabulary does not fit.
    pub fn new(
        mentions: &'a MentionDataset,
        facts: Option<&'a EntailmentDataset>,
        model: &Model,
        specials: SpecialTokens,
        losses: &LossConfig,
        config: &ProbeConfig,
    ) -> Result<Self> {
        let vocab = masking_vocab(model, specials)?;
        let description_tokens = usize::try_from(model.config().max_length())?;
        Ok(Self {
            mentions,
            facts,
            vocab,
            masking: losses.mention.clone(),
            pooling: losses.pooling,
            description_tokens,
            config: config.clone(),
            languages: losses.norm_by_language.then(|| Languages::new(mentions)),
        })
    }

    /// The batch-norm sets of rows in these languages; none where all rows are one set.
    fn sets<'b>(&self, languages: impl Iterator<Item = &'b str>) -> Result<Vec<usize>> {
        self.languages.as_ref().map_or_else(|| Ok(Vec::new()), |all| all.numbers(languages))
    }

    fn query_sets(&self, list: &CandidateList) -> Result<Vec<usize>> {
        self.sets(list.queries.iter().map(|query| query.language.as_str()))
    }

    fn candidate_sets(&self, list: &CandidateList) -> Result<Vec<usize>> {
        self.sets(list.candidates.iter().map(|candidate| candidate.language.as_str()))
    }

    /// XEP over `queries`; the list is written to `path`.
    ///
    /// # Errors
    /// If there is no query, or the model fails.
    pub fn entities(
        &self,
        model: &Model,
        heads: &KnowledgeHeads,
        by: RankedBy,
        queries: &[MentionExample],
        path: &Path,
    ) -> Result<RetrievalScore> {
        let list = mention_list(self.mentions, queries, &self.config)?;
        list.write(path)?;
        let mut rows = Vec::new();
        for query in &list.queries {
            let number: usize = query.id.parse().context("query id")?;
            let example = queries.get(number).context("query id")?;
            let MaskedMention { ids, position } =
                mask_mention(example, &self.vocab, &self.masking)?;
            rows.push((ids, position));
        }
        let sets = self.query_sets(&list)?;
        let asked = vectors(model, &rows, None, |states, among| match by {
            RankedBy::Heads(_) => Ok(heads.mep_query(states, part(&sets, among), false)?),
            RankedBy::States => Ok(states.shallow_clone()),
        })?;
        let mut candidates = Vec::new();
        for candidate in &list.candidates {
            let own = self.mentions.descriptions.get(&candidate.entity);
            let ids = own.iter().find(|(language, _)| language.as_str() == candidate.language);
            let ids = ids.map(|(_, ids)| wide(ids));
            candidates.push((ids.context("a candidate without a description")?, 0));
        }
        let sets = self.candidate_sets(&list)?;
        let given = vectors(model, &candidates, Some(self.pooling), |states, among| match by {
            RankedBy::Heads(_) => Ok(heads.mep_key(states, part(&sets, among), false)?),
            RankedBy::States => Ok(states.shallow_clone()),
        })?;
        score(&list, &asked, &given, by)
    }

    /// XOR over the held-out facts; the list is written to `path`. Without trained heads the relation has no embedding, and the
    /// subject stands alone.
    ///
    /// # Errors
    /// If there are no facts, or the model fails.
    pub fn objects(
        &self,
        model: &Model,
        heads: &KnowledgeHeads,
        by: RankedBy,
        path: &Path,
    ) -> Result<RetrievalScore> {
        let facts = self.facts.context("no facts")?;
        let objects = facts.objects();
        let language_of = |object: &str| {
            let found = objects.iter().find(|(own, _)| own == object);
            found.map(|(_, language)| *language)
        };
        let queries = facts.queries(language_of)?;
        let asked: Vec<Query> = queries
            .iter()
            .enumerate()
            .map(|(k, (language, example))| Query {
                id: k.to_string(),
                entity: example.object.clone(),
                language: language.to_string(),
            })
            .collect();
        let descriptions: Vec<Description> = objects
            .iter()
            .map(|(entity, language)| Description {
                entity: entity.clone(),
                language: language.to_string(),
            })
            .collect();
        let config =
            CandidateConfig { size: objects.len(), gold_language: GoldLanguage::Any, seed: 0 };
        let list = CandidateList::draw(&descriptions, &asked, &config)?;
        list.write(path)?;
        let placed: Vec<&ObjectExample> = list
            .queries
            .iter()
            .map(|query| {
                let number: usize = query.id.parse().context("query id")?;
                queries.get(number).map(|(_, example)| example).context("query id")
            })
            .collect::<Result<_>>()?;
        let rows: Vec<(Vec<i64>, i64)> =
            placed.iter().map(|example| (wide(&example.subject_ids), 0)).collect();
        let relations: Vec<i64> =
            placed.iter().map(|example| i64::from(example.relation)).collect();
        let sets = one_set(self.languages.as_ref(), list.queries.len());
        let asked = vectors(model, &rows, Some(self.pooling), |states, among| match by {
            RankedBy::Heads(_) => {
                let own = relations.get(among.clone()).context("relations")?;
                let own = Tensor::f_from_slice(own)?.f_to_device(states.device())?;
                Ok(heads.oe_query(states, &own, part(&sets, among), false)?)
            }
            RankedBy::States => Ok(states.shallow_clone()),
        })?;
        let candidates: Vec<(Vec<i64>, i64)> = list
            .candidates
            .iter()
            .map(|candidate| {
                let language = Language::new(&candidate.language)?;
                let mut ids = wide(&facts.object_ids(&candidate.entity, language)?);
                ids.truncate(self.description_tokens);
                Ok((ids, 0))
            })
            .collect::<Result<_>>()?;
        let sets = one_set(self.languages.as_ref(), list.candidates.len());
        let given = vectors(model, &candidates, Some(self.pooling), |states, among| match by {
            RankedBy::Heads(_) => Ok(heads.oe_key(states, part(&sets, among), false)?),
            RankedBy::States => Ok(states.shallow_clone()),
        })?;
        score(&list, &asked, &given, by)
    }
}

/// The numbers of some rows; none where there are none.
fn part(sets: &[usize], rows: Range<usize>) -> &[usize] {
    sets.get(rows).unwrap_or_default()
}

/// The list of candidates for some queries: one description for each entity, for those asked for in the language of the first
/// query's example.
fn mention_list(
    mentions: &MentionDataset,
    queries: &[MentionExample],
    config: &ProbeConfig,
) -> Result<CandidateList> {
    let mut chosen = BTreeMap::new();
    for example in queries {
        chosen.entry(example.entity.as_str()).or_insert(example.description_language);
    }
    let mut descriptions = Vec::new();
    for entity in &mentions.entities {
        for (language, _) in mentions.descriptions.get(entity) {
            if chosen.get(entity.as_str()).is_none_or(|own| own == language) {
                let language = language.to_string();
                descriptions.push(Description { entity: entity.clone(), language });
            }
        }
    }
    let asked: Vec<Query> = queries
        .iter()
        .enumerate()
        .filter(|(_, example)| {
            chosen.get(example.entity.as_str()) == Some(&example.description_language)
        })
        .map(|(k, example)| Query {
            id: k.to_string(),
            entity: example.entity.clone(),
            language: example.language.to_string(),
        })
        .collect();
    let config = CandidateConfig {
        size: config.size().min(mentions.entities.len()),
        gold_language: GoldLanguage::Any,
        seed: 0,
    };
    Ok(CandidateList::draw(&descriptions, &asked, &config)?)
}

/// XEP by counting what was trained, without reading: a query's candidates in the order of how often `guess` met them. What a
/// model knows beyond it, it has from the text.
///
/// # Errors
/// If there is no query.
pub fn guess_entities(
    mentions: &MentionDataset,
    queries: &[MentionExample],
    guess: Guess,
    config: &ProbeConfig,
) -> Result<RetrievalScore> {
    let list = mention_list(mentions, queries, config)?;
    let mut counts: BTreeMap<(&str, &str, Option<&str>), usize> = BTreeMap::new();
    for example in &mentions.train {
        let description = match guess {
            Guess::Entity => None,
            Guess::Pair => Some(example.description_language.as_str()),
        };
        let key = (example.entity.as_str(), example.language.as_str(), description);
        *counts.entry(key).or_default() += 1;
    }
    let count = |candidate: &Description, language: &str| {
        let description = match guess {
            Guess::Entity => None,
            Guess::Pair => Some(candidate.language.as_str()),
        };
        counts.get(&(candidate.entity.as_str(), language, description)).copied().unwrap_or(0)
    };
    let rank = |query: &PlacedQuery| -> Result<usize> {
        let gold = list.candidates.get(query.gold).context("gold")?;
        let gold = count(gold, &query.language);
        // Candidates stand in random order, so the place decides between equals at random.
        let ahead = list.candidates.iter().enumerate().filter(|(place, candidate)| {
            let own = count(candidate, &query.language);
            own > gold || (own == gold && *place < query.gold)
        });
        Ok(1 + ahead.count())
    };
    let ranks: Vec<usize> = list.queries.iter().map(rank).collect::<Result<_>>()?;
    Ok(score_retrieval(&list, &ranks)?)
}

fn score(
    list: &CandidateList,
    queries: &Array2<f32>,
    candidates: &Array2<f32>,
    by: RankedBy,
) -> Result<RetrievalScore> {
    let similarity = match by {
        RankedBy::Heads(similarity) => similarity,
        RankedBy::States => Similarity::Cosine,
    };
    let config = RankConfig { similarity, ..Default::default() };
    let ranks = rank_candidates(queries.view(), candidates.view(), &list.golds(), &config)?;
    Ok(score_retrieval(list, &ranks)?)
}

/// One vector per row, `[N, H]` float32: `project` of what stands for the row and of its place, or, without `pooling`, of the state at its place.
fn vectors(
    model: &Model,
    rows: &[(Vec<i64>, i64)],
    pooling: Option<Pooling>,
    project: impl Fn(&Tensor, Range<usize>) -> Result<Tensor>,
) -> Result<Array2<f32>> {
    no_grad(|| {
        let mut parts = Vec::new();
        for (k, rows) in rows.chunks(ROWS).enumerate() {
            let among = k * ROWS..k * ROWS + rows.len();
            let ids: Vec<&[i64]> = rows.iter().map(|(ids, _)| ids.as_slice()).collect();
            let places: Vec<i64> = rows.iter().map(|(_, place)| *place).collect();
            let states = match pooling {
                None => at(&encode(model, &ids, false)?, &places)?,
                Some(pooling) => pooled(model, &ids, pooling, false)?,
            };
            parts.push(project(&states, among)?.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?);
        }
        Ok(to_array("vectors", &Tensor::f_cat(&parts, 0)?)?)
    })
}
