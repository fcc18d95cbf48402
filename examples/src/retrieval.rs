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
    let english = vectors(model, tokenizer, graph, &heads, "en")?;
    let mut result = BTreeMap::new();
    for language in languages.iter().filter(|language| *language != "en") {
        let own = vectors(model, tokenizer, graph, &heads, language)?;
        let best = own.f_matmul(&english.f_tr()?)?.f_argmax(1, false)?;
        let right = best.f_eq_tensor(&Tensor::f_arange(
            i64::try_from(heads.len())?,
            (Kind::Int64, best.device()),
        )?)?;
        let share = right.f_to_kind(Kind::Double)?.f_mean(Kind::Double)?.f_double_value(&[])?;
        result.insert(language.clone(), 100.0 * share);
    }
    Ok(result)
}

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
        let device = model.device();
        let ids = pad_rows(&rows, model.config().pad_token_id, Device::Cpu)?;
        let mask = match pad_mask(&rows, Device::Cpu)? {
            Some(mask) => mask,
            None => ids.f_ones_like()?,
        };
        let mask = mask.f_to_kind(Kind::Float)?.f_unsqueeze(-1)?.f_to_device(device)?;
        let ids = ids.f_to_device(device)?;
        let states = Tensor::f_embedding(model.word_embeddings(), &ids, -1, false, false)?;
        let sums = states.f_mul(&mask)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
        let counts = mask.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
        let means = sums.f_div(&counts.f_clamp_min(1.0)?)?;
        let centred = means.f_sub(&means.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
        let norms = centred.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
        Ok(centred.f_div(&norms)?)
    })
}
