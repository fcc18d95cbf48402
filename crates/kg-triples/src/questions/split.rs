use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::{KgError, KnowledgeGraph, seed};

/// How head entities are divided: shares of the sorted, then shuffled ids. Our own choice, no
/// paper's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntitySplit {
    /// Share of heads to train on, in 0..=1.
    pub train: f64,
    /// Share of heads to tune on, in 0..=1.
    pub dev: f64,
    /// Share of heads to report on, in 0..=1.
    pub test: f64,
    /// Seed of the shuffle.
    pub seed: u64,
}

impl Default for EntitySplit {
    fn default() -> Self {
        Self { train: 0.4, dev: 0.3, test: 0.3, seed: 42 }
    }
}

/// Head entities by split: disjoint, together all heads of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitHeads {
    /// Heads to train on.
    pub train: BTreeSet<String>,
    /// Heads to tune on.
    pub dev: BTreeSet<String>,
    /// Heads to report on.
    pub test: BTreeSet<String>,
}

impl SplitHeads {
    /// Refuses a name that [`SplitHeads::get`] does not know.
    ///
    /// # Errors
    /// [`KgError::Config`].
    pub fn expect_name(name: &str) -> Result<(), KgError> {
        Self::default().get(name).map(|_| ())
    }

    /// The heads of the split called `name`: `train`, `dev` or `test`.
    ///
    /// # Errors
    /// [`KgError::Config`] for another name.
    pub fn get(&self, name: &str) -> Result<&BTreeSet<String>, KgError> {
        match name {
            "train" => Ok(&self.train),
            "dev" => Ok(&self.dev),
            "test" => Ok(&self.test),
            other => Err(KgError::Config {
                key: "split",
                value: other.into(),
                rule: "`train`, `dev` or `test`",
            }),
        }
    }
}

impl EntitySplit {
    /// The triples of `graph` whose heads are not in the split called `name`.
    ///
    /// # Errors
    /// As [`EntitySplit::divide`] and [`SplitHeads::get`].
    pub fn graph_without(
        &self,
        graph: &KnowledgeGraph,
        name: &str,
    ) -> Result<KnowledgeGraph, KgError> {
        let heads = self.divide(graph)?;
        let left_out = heads.get(name)?;
        Ok(graph.filter(|triple| !left_out.contains(triple.head)))
    }

    /// Divides the heads of the triples of `graph`; the borders are rounded to the nearest entity.
    ///
    /// # Errors
    /// [`KgError::Config`] unless the shares lie in 0..=1 and add up to 1.
    ///
    /// ```
    /// # let mut builder = kg_triples::GraphBuilder::default();
    /// # let capitals =
    /// #     [("Germany", "Berlin", "Deutschland"), ("France", "Paris", "Frankreich")];
    /// # for (head, tail, de) in capitals {
    /// #     builder.add_triple(head, "P36", tail)?;
    /// #     for (id, language, label) in
    /// #         [(head, "en", head), (head, "de", de), (tail, "en", tail), (tail, "de", tail)]
    /// #     {
    /// #         builder.add_label(id, language, label, kg_triples::LabelKind::Entity)?;
    /// #     }
    /// # }
    /// # builder.add_label("P36", "en", "capital", kg_triples::LabelKind::Relation)?;
    /// # builder.add_label("P36", "de", "Hauptstadt", kg_triples::LabelKind::Relation)?;
    /// # let graph = builder.build();
    /// use kg_triples::questions::EntitySplit;
    /// let split = EntitySplit { train: 0.5, dev: 0.0, test: 0.5, seed: 1 }.divide(&graph)?;
    /// assert_eq!((split.train.len(), split.dev.len(), split.test.len()), (1, 0, 1));
    /// assert!(split.train.is_disjoint(&split.test));
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn divide(&self, graph: &KnowledgeGraph) -> Result<SplitHeads, KgError> {
        let shares = [self.train, self.dev, self.test];
        let valid = shares.iter().all(|share| (0.0..=1.0).contains(share));
        if !valid || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
            let rule = "three shares in 0..=1 that add up to 1";
            return Err(KgError::Config {
                key: "train, dev, test",
                value: format!("{shares:?}"),
                rule,
            });
        }
        let heads: BTreeSet<&str> = graph.triples().map(|triple| triple.head).collect();
        let mut heads: Vec<String> = heads.into_iter().map(str::to_owned).collect();
        heads.shuffle(&mut seed::item_rng(self.seed, 0));
        let total = heads.len() as f64;
        let (train, dev) = (total * self.train, total * (self.train + self.dev));
        let mut split = SplitHeads::default();
        for (number, head) in heads.into_iter().enumerate() {
            // The middle of entity n is n + 0.5, so comparing it rounds the border.
            let middle = number as f64 + 0.5;
            if middle < train + 1e-9 {
                split.train.insert(head);
            } else if middle < dev + 1e-9 {
                split.dev.insert(head);
            } else {
                split.test.insert(head);
            }
        }
        Ok(split)
    }
}
