//! Structure vectors of a graph's entities, from their distances to aligned entities.
use std::collections::BTreeMap;

use kg_triples::entity_linking::LinkedText;
use ndarray::Array2;
use rand::Rng;
use rand::distr::StandardUniform;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::to_i64;
use trainer::rng_for;

use crate::pooling::to_array;
use crate::{Error, Result};

/// Options of [`Neighbours::structure_vectors`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StructureConfig {
    /// Number of dimensions D: 1 or more.
    pub width: usize,
    /// Number of steps from neighbour to neighbour: 1 or more.
    pub hops: usize,
}

impl Default for StructureConfig {
    fn default() -> Self {
        Self { width: 300, hops: 2 }
    }
}

impl StructureConfig {
    /// Validates the options.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [("structure.width", self.width), ("structure.hops", self.hops)] {
            if value == 0 {
                return Err(Error::config(key, value, "1 or more"));
            }
        }
        Ok(())
    }
}

/// An undirected graph: the neighbours of each entity, with normalised weights.
///
/// The weight of two neighbours, and of an entity and itself, is `1 / √((d + 1) (e + 1))` with the
/// numbers of neighbours d and e, as in graph convolution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// For each entity, itself and its neighbours, in order.
    rows: Vec<Vec<(usize, f32)>>,
}

impl Neighbours {
    /// Creates a graph of `count` entities. Loops and repeated edges are ignored.
    ///
    /// # Errors
    /// [`Error::Data`] for an edge of an entity that is not below `count`.
    pub fn new(count: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Result<Self> {
        let mut rows: Vec<Vec<usize>> = (0..count).map(|entity| vec![entity]).collect();
        for (a, b) in edges {
            if a.max(b) >= count {
                let expected = format!("entities below {count}");
                return Err(Error::data("an edge", expected, format!("({a}, {b})")));
            }
            rows[a].push(b);
            rows[b].push(a);
        }
        for row in &mut rows {
            row.sort_unstable();
            row.dedup();
        }
        let degrees: Vec<f32> = rows.iter().map(|row| row.len() as f32).collect();
        let weigh = |(entity, row): (usize, &Vec<usize>)| {
            let weight =
                |&other: &usize| (other, (degrees[entity] * degrees[other]).sqrt().recip());
            row.iter().map(weight).collect()
        };
        Ok(Self { rows: rows.iter().enumerate().map(weigh).collect() })
    }

    /// Creates the graph of the entities whose pages mention each other. `indices` has the index of
    /// each entity; other entities, and texts that are no page of an entity, are skipped.
    ///
    /// # Errors
    /// [`Error::Data`] if an index is not below the number of entities.
    pub fn of_mentions<'t>(
        indices: &BTreeMap<String, usize>,
        texts: impl IntoIterator<Item = &'t LinkedText>,
    ) -> Result<Self> {
        let mut edges = Vec::new();
        for text in texts {
            let Some(page) = text.entity.as_ref().and_then(|id| indices.get(id)) else { continue };
            let mentioned = text.mentions.iter().filter_map(|mention| indices.get(&mention.entity));
            edges.extend(mentioned.map(|other| (*page, *other)));
        }
        Self::new(indices.len(), edges)
    }

    /// Returns the number of entities.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether the graph has no entity.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the mean number of neighbours.
    pub fn mean_degree(&self) -> f64 {
        let edges: usize = self.rows.iter().map(|row| row.len() - 1).sum();
        edges as f64 / self.rows.len().max(1) as f64
    }

