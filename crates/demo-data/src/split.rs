//! Random split of a graph's head entities into training, development and test entities.
use std::collections::BTreeSet;

use kg_triples::KnowledgeGraph;
use rand::seq::SliceRandom;

use crate::seed;

/// Options for a random split of head entities, whose ids are sorted and then shuffled. The method
/// is not from a paper.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct EntitySplit {
    /// Fractions of the head entities for training, development and test, which add up to 1
    #[arg(long = "split", value_name = "S,S,S", default_value = "0.4,0.3,0.3", value_parser = parse_shares)]
    pub shares: [f64; 3],
    /// Random seed of the split
    #[arg(long, default_value_t = EntitySplit::default().seed)]
    pub seed: u64,
}

impl Default for EntitySplit {
    fn default() -> Self {
        Self { shares: [0.4, 0.3, 0.3], seed: 42 }
    }
}

/// Parses three numbers, such as `0.4,0.3,0.3`.
pub(crate) fn parse_shares(text: &str) -> Result<[f64; 3], String> {
    let shares: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
    let shares = shares.ok().and_then(|shares| shares.try_into().ok());
    shares.ok_or_else(|| "expected three numbers, such as 0.4,0.3,0.3".to_owned())
}

/// Ids of head entities or questions by split. Each id is in exactly one split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitIds {
    /// Training ids.
    pub train: BTreeSet<String>,
    /// Development ids.
    pub dev: BTreeSet<String>,
    /// Test ids.
    pub test: BTreeSet<String>,
}

impl SplitIds {
    /// Returns the name and the ids of each split.
    pub fn by_name(&self) -> [(&'static str, &BTreeSet<String>); 3] {
        [("train", &self.train), ("dev", &self.dev), ("test", &self.test)]
    }
}

impl EntitySplit {
    /// Splits the head entities of `graph`. Split boundaries are rounded to the nearest entity.
    ///
    /// # Errors
    /// [`kg_triples::Error::Config`] unless the shares are in 0..=1 and add up to 1.
    pub fn split_heads(&self, graph: &KnowledgeGraph) -> Result<SplitIds, kg_triples::Error> {
        let shares = self.shares;
        let is_valid = shares.iter().all(|share| (0.0..=1.0).contains(share));
        if !is_valid || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
            let rule = "three shares in 0..=1 that add up to 1";
            return Err(kg_triples::Error::Config {
                key: "split",
                value: format!("{shares:?}"),
                rule,
            });
        }
        let heads: BTreeSet<&str> = graph.triples().map(|triple| triple.head).collect();
        let mut heads: Vec<String> = heads.into_iter().map(str::to_owned).collect();
        heads.shuffle(&mut seed::item_rng(self.seed, 0));
        let total = heads.len() as f64;
        let [train, dev, _] = shares;
        let dev_end = total * (train + dev);
        let train_end = total * train;
        let mut split = SplitIds::default();
        for (index, head) in heads.into_iter().enumerate() {
            // Comparing a boundary with `index + 0.5` has the same result as rounding the boundary.
            let midpoint = index as f64 + 0.5;
            if midpoint < train_end + 1e-9 {
                split.train.insert(head);
            } else if midpoint < dev_end + 1e-9 {
                split.dev.insert(head);
            } else {
                split.test.insert(head);
            }
        }
        Ok(split)
    }
}
