//! Label retrieval: the fraction of labels whose nearest English label belongs to the same entity.
use std::collections::BTreeMap;

use kg_triples::switch::LabelPair;
use kg_triples::{KnowledgeGraph, Language};
use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};
use tokenizers::Tokenizer;
use trainer::rng_for;
use transfer_eval::retrieval::map::{
    LinearMap, MapConfig, Neighbour, mean_similarity, nearest_neighbours,
};
use xlmr_model::{Inputs, Model};

use crate::pooling::to_array;
use crate::{Error, Result};

/// Computes precision at 1, in percent, for each language except English. Queries and candidates
/// are the labels of the entities that are heads of triples.
///
/// The vector of a label is the mean embedding of its tokens, centred per language. Vectors are
/// compared by cosine. Random retrieval has a precision of 100 / number of entities. Only token
/// embeddings are used, not the encoder's layers.
///
/// # Errors
/// [`Error::Data`] naming an entity without a label in one of the languages; [`Error::Tokenizer`];
/// [`Error::Torch`] if libtorch fails.
///
/// # Example
/// ```
/// use kg_triples::{GraphBuilder, LabelKind, Language};
/// use tasks::label_retrieval::label_retrieval;
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let mut builder = GraphBuilder::default();
/// builder.add_label("P1", "en", "near", LabelKind::Relation)?;
/// for (id, en, de) in [("Q1", "Peru", "Peru"), ("Q2", "Japan", "Japan")] {
///     builder.add_triple(id, "P1", "Q1")?;
///     builder.add_label(id, "en", en, LabelKind::Entity)?;
///     builder.add_label(id, "de", de, LabelKind::Entity)?;
/// }
/// let model = Model::new(&Config::tiny(4000), &[], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let languages = [Language::EN, Language::DE];
/// let precision = label_retrieval(&model, &tokenizer, &builder.build(), &languages)?;
/// assert_eq!(precision[&Language::DE], 100.0);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn label_retrieval(
    model: &Model,
    tokenizer: &Tokenizer,
    graph: &KnowledgeGraph,
    languages: &[Language],
) -> Result<BTreeMap<Language, f64>> {
    let head_entities = head_entities(graph);
    let english = labels_in(graph, &head_entities, Language::EN)?;
    let mut result = BTreeMap::new();
    for &language in languages.iter().filter(|&&language| language != Language::EN) {
        let labels = labels_in(graph, &head_entities, language)?;
        let is_correct = nearest_is_correct(model, tokenizer, &labels, &english)?;
        let correct_count = is_correct.iter().filter(|is_correct| **is_correct).count();
        result.insert(language, 100.0 * correct_count as f64 / head_entities.len().max(1) as f64);
    }
    Ok(result)
}

/// Returns the entities that are heads of triples, sorted.
fn head_entities(graph: &KnowledgeGraph) -> Vec<&str> {
    let mut head_entities: Vec<&str> = graph.triples().map(|triple| triple.head).collect();
    head_entities.sort_unstable();
    head_entities.dedup();
    head_entities
}

fn labels_in<'g>(
    graph: &'g KnowledgeGraph,
    ids: &[&str],
    language: Language,
) -> Result<Vec<&'g str>> {
    let missing_label = |id: &str| Error::data(id, format!("a label in {language}"), "none");
    let label = |&id: &&str| graph.label(id, language.as_str()).ok_or_else(|| missing_label(id));
    ids.iter().map(label).collect()
}

/// Options of [`mapped_label_retrieval`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappedRetrievalConfig {
    /// Number of cross-validation folds over entities. The labels of a fold are mapped with a map
    /// fitted to all other folds.
    pub folds: usize,
    /// Seed of the folds.
    pub seed: u64,
    /// Number of neighbours that CSLS uses.
    pub neighbours: usize,
    /// Options of the map, such as normalisation.
    pub map: MapConfig,
}

impl Default for MappedRetrievalConfig {
    fn default() -> Self {
        Self { folds: 10, seed: 0, neighbours: 10, map: MapConfig::default() }
    }
}

