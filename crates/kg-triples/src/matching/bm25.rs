//! BM25, the control for rankings by vectors.
use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Corpora;
use super::rank::{Rankings, best};

/// Saturation of term counts, as in Lucene.
const K1: f64 = 1.2;
/// Strength of length normalisation, as in Lucene.
const B: f64 = 0.75;

/// Ranks the documents of the first corpus by BM25 and returns the `limit` best ones with a common
/// term. The other labels of the entities in a query are added to the query. Columns are not used.
pub fn rank_by_bm25(corpora: &Corpora, limit: usize) -> Rankings {
    let count = corpora.first.len() as f64;
    let total: f64 = corpora.first.iter().map(|document| f64::from(document.length)).sum();
    let mean_length = total / count;
    let mut postings: Vec<Vec<(usize, u32)>> = vec![Vec::new(); corpora.terms.len()];
    for (document, terms) in corpora.first.iter().enumerate() {
        for (term, count) in &terms.counts {
            postings[*term as usize].push((document, *count));
        }
    }
    let rank = |query: &BTreeMap<u32, u32>| {
        let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
        for (term, query_count) in query {
            let postings = &postings[*term as usize];
            let containing = postings.len() as f64;
            let idf = (1.0 + (count - containing + 0.5) / (containing + 0.5)).ln();
            for (document, count) in postings {
                let count = f64::from(*count);
                let length = f64::from(corpora.first[*document].length) / mean_length;
                let weight = count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
                *scores.entry(*document).or_default() += f64::from(*query_count) * idf * weight;
            }
        }
        let scores = scores.into_iter().map(|(document, score)| (document, score as f32));
        best(scores.collect(), limit)
    };
    corpora.second.par_iter().map(|document| rank(&expanded(corpora, &document.counts))).collect()
}

/// Adds the linked labels of a query's terms, with the count of the term.
fn expanded(corpora: &Corpora, counts: &[(u32, u32)]) -> BTreeMap<u32, u32> {
    let mut query: BTreeMap<u32, u32> = counts.iter().copied().collect();
    for (term, count) in counts {
        for label in corpora.linked_labels(*term) {
            let entry = query.entry(label).or_default();
            *entry = (*entry).max(*count);
        }
    }
    query
}
