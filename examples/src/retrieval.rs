//! Label retrieval: how often the nearest English label of an entity's label in another language is its own.
use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use kg_triples::KnowledgeGraph;
use objectives::tch::{Device, Kind, Tensor, no_grad};
use tokenizers::Tokenizer;
use trainer::{pad_mask, pad_rows};
use xlmr_model::Model;

/// P@1 in percent by language, among the entities that head a triple: mean word embedding of the label's tokens,
/// centred per language, by cosine. Chance is 100 / number of entities.
///
/// # Errors
/// If a label is missing or the model fails.
pub fn label_retrieval(
    model: &Model,
    tokenizer: &Tokenizer,
    graph: &KnowledgeGraph,
    languages: &[String],
) -> Result<BTreeMap<String, f64>> {
    let mut heads: Vec<&str> = graph.triples().map(|triple| triple.head).collect();
    heads.sort_unstable();
    heads.dedup();
    let english = vectors(model, tokenizer, graph, &heads, "en")?.f_tr()?;
    let mut result = BTreeMap::new();
    for language in languages.iter().filter(|language| *language != "en") {
        let own = vectors(model, tokenizer, graph, &heads, language)?;
        let mut right = 0;
        let mut first = 0;
        for part in own.f_split(CHUNK, 0)? {
            let best = part.f_matmul(&english)?.f_argmax(1, false)?;
            let next = first + best.size1()?;
            let places = Tensor::f_arange_start(first, next, (Kind::Int64, best.device()))?;
            right += best.f_eq_tensor(&places)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
            first = next;
        }
        result.insert(language.clone(), 100.0 * right as f64 / heads.len().max(1) as f64);
    }
    Ok(result)
}

/// Labels at a time: the similarities of all at once would not fit for large graphs.
const CHUNK: i64 = 1024;

/// `[E, H]`: one unit vector per label.
fn vectors(
    model: &Model,
    tokenizer: &Tokenizer,
    graph: &KnowledgeGraph,
    ids: &[&str],
    language: &str,
) -> Result<Tensor> {
    let mut rows: Vec<Vec<i64>> = Vec::with_capacity(ids.len());
    for id in ids {
        let label =
            graph.label(id, language).ok_or_else(|| anyhow!("{id} has no label in {language}"))?;
        let encoding = tokenizer.encode_fast(label, false).map_err(|error| anyhow!("{error}"))?;
        rows.push(encoding.get_ids().iter().map(|&id| i64::from(id)).collect());
    }
    let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
    no_grad(|| {
        let means: Vec<Tensor> = rows
            .chunks(usize::try_from(CHUNK)?)
            .map(|rows| mean_word_vectors(model, rows))
            .collect::<Result<_>>()?;
        let means = Tensor::f_cat(&means, 0)?;
        let centred = means.f_sub(&means.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
        let norms = centred.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
        Ok(centred.f_div(&norms)?)
    })
}

/// `[rows, H]`: the mean word vector of each row of token ids.
fn mean_word_vectors(model: &Model, rows: &[&[i64]]) -> Result<Tensor> {
    let device = model.device();
    let ids = pad_rows(rows, model.config().pad_token_id, Device::Cpu)?;
    let mask = match pad_mask(rows, Device::Cpu)? {
        Some(mask) => mask,
        None => ids.f_ones_like()?,
    };
    let mask = mask.f_to_kind(Kind::Float)?.f_unsqueeze(-1)?.f_to_device(device)?;
    let ids = ids.f_to_device(device)?;
    let states = Tensor::f_embedding(model.word_embeddings(), &ids, -1, false, false)?;
    let sums = states.f_mul(&mask)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
    let counts = mask.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
    Ok(sums.f_div(&counts.f_clamp_min(1.0)?)?)
}

#[cfg(test)]
mod tests {
    use kg_triples::{GraphBuilder, LabelKind};

    use super::*;
    use crate::testing::model;

    #[test]
    fn equal_labels_find_each_other_and_swapped_ones_do_not() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tokenizer = crate::vocabulary::read(&root.join("data/base/tokenizer.json")).unwrap();
        let english = ["Peru", "Germany", "Japan", "Egypt"];
        let swapped = ["Peru", "Germany", "Egypt", "Japan"];
        let mut builder = GraphBuilder::default();
        builder.add_label("near", "en", "near", LabelKind::Relation).unwrap();
        for (own, other) in english.iter().zip(swapped) {
            builder.add_triple(own, "near", "Peru").unwrap();
            for (language, label) in [("en", *own), ("de", *own), ("es", other)] {
                builder.add_label(own, language, label, LabelKind::Entity).unwrap();
            }
        }
        let languages = ["en", "de", "es"].map(String::from);
        let found =
            label_retrieval(&model(4000), &tokenizer, &builder.build(), &languages).unwrap();
        assert_eq!(found, BTreeMap::from([("de".into(), 100.0), ("es".into(), 50.0)]));
    }
}