/// Evaluates [`label_retrieval`] after an orthogonal map from each language to English, as a
/// control without training.
///
/// Maps are fitted to a dictionary of labels.
///
/// The maps are orthogonal Procrustes maps, and neighbours are found by CSLS
/// ([`transfer_eval::retrieval::map`]). The dictionary consists of the labels of all heads and
/// tails. The map used for an entity is not fitted to the entity's labels. A map is underdetermined
/// if the dictionary has fewer entries than the vectors have dimensions.
///
/// # Errors
/// The errors of [`label_retrieval`], also for tail entities; [`Error::Config`] for fewer than two
/// folds, or more folds than entities; [`Error::Transfer`] if a map cannot be fitted.
///
/// # Example
/// ```
/// use kg_triples::{GraphBuilder, LabelKind, Language};
/// use tasks::label_retrieval::{MappedRetrievalConfig, mapped_label_retrieval};
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let mut builder = GraphBuilder::default();
/// builder.add_label("P1", "en", "near", LabelKind::Relation)?;
/// for (id, en, de) in [("Q1", "Peru", "Peru"), ("Q2", "Japan", "Japan"), ("Q3", "Cuba", "Kuba")] {
///     builder.add_triple(id, "P1", "Q1")?;
///     builder.add_label(id, "en", en, LabelKind::Entity)?;
///     builder.add_label(id, "de", de, LabelKind::Entity)?;
/// }
/// let model = Model::new(&Config::tiny(4000), &[], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let languages = [Language::EN, Language::DE];
/// let config = MappedRetrievalConfig { folds: 3, ..MappedRetrievalConfig::default() };
/// let graph = builder.build();
/// let precision = mapped_label_retrieval(&model, &tokenizer, &graph, &languages, &config)?;
/// assert!((0.0..=100.0).contains(&precision[&Language::DE]));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn mapped_label_retrieval(
    model: &Model,
    tokenizer: &Tokenizer,
    graph: &KnowledgeGraph,
    languages: &[Language],
    config: &MappedRetrievalConfig,
) -> Result<BTreeMap<Language, f64>> {
    let head_entities = head_entities(graph);
    let mut ids: Vec<&str> =
        graph.triples().flat_map(|triple| [triple.head, triple.tail]).collect();
    ids.sort_unstable();
    ids.dedup();
    if !(2..=ids.len()).contains(&config.folds) {
        let rule = format!("2 to {}, the number of entities", ids.len());
        return Err(Error::config("folds", config.folds, rule));
    }
    // Head entities are first in the list, because only head entities are candidates.
    let candidate_count = head_entities.len();
    let tail_ids = ids.iter().filter(|id| head_entities.binary_search(*id).is_err()).copied();
    let ids: Vec<&str> = head_entities.iter().copied().chain(tail_ids).collect();
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.shuffle(&mut rng_for(config.seed, "map folds", 0));
    let vectors = |language| -> Result<Array2<f32>> {
        let labels = labels_in(graph, &ids, language)?;
        to_array("label vectors", &label_means(model, tokenizer, &labels)?)
    };
    let english = vectors(Language::EN)?;
    let mut result = BTreeMap::new();
    for &language in languages.iter().filter(|&&language| language != Language::EN) {
        let label_vectors = vectors(language)?;
        let mut correct_count = 0;
        for fold in 0..config.folds {
            let is_in_fold = |&(position, _): &(usize, &usize)| position % config.folds == fold;
            let (query_indices, pairs): (Vec<_>, Vec<_>) =
                order.iter().enumerate().partition(is_in_fold);
            let pairs: Vec<(usize, usize)> = pairs.into_iter().map(|(_, &id)| (id, id)).collect();
            let query_indices =
                query_indices.into_iter().map(|(_, &id)| id).filter(|&id| id < candidate_count);
            let query_indices: Vec<usize> = query_indices.collect();
            let (mut source, mut target) = (label_vectors.clone(), english.clone());
            let map = LinearMap::fit(&mut source, &mut target, &pairs, &config.map)?;
            let source = map.map_source(label_vectors.clone())?;
            let rows: Vec<usize> = (0..candidate_count).collect();
            let (queries, targets) = (source.select(Axis(0), &rows), target.select(Axis(0), &rows));
            let means = mean_similarity(targets.view(), queries.view(), config.neighbours)?;
            let queries = source.select(Axis(0), &query_indices);
            let neighbours = nearest_neighbours(queries.view(), targets.view(), 1, Some(&means))?;
            let index = |nearest: &Vec<Neighbour>| nearest.first().map(|neighbour| neighbour.index);
            correct_count += query_indices
                .iter()
                .zip(&neighbours)
                .filter(|(row, nearest)| index(nearest) == Some(**row))
                .count();
        }
        result.insert(language, 100.0 * correct_count as f64 / candidate_count.max(1) as f64);
    }
    Ok(result)
}

