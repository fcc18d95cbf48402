//! Baselines of object retrieval that use only training triples.
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::knowledge::EntailmentExample;
use transfer_eval::retrieval::CandidateList;

use super::candidates::query_by_id;
use super::prepared::TrainedFacts;

/// A baseline that predicts objects from training triples, independent of the subject's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectBaseline {
    /// The most frequent object of the relation.
    Relation,
    /// The objects of subjects that share facts with the subject, weighted by the number of shared
    /// facts; ties are broken by frequency.
    Neighbours,
}

/// Votes and frequency of an object; larger values rank first.
type Votes = (usize, usize);

impl ObjectBaseline {
    /// Computes the rank of the correct object of each query of `list`, from 1, in the list's
    /// order.
    pub(super) fn ranks(
        self,
        trained: &TrainedFacts,
        queries: &[EntailmentExample],
        list: &CandidateList,
    ) -> Vec<usize> {
        let mut facts_by_subject: BTreeMap<&str, BTreeSet<[&str; 2]>> = BTreeMap::new();
        for [subject, relation, object] in &trained.0 {
            facts_by_subject.entry(subject).or_default().insert([relation, object]);
        }
        let rank = |query: &EntailmentExample| {
            let no_facts = BTreeSet::new();
            let subject_facts = facts_by_subject.get(query.subject.as_str()).unwrap_or(&no_facts);
            let mut votes: BTreeMap<&str, Votes> = BTreeMap::new();
            for (subject, facts) in &facts_by_subject {
                let shared_fact_count = match self {
                    Self::Neighbours if *subject != query.subject => {
                        facts.intersection(subject_facts).count()
                    }
                    _ => 0,
                };
                for [_, object] in facts.iter().filter(|[id, _]| *id == query.relation_id) {
                    let (vote_count, frequency) = votes.entry(object).or_default();
                    *vote_count += shared_fact_count;
                    *frequency += 1;
                }
            }
            let object_votes = |object: &str| votes.get(object).copied().unwrap_or((0, 0));
            let gold = object_votes(&query.object);
            list.candidates
                .iter()
                .filter(|candidate| object_votes(&candidate.entity) >= gold)
                .count()
        };
        listed_queries(queries, list).map(rank).collect()
    }
}

/// Returns the triples of a list's queries, in the order of the list.
fn listed_queries<'q>(
    queries: &'q [EntailmentExample],
    list: &'q CandidateList,
) -> impl Iterator<Item = &'q EntailmentExample> {
    list.queries.iter().map(|query| query_by_id(queries, &query.id))
}

/// Computes the accuracy of each relation, the percentage of its queries with rank 1, and returns
/// the mean over relations; `None` without a query.
pub(super) fn accuracy_by_relation(
    queries: &[EntailmentExample],
    list: &CandidateList,
    ranks: &[usize],
) -> Option<f64> {
    let mut relations: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    assert_eq!(list.queries.len(), ranks.len(), "each listed query has one rank");
    for (query, rank) in listed_queries(queries, list).zip(ranks) {
        let (correct, count) = relations.entry(&query.relation_id).or_default();
        *correct += f64::from(u8::from(*rank == 1));
        *count += 1.0;
    }
    let accuracies = relations.values().map(|(correct, count)| 100.0 * correct / count);
    (!relations.is_empty()).then(|| accuracies.sum::<f64>() / relations.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::tests::candidate_list;

    fn example([subject, relation, object]: [&str; 3]) -> EntailmentExample {
        EntailmentExample {
            fact: 0,
            subject: subject.into(),
            relation_id: relation.into(),
            relation: 0,
            object: object.into(),
            subject_language: "en".parse().unwrap(),
            subject_ids: vec![0, 2],
            object_language: "de".parse().unwrap(),
            object_ids: vec![0, 2],
        }
    }

    #[test]
    fn baseline_ranks_equal_manual_counts() {
        let mut trained = TrainedFacts::default();
        for fact in [
            ["a", "script", "Latin"],
            ["b", "script", "Latin"],
            ["c", "script", "Arabic"],
            ["c", "in", "Asia"],
            ["d", "in", "Asia"],
            ["a", "in", "Europe"],
        ] {
            trained.add(&example(fact));
            trained.add(&example(fact));
        }
        let queries = [["d", "script", "Arabic"], ["e", "script", "Latin"], ["b", "in", "Africa"]];
        let queries = queries.map(example);
        let objects = ["Latin", "Arabic", "Asia", "Europe", "Africa"];
        let mut list = candidate_list(
            &objects.map(|object| (object, "de")),
            &[1, 0, 4].map(|gold| ("en", gold)),
        );
        // Two triples contain Latin, one contains Arabic and none contains Africa, so Africa ranks
        // last.
        assert_eq!(ObjectBaseline::Relation.ranks(&trained, &queries, &list), [2, 1, 5]);
        // Subject d shares the fact (in, Asia) with c. Subject e has no facts. Subject b shares the
        // fact (script, Latin) with a.
        let ranks = ObjectBaseline::Neighbours.ranks(&trained, &queries, &list);
        assert_eq!(ranks, [1, 1, 5]);
        // The accuracy is 100 % for the relation `script` and 0 % for the relation `in`.
        assert_eq!(accuracy_by_relation(&queries, &list, &ranks), Some(50.0));
        list.queries.clear();
        assert_eq!(accuracy_by_relation(&queries, &list, &[]), None);
    }
}