    /// Computes unit vectors of the entities, `[N, D]`, that are comparable between two graphs whose
    /// entities are partly aligned.
    ///
    /// Anchor k is the entity `anchors[k]`; the anchors of the other graph are their counterparts in
    /// the same order. Each anchor has a random vector, drawn from `seed` and k. The vector of an
    /// entity is the sum of the anchors' vectors, weighted by the walks of `hops` steps between them
    /// and the entity (Aʰ R, for the normalised adjacency A with loops), scaled to length 1. An
    /// anchor's vector does not include the anchor's own random vector, which would identify its
    /// counterpart. An entity that reaches no other anchor has the vector 0.
    ///
    /// # Errors
    /// The errors of [`StructureConfig::validate`]; [`Error::Data`] for an anchor that is not in the
    /// graph.
    ///
    /// # Example
    /// ```
    /// use tasks::entity_alignment::{Neighbours, StructureConfig};
    ///
    /// // 0 – 1 – 2, and 3 without neighbours.
    /// let graph = Neighbours::new(4, [(0, 1), (1, 2)])?;
    /// let config = StructureConfig { width: 16, hops: 1 };
    /// let vectors = graph.structure_vectors(&[0, 3], &config, 7)?;
    /// assert_eq!(vectors.row(3).sum(), 0.0); // its only anchor is itself
    /// assert_eq!(vectors.row(2).sum(), 0.0); // no anchor within one step
    /// assert!((vectors.row(1).dot(&vectors.row(1)) - 1.0).abs() < 1e-6);
    /// # Ok::<(), tasks::Error>(())
    /// ```
    pub fn structure_vectors(
        &self,
        anchors: &[usize],
        config: &StructureConfig,
        seed: u64,
    ) -> Result<Array2<f32>> {
        config.validate()?;
        let mut random = Array2::<f32>::zeros((anchors.len(), config.width));
        for (k, (&anchor, mut row)) in anchors.iter().zip(random.outer_iter_mut()).enumerate() {
            if anchor >= self.len() {
                let expected = format!("an entity below {}", self.len());
                return Err(Error::data(format!("anchor {k}"), expected, anchor));
            }
            let rng = rng_for(seed, "anchor", k as u64);
            let values = rng.sample_iter::<f32, _>(StandardUniform);
            row.iter_mut().zip(values).for_each(|(slot, value)| *slot = value - 0.5);
        }
        let mut vectors = Array2::<f32>::zeros((self.len(), config.width));
        for (row, &anchor) in random.outer_iter().zip(anchors) {
            vectors.row_mut(anchor).scaled_add(1.0, &row);
        }
        let mut vectors = self.walk(&vectors, config.hops)?;
        for (row, &anchor) in random.outer_iter().zip(anchors) {
            let weight = self.closed_walks(anchor, config.hops);
            vectors.row_mut(anchor).scaled_add(-weight, &row);
        }
        for mut vector in vectors.outer_iter_mut() {
            let norm = vector.dot(&vector).sqrt();
            // After the subtraction, rounding errors remain of a vector that would be 0.
            let scale = if norm > MIN_NORM { norm.recip() } else { 0.0 };
            vector.mapv_inplace(|value| value * scale);
        }
        Ok(vectors)
    }

    /// Multiplies the normalised adjacency `hops` times with one vector per entity.
    fn walk(&self, vectors: &Array2<f32>, hops: usize) -> Result<Array2<f32>> {
        let edges = || {
            let of_row = |(from, row): (usize, &'_ Vec<(usize, f32)>)| {
                row.iter()
                    .map(|&(to, weight)| (to_i64(from), to_i64(to), weight))
                    .collect::<Vec<_>>()
            };
            self.rows.iter().enumerate().flat_map(of_row)
        };
        let from: Vec<i64> = edges().map(|edge| edge.0).collect();
        let to: Vec<i64> = edges().map(|edge| edge.1).collect();
        let weights: Vec<f32> = edges().map(|edge| edge.2).collect();
        let indices =
            Tensor::f_stack(&[Tensor::f_from_slice(&from)?, Tensor::f_from_slice(&to)?], 0)?;
        let count = to_i64(self.len());
        let options = (Kind::Float, Device::Cpu);
        let weights = Tensor::f_from_slice(&weights)?;
        let adjacency = Tensor::f_sparse_coo_tensor_indices_size(
            &indices,
            &weights,
            [count, count],
            options,
            false,
        )?;
        let mut vectors = Tensor::try_from(vectors)?;
        for _ in 0..hops {
            vectors = adjacency.f_mm(&vectors)?;
        }
        to_array("structure vectors", &vectors)
    }

    /// The weight of the walks of `hops` steps from an entity to itself. The adjacency is symmetric,
    /// so a closed walk is two walks to the same entity.
    fn closed_walks(&self, entity: usize, hops: usize) -> f32 {
        let (there, back) = (self.walks(entity, hops / 2), self.walks(entity, hops - hops / 2));
        let product = |(to, weight): (&usize, &f32)| back.get(to).map(|other| weight * other);
        there.iter().filter_map(product).sum()
    }

    /// The weights of the walks of `hops` steps from an entity, by their last entity.
    fn walks(&self, entity: usize, hops: usize) -> BTreeMap<usize, f32> {
        let mut weights = BTreeMap::from([(entity, 1.0)]);
        for _ in 0..hops {
            let mut next = BTreeMap::new();
            for (from, weight) in weights {
                for &(to, edge) in &self.rows[from] {
                    *next.entry(to).or_insert(0.0) += weight * edge;
                }
            }
            weights = next;
        }
        weights
    }
}