/// Returns, for each of `labels`, whether the nearest label in `english` has the same index.
/// Vectors are computed as in [`label_retrieval`]. Empty if the lists differ in length.
///
/// # Errors
/// [`Error::Tokenizer`]; [`Error::Torch`] if libtorch fails.
fn nearest_is_correct(
    model: &Model,
    tokenizer: &Tokenizer,
    labels: &[&str],
    english: &[&str],
) -> Result<Vec<bool>> {
    if labels.is_empty() || labels.len() != english.len() {
        return Ok(Vec::new());
    }
    let english = label_vectors(model, tokenizer, english)?.f_tr()?;
    let labels = label_vectors(model, tokenizer, labels)?;
    let mut nearest_row: Vec<i64> = Vec::new();
    for chunk in labels.f_split(i64::from(CHUNK_LABELS), 0)? {
        let best = chunk.f_matmul(&english)?.f_argmax(1, false)?;
        nearest_row.extend(Vec::<i64>::try_from(best.f_to_device(tch::Device::Cpu)?)?);
    }
    Ok((0i64..).zip(nearest_row).map(|(row, nearest_row)| row == nearest_row).collect())
}

/// Precision at 1 of a group of entities, with the number of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct PrecisionAt1 {
    /// P@1 in percent.
    pub percent: f64,
    /// Number of query labels.
    pub labels: usize,
}

impl PrecisionAt1 {
    fn of(is_correct: impl IntoIterator<Item = bool>) -> Self {
        let (mut correct_count, mut labels) = (0u32, 0);
        for is_correct in is_correct {
            correct_count += u32::from(is_correct);
            labels += 1;
        }
        Self { percent: 100.0 * f64::from(correct_count) / (labels as f64).max(1.0), labels }
    }
}

/// Computes [`label_retrieval`] for two groups of entities. Candidates are the English labels of
/// both groups.
///
/// # Errors
/// [`Error::Tokenizer`]; [`Error::Torch`] if libtorch fails.
///
/// # Example
/// ```
/// use kg_triples::Language;
/// use kg_triples::switch::LabelPair;
/// use tasks::label_retrieval::precision_by_group;
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let pair = |id: &str, name: &str| LabelPair {
///     entity: id.into(),
///     language: Language::DE,
///     label: name.into(),
///     source: name.into(),
/// };
/// let seen = [pair("Q1", "Peru"), pair("Q2", "Japan")];
/// let unseen = [pair("Q3", "Iran")];
/// let model = Model::new(&Config::tiny(4000), &[], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let [first, second] = precision_by_group(&model, &tokenizer, [&seen, &unseen])?;
/// assert_eq!((first.labels, second.labels, second.percent), (2, 1, 100.0));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn precision_by_group(
    model: &Model,
    tokenizer: &Tokenizer,
    groups: [&[LabelPair]; 2],
) -> Result<[PrecisionAt1; 2]> {
    let [first, second] = groups;
    let pairs = || first.iter().chain(second);
    let labels: Vec<&str> = pairs().map(|pair| pair.label.as_str()).collect();
    let english: Vec<&str> = pairs().map(|pair| pair.source.as_str()).collect();
    let is_correct = nearest_is_correct(model, tokenizer, &labels, &english)?;
    let (first, second) = is_correct.split_at(first.len().min(is_correct.len()));
    Ok([first, second].map(|is_correct| PrecisionAt1::of(is_correct.iter().copied())))
}

/// Labels per chunk: for large graphs the similarities of all labels would not fit in memory.
const CHUNK_LABELS: u16 = 1024;

