//! Label retrieval: how often the nearest English label of an entity's label in another language is
//! its own.
use std::collections::BTreeMap;

use kg_triples::{KnowledgeGraph, Language};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};
use tokenizers::Tokenizer;
use xlmr_model::Inputs;

use crate::{Encoder, Error, Result};

/// Precision at 1 in percent by language, English left out, of the entities that head a triple.
///
/// A label is the mean word embedding of its tokens, centered per language; labels are compared by
/// cosine. Chance is 100 / number of entities. Only word embeddings are read, so no layer of the
/// encoder has a part in it.
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
/// let found = label_retrieval(&model, &tokenizer, &builder.build(), &languages)?;
/// assert_eq!(found[&Language::DE], 100.0);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn label_retrieval(
    model: &dyn Encoder,
    tokenizer: &Tokenizer,
    graph: &KnowledgeGraph,
    languages: &[Language],
) -> Result<BTreeMap<Language, f64>> {
    let mut heads: Vec<&str> = graph.triples().map(|triple| triple.head).collect();
    heads.sort_unstable();
    heads.dedup();
    let labels = |language: Language| -> Result<Vec<&str>> {
        let absent = |id: &str| Error::data(id, format!("a label in {language}"), "none");
        let label = |&id: &&str| graph.label(id, language.as_str()).ok_or_else(|| absent(id));
        heads.iter().map(label).collect()
    };
    let english = labels(Language::EN)?;
    let mut result = BTreeMap::new();
    for &language in languages.iter().filter(|&&language| language != Language::EN) {
        let found = found_labels(model, tokenizer, &labels(language)?, &english)?;
        let right = found.iter().filter(|found| **found).count();
        result.insert(language, 100.0 * right as f64 / heads.len().max(1) as f64);
    }
    Ok(result)
}

/// Of each of `labels`, whether the nearest of `english` is that at the same place, vectors being
/// those of [`label_retrieval`]. Nothing is found where the two are not as many.
///
/// # Errors
/// [`Error::Tokenizer`]; [`Error::Torch`] if libtorch fails.
///
/// # Example
/// ```
/// use tasks::label_retrieval::found_labels;
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let model = Model::new(&Config::tiny(4000), &[], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let found = found_labels(&model, &tokenizer, &["Peru", "Japan"], &["Peru", "Japan"])?;
/// assert_eq!(found, [true, true]);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn found_labels(
    model: &dyn Encoder,
    tokenizer: &Tokenizer,
    labels: &[&str],
    english: &[&str],
) -> Result<Vec<bool>> {
    if labels.is_empty() || labels.len() != english.len() {
        return Ok(Vec::new());
    }
    let english = label_vectors(model, tokenizer, english)?.f_tr()?;
    let labels = label_vectors(model, tokenizer, labels)?;
    let mut nearest: Vec<i64> = Vec::new();
    for part in labels.f_split(i64::from(CHUNK), 0)? {
        let best = part.f_matmul(&english)?.f_argmax(1, false)?;
        nearest.extend(Vec::<i64>::try_from(best.f_to_device(tch::Device::Cpu)?)?);
    }
    Ok((0i64..).zip(nearest).map(|(own, nearest)| own == nearest).collect())
}

/// Labels of a group that were found, in percent, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct FoundShare {
    /// P@1 in percent.
    pub percent: f64,
    /// Labels that were asked for.
    pub labels: usize,
}

impl FoundShare {
    /// Of those of `found` whose `group` is `wanted`.
    ///
    /// ```
    /// use tasks::label_retrieval::FoundShare;
    ///
    /// let share = FoundShare::of(&[true, false, true], &[true, true, false], true);
    /// assert_eq!((share.percent, share.labels), (50.0, 2));
    /// ```
    pub fn of(found: &[bool], group: &[bool], wanted: bool) -> Self {
        let of_group = found.iter().zip(group).filter(|(_, group)| **group == wanted);
        let (mut right, mut labels) = (0u32, 0);
        for (found, _) in of_group {
            right += u32::from(*found);
            labels += 1;
        }
        Self { percent: 100.0 * f64::from(right) / (labels as f64).max(1.0), labels }
    }
}

/// Labels at a time: the similarities of all at once would not fit for large graphs.
const CHUNK: u16 = 1024;

/// `[E, H]`: one unit vector for each label.
fn label_vectors(model: &dyn Encoder, tokenizer: &Tokenizer, labels: &[&str]) -> Result<Tensor> {
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
            .chunks(usize::from(CHUNK))
            .map(|rows| mean_word_vectors(model, rows))
            .collect::<Result<_>>()?;
        let means = Tensor::f_cat(&means, 0)?;
        let centered = means.f_sub(&means.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
        let norms = centered.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
        Ok(centered.f_div(&norms)?)
    })
}

/// `[rows, H]`: the mean word embedding of each row of token ids.
fn mean_word_vectors(model: &dyn Encoder, rows: &[&[u32]]) -> Result<Tensor> {
    let device = model.device();
    let Inputs { input_ids, attention_mask, .. } = Inputs::from_rows(rows, model.pad_token_id())?;
    let mask = match attention_mask {
        Some(mask) => mask,
        None => input_ids.f_ones_like()?,
    };
    let mask = mask.f_to_kind(Kind::Float)?.f_unsqueeze(-1)?.f_to_device(device)?;
    let ids = input_ids.f_to_device(device)?;
    let words = Tensor::f_embedding(model.word_embeddings(), &ids, -1, false, false)?;
    let sums = words.f_mul(&mask)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
    let counts = mask.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
    Ok(sums.f_div(&counts.f_clamp_min(1.0)?)?)
}

#[cfg(test)]
mod tests {
    use kg_triples::{GraphBuilder, LabelKind};

    use xlmr_model::read_tokenizer;

    use super::*;
    use crate::testing::model;

    #[test]
    fn equal_labels_find_each_other_and_swapped_ones_do_not() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tokenizer = read_tokenizer(root.join("data/base")).unwrap();
        let english = ["Peru", "Germany", "Japan", "Egypt"];
        let swapped = ["Peru", "Germany", "Egypt", "Japan"];
        let mut builder = GraphBuilder::default();
        builder.add_label("near", "en", "near", LabelKind::Relation).unwrap();
        for (name, other) in english.iter().zip(swapped) {
            builder.add_triple(name, "near", "Peru").unwrap();
            for (language, label) in [("en", *name), ("de", *name), ("es", other)] {
                builder.add_label(name, language, label, LabelKind::Entity).unwrap();
            }
        }
        let (graph, languages) = (builder.build(), [Language::EN, Language::DE, Language::ES]);
        let found = label_retrieval(&model(4000), &tokenizer, &graph, &languages).unwrap();
        assert_eq!(found, BTreeMap::from([(Language::DE, 100.0), (Language::ES, 50.0)]));
        let missing = label_retrieval(&model(4000), &tokenizer, &graph, &["fr".parse().unwrap()]);
        let error = missing.unwrap_err().to_string();
        assert_eq!(error, "Egypt: expected a label in fr, got none");
    }
}