/// The smallest length of a vector that is not a rounding error of 0.
const MIN_NORM: f32 = 1e-5;

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: StructureConfig = StructureConfig { width: 24, hops: 2 };

    /// 0 – 1 – 2 – 3 and 0 – 2, 4 without neighbours.
    fn graph() -> Neighbours {
        Neighbours::new(5, [(0, 1), (1, 2), (2, 3), (0, 2), (2, 0), (3, 3)]).unwrap()
    }

    /// The normalised adjacency as a matrix.
    fn matrix(graph: &Neighbours) -> Array2<f32> {
        let mut matrix = Array2::zeros((graph.len(), graph.len()));
        for (a, row) in graph.rows.iter().enumerate() {
            row.iter().for_each(|&(b, weight)| matrix[[a, b]] = weight);
        }
        matrix
    }

    #[test]
    fn weights_are_those_of_graph_convolution() {
        let matrix = matrix(&graph());
        assert!((matrix[[0, 1]] - 1.0 / 3.0).abs() < 1e-6);
        assert!((matrix[[2, 3]] - 1.0 / 8.0_f32.sqrt()).abs() < 1e-6);
        assert_eq!((matrix[[0, 3]], matrix[[4, 4]]), (0.0, 1.0));
        assert!((graph().mean_degree() - 8.0 / 5.0).abs() < 1e-12);
        let error = Neighbours::new(2, [(0, 2)]).unwrap_err().to_string();
        assert_eq!(error, "an edge: expected entities below 2, got (0, 2)");
    }

    #[test]
    fn vectors_are_walks_without_the_own_anchor() {
        let (graph, anchors) = (graph(), [1, 3, 4]);
        let vectors = graph.structure_vectors(&anchors, &CONFIG, 5).unwrap();
        let square = matrix(&graph).dot(&matrix(&graph));
        // The random vectors are those of a graph without edges, after one step.
        let random: Vec<Vec<f32>> = (0..3)
            .map(|k| {
                let rng = rng_for(5, "anchor", k);
                let values = rng.sample_iter::<f32, _>(StandardUniform);
                values.take(24).map(|value| value - 0.5).collect()
            })
            .collect();
        for entity in 0..5 {
            let mut expected = vec![0.0_f32; 24];
            for (anchor, random) in anchors.iter().zip(&random).filter(|(a, _)| **a != entity) {
                let weight = square[[entity, *anchor]];
                expected.iter_mut().zip(random).for_each(|(sum, value)| *sum += weight * value);
            }
            let norm = expected.iter().map(|value| value * value).sum::<f32>().sqrt();
            for (actual, expected) in vectors.row(entity).iter().zip(&expected) {
                let expected = if norm > 0.0 { expected / norm } else { 0.0 };
                assert!((actual - expected).abs() < 1e-5, "{entity}: {actual}, {expected}");
            }
        }
        // Entity 4 reaches only itself.
        assert!(vectors.row(4).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn equal_graphs_with_other_indices_have_equal_vectors() {
        let other = Neighbours::new(5, [(4, 3), (3, 2), (2, 1), (4, 2)]).unwrap();
        let first = graph().structure_vectors(&[1, 3], &CONFIG, 5).unwrap();
        let second = other.structure_vectors(&[3, 1], &CONFIG, 5).unwrap();
        for entity in 0..5 {
            let cosine = first.row(entity).dot(&second.row(4 - entity));
            let expected = if entity == 4 { 0.0 } else { 1.0 };
            assert!((cosine - expected).abs() < 1e-5, "{entity}: {cosine}");
        }
    }

    #[test]
    fn mentions_are_edges_and_other_texts_are_skipped() {
        let text = |entity: Option<&str>, mentioned: &[&str]| LinkedText {
            id: "t".into(),
            language: kg_triples::Language::EN,
            entity: entity.map(str::to_owned),
            text: "text".into(),
            mentions: mentioned
                .iter()
                .map(|id| kg_triples::entity_linking::Mention {
                    start: 0,
                    end: 1,
                    entity: (*id).to_owned(),
                })
                .collect(),
            switched_from: None,
        };
        let indices = ["a", "b", "c"].iter().map(|id| (*id).to_owned()).zip(0..).collect();
        let texts =
            [text(Some("a"), &["b", "x"]), text(None, &["c"]), text(Some("x"), &["a", "c"])];
        let graph = Neighbours::of_mentions(&indices, &texts).unwrap();
        assert_eq!(graph, Neighbours::new(3, [(0, 1)]).unwrap());
    }

    #[test]
    fn invalid_options_and_anchors_are_errors() {
        let error = |anchors: &[usize], config: &StructureConfig| {
            graph().structure_vectors(anchors, config, 0).unwrap_err().to_string()
        };
        assert_eq!(error(&[5], &CONFIG), "anchor 0: expected an entity below 5, got 5");
        let config = StructureConfig { hops: 0, ..CONFIG };
        assert_eq!(error(&[0], &config), "structure.hops = 0: must be 1 or more");
        let config = StructureConfig { width: 0, ..CONFIG };
        assert_eq!(error(&[0], &config), "structure.width = 0: must be 1 or more");
    }
}