/// `[labels, H]`: a unit vector for each label.
fn label_vectors(model: &Model, tokenizer: &Tokenizer, labels: &[&str]) -> Result<Tensor> {
    let means = label_means(model, tokenizer, labels)?;
    no_grad(|| {
        let centered = means.f_sub(&means.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
        let norms = centered.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
        Ok(centered.f_div(&norms)?)
    })
}

/// `[labels, H]`: the mean token embedding of each label.
fn label_means(model: &Model, tokenizer: &Tokenizer, labels: &[&str]) -> Result<Tensor> {
    let mut rows: Vec<Vec<u32>> = Vec::with_capacity(labels.len());
    for label in labels {
        let encoding = tokenizer
            .encode_fast(*label, false)
            .map_err(|error| Error::Tokenizer(format!("{label:?}: {error}")))?;
        rows.push(encoding.get_ids().to_vec());
    }
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    no_grad(|| {
        let means: Vec<Tensor> = rows
            .chunks(usize::from(CHUNK_LABELS))
            .map(|rows| mean_token_embeddings(model, rows))
            .collect::<Result<_>>()?;
        Ok(Tensor::f_cat(&means, 0)?)
    })
}

/// `[rows, H]`: the mean token embedding of each row of token ids.
fn mean_token_embeddings(model: &Model, rows: &[&[u32]]) -> Result<Tensor> {
    let device = model.device();
    let Inputs { input_ids, attention_mask, .. } =
        Inputs::from_rows(rows, model.config().pad_token_id)?;
    let mask = match attention_mask {
        Some(mask) => mask,
        None => input_ids.f_ones_like()?,
    };
    let mask = mask.f_to_kind(Kind::Float)?.f_unsqueeze(-1)?.f_to_device(device)?;
    let ids = input_ids.f_to_device(device)?;
    let embeddings = Tensor::f_embedding(model.word_embeddings(), &ids, -1, false, false)?;
    let sums = embeddings.f_mul(&mask)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
    let counts = mask.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
    Ok(sums.f_div(&counts.f_clamp_min(1.0)?)?)
}

#[cfg(test)]
mod tests {
    use kg_triples::{GraphBuilder, LabelKind};

    use super::*;
    use crate::testing::{model, tokenizer};

    #[test]
    fn equal_labels_are_retrieved_and_swapped_labels_are_not() {
        let tokenizer = tokenizer();
        let english = ["Peru", "Germany", "Japan", "Egypt"];
        let swapped = ["Peru", "Germany", "Egypt", "Japan"];
        let mut builder = GraphBuilder::default();
        builder.add_label("near", "en", "near", LabelKind::Relation).unwrap();
        for (name, swapped_name) in english.iter().zip(swapped) {
            builder.add_triple(name, "near", "Peru").unwrap();
            for (language, label) in [("en", *name), ("de", *name), ("es", swapped_name)] {
                builder.add_label(name, language, label, LabelKind::Entity).unwrap();
            }
        }
        let (graph, languages) = (builder.build(), [Language::EN, Language::DE, Language::ES]);
        let precision = label_retrieval(&model(4000), &tokenizer, &graph, &languages).unwrap();
        assert_eq!(precision, BTreeMap::from([(Language::DE, 100.0), (Language::ES, 50.0)]));
        let result = label_retrieval(&model(4000), &tokenizer, &graph, &["fr".parse().unwrap()]);
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "Egypt: expected a label in fr, got none");
    }

    /// German token embeddings are the English embeddings with their dimensions reversed: labels
    /// are retrieved with a map, but not by cosine.
    #[test]
    fn labels_with_rotated_vectors_are_retrieved_with_a_map() {
        let tokenizer = tokenizer();
        let model = model(4000);
        // Entities with labels of one token each; no token occurs in two labels.
        let word = |id: u32| {
            let word = tokenizer.decode(&[id], false).unwrap().trim().to_owned();
            let ids = tokenizer.encode_fast(word.as_str(), false).unwrap();
            (ids.get_ids() == [id]).then_some((word, id))
        };
        let words: Vec<(String, u32)> = (5..4000).filter_map(word).collect();
        assert!(words.len() >= 240, "{}", words.len());
        let mut builder = GraphBuilder::default();
        builder.add_label("near", "en", "near", LabelKind::Relation).unwrap();
        for number in 0..120 {
            let (en, de) = (&words[2 * number].0, &words[2 * number + 1].0);
            builder.add_triple(&format!("Q{number}"), "near", "Q0").unwrap();
            for (language, label) in [("en", en), ("de", de)] {
                builder
                    .add_label(&format!("Q{number}"), language, label, LabelKind::Entity)
                    .unwrap();
            }
        }
        // German vectors are the English vectors in reverse order of dimensions.
        no_grad(|| {
            let mut embeddings = model.word_embeddings().shallow_clone();
            for number in 0..120 {
                let row = |offset: usize| i64::from(words[2 * number + offset].1);
                let rotated = embeddings.get(row(0)).flip([0]);
                embeddings.get(row(1)).copy_(&rotated);
            }
            let _ = embeddings.requires_grad_(false);
        });
        let (graph, languages) = (builder.build(), [Language::EN, Language::DE]);
        let unmapped = label_retrieval(&model, &tokenizer, &graph, &languages).unwrap();
        let config = MappedRetrievalConfig::default();
        let mapped = |config: &MappedRetrievalConfig| {
            mapped_label_retrieval(&model, &tokenizer, &graph, &languages, config)
        };
        let mapped_precision = mapped(&config).unwrap()[&Language::DE];
        assert!(
            unmapped[&Language::DE] < 10.0 && mapped_precision == 100.0,
            "{unmapped:?} {mapped_precision}"
        );
        assert_eq!(
            mapped(&MappedRetrievalConfig { seed: 1, ..config.clone() }).unwrap()[&Language::DE],
            100.0
        );
        for folds in [0, 1, 121] {
            let error = mapped(&MappedRetrievalConfig { folds, ..config.clone() }).unwrap_err();
            assert!(error.to_string().contains("2 to 120"), "{error}");
        }
    }
}
