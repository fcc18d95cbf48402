//! Self-attention over the rows of a batch.
use tch::Tensor;
use torch_ext::Attention;

use crate::Result;
use crate::batch::Batch;

/// Computes attention of queries, keys and values, `[.., heads * D]` each, to `[.., heads * D]`,
/// packed or padded as in `batch`. `mask` applies to padded batches; it is true where a query may
/// attend to a key.
pub(crate) fn attend(
    [query, key, value]: [&Tensor; 3],
    batch: &Batch,
    attention: Attention,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let (rows, seeds) = (&batch.rows, &batch.seeds);
    let Attention { heads, dropout, .. } = attention;
    if let Some(packing) = &batch.packing {
        let dropout = if seeds.train { dropout } else { 0.0 };
        let attention = Attention { dropout, ..attention };
        return packing.attend(query, key, value, &seeds.offsets, &attention);
    }
    let [query, key, value] = [query, key, value].map(|x| rows.split_heads(x, heads));
    rows.join_heads(&seeds.attention(&query?, &key?, &value?, mask, dropout)?)
}
