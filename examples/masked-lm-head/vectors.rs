//! Sentence vectors, and their cosines.
use anyhow::{Result, anyhow};
use kg_triples::phrases::PhrasePassage;
use ndarray::{Array2, Axis};
use tasks::pooling::{Pooling, embed};
use xlmr_model::Pretrained;

/// Computes the mean of each passage's hidden states, normalised to length 1: `[passages, H]`.
/// Longer passages are truncated to `max_length` tokens.
pub fn text_vectors(
    model: &Pretrained,
    passages: &[PhrasePassage],
    max_length: usize,
    batch_size: usize,
) -> Result<Array2<f32>> {
    let texts: Vec<&str> = passages.iter().map(|passage| passage.text.as_str()).collect();
    let encodings = model.tokenizer.encode_batch_fast(texts, true);
    let encodings = encodings.map_err(|error| anyhow!("tokenizer: {error}"))?;
    let rows: Vec<&[u32]> = encodings
        .iter()
        .map(|encoding| &encoding.get_ids()[..encoding.len().min(max_length)])
        .collect();
    let mut vectors = embed(&model.model, &rows, Pooling::Mean, batch_size)?;
    for mut vector in vectors.rows_mut() {
        let norm = vector.dot(&vector).sqrt();
        vector /= norm;
    }
    Ok(vectors)
}

/// Computes the mean cosine of the rows with equal index. The rows have length 1.
pub fn mean_cosine_of_pairs(first: &Array2<f32>, second: &Array2<f32>) -> f64 {
    assert_eq!(first.dim(), second.dim(), "both models have vectors of the same sentences");
    f64::from((first * second).sum()) / first.nrows() as f64
}

/// Computes the mean cosine of all pairs of different rows. The rows have length 1.
pub fn mean_cosine_between(vectors: &Array2<f32>) -> f64 {
    // The squared length of the sum contains each pair twice, and each row's cosine with itself.
    let sum = vectors.mapv(f64::from).sum_axis(Axis(0));
    let count = vectors.nrows() as f64;
    (sum.dot(&sum) - count) / (count * (count - 1.0))
}
