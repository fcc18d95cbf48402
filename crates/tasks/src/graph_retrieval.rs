//! Cross-lingual retrieval of labels and objects of a knowledge graph.
//!
//! This is a small version of the evaluation in *Adapters for Enhanced Modeling of Multilingual
//! Knowledge and Text* (Hou et al. 2022).
//!
//! Ranks start at 1, so hits@1 is the share of correct answers. The paper's released scorer counts
//! ranks from 0 and accepts ranks of at most 1, so its hits@1 corresponds to hits@2 in this module.
use std::collections::{BTreeSet, HashMap};

use kg_triples::knowledge::PairKind;
use kg_triples::{KnowledgeGraph, Language};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use transfer_eval::retrieval::map::{LinearMap, MapConfig};
use transfer_eval::retrieval::{RankConfig, RankSummary, Similarity, rank_candidates};
use xlmr_model::Model;

use crate::Result;
use crate::text_pairs::{TextPairConfig, text_vectors};

/// Queries of graph retrieval, and the held-out entities.
#[derive(Clone, Copy)]
pub struct GraphQueries<'a> {
    /// The graph with labels and triples.
    pub graph: &'a KnowledgeGraph,
    /// Languages of queries and answers; each pair of different languages is evaluated.
    pub languages: &'a [Language],
    /// Entities without training pairs.
    pub held_out: &'a BTreeSet<String>,
}

/// Retrieval scores over all ordered pairs of languages.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct GraphScores {
    /// Retrieval of an entity's label in another language, among the labels of all entities. Labels
    /// with equal text in both languages are skipped.
    pub labels: ScoresByTraining,
    /// Retrieval of the object's label in another language, among the labels of all objects. The
    /// query consists of the labels of subject and relation, joined by a space. Other correct
    /// objects are excluded from the candidates.
    pub objects: ScoresByTraining,
}

/// Scores of two groups of queries: the correct entity was trained on or held out. A score is
/// `None` without such queries.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ScoresByTraining {
    /// Entities that were trained on.
    pub trained: Option<RankSummary>,
    /// Entities that were held out.
    pub held_out: Option<RankSummary>,
}

/// Evaluates retrieval of labels and objects by cosine similarity.
///
/// A text's vector is the [`TextPairConfig::pooling`] of the last layer's hidden states. A
/// candidate with the same text as the correct candidate is also correct; other candidates with the
/// same cosine rank before the correct one.
///
/// # Errors
/// [`Error::Config`] as for [`TextPairTask`](crate::text_pairs::TextPairTask), or if `batch_size`
/// is 0; [`Error::Tokenizer`]; [`Error::Transfer`] for vectors that are not finite.
///
/// [`Error::Config`]: crate::Error::Config
/// [`Error::Tokenizer`]: crate::Error::Tokenizer
/// [`Error::Transfer`]: crate::Error::Transfer
///
/// # Example
/// ```
/// use std::collections::BTreeSet;
///
/// use kg_triples::{GraphBuilder, LabelKind, Language};
/// use tasks::graph_retrieval::{GraphQueries, graph_retrieval};
/// use tasks::text_pairs::TextPairConfig;
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let mut builder = GraphBuilder::default();
/// let labels = [("Q183", "Germany", "Deutschland"), ("Q64", "Berlin", "Berlin")];
/// for (id, en, de) in labels {
///     builder.add_label(id, "en", en, LabelKind::Entity)?;
///     builder.add_label(id, "de", de, LabelKind::Entity)?;
/// }
/// builder.add_label("P36", "en", "capital", LabelKind::Relation)?;
/// builder.add_triple("Q183", "P36", "Q64")?;
/// let (graph, held_out) = (builder.build(), BTreeSet::from(["Q64".to_owned()]));
/// let languages = [Language::EN, Language::DE];
/// let graph_queries = GraphQueries { graph: &graph, languages: &languages, held_out: &held_out };
///
/// let model = Model::new(&Config::tiny(4000), &[], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let config = TextPairConfig::default();
/// let scores = graph_retrieval(&model, &tokenizer, &graph_queries, &config, 8)?;
/// // "Berlin" is the same in both languages; the relation has no label in German.
/// let labels = scores.labels.trained.expect("Germany");
/// assert_eq!((labels.queries, scores.labels.held_out), (2, None));
/// assert_eq!(scores.objects.held_out.map(|ranks| (ranks.queries, ranks.mrr)), Some((1, 1.0)));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub fn graph_retrieval(
    model: &Model,
    tokenizer: &Tokenizer,
    graph_queries: &GraphQueries<'_>,
    config: &TextPairConfig,
    batch_size: usize,
) -> Result<GraphScores> {
    let graph_vectors = GraphVectors::compute(model, tokenizer, graph_queries, config, batch_size)?;
    graph_vectors.score(|from, to| Ok([from.labels.clone(), from.facts.clone(), to.labels.clone()]))
}

/// Evaluates [`graph_retrieval`] after an orthogonal map between each pair of languages, as a
/// control without training.
///
/// Maps are fitted to the labels of the entities that are not held out.
///
/// # Errors
/// The errors of [`graph_retrieval`]; [`Error::Transfer`](crate::Error::Transfer) if a map cannot
/// be fitted, for example without entities.
pub fn mapped_graph_retrieval(
    model: &Model,
    tokenizer: &Tokenizer,
    graph_queries: &GraphQueries<'_>,
    config: &TextPairConfig,
    batch_size: usize,
    map: &MapConfig,
) -> Result<GraphScores> {
    let graph_vectors = GraphVectors::compute(model, tokenizer, graph_queries, config, batch_size)?;
    graph_vectors.score(|from, to| graph_vectors.map_vectors(from, to, map))
}

/// Labels and facts of a language, and their vectors.
struct LanguageVectors<'a> {
    /// The row of each entity that has a label.
    rows: HashMap<&'a str, usize>,
    /// The label of each row.
    texts: Vec<&'a str>,
    /// `[N, H]`: the vectors of `texts`.
    labels: Array2<f32>,
    /// Triples whose subject and relation have labels, in the order of the graph.
    fact_queries: Vec<[&'a str; 3]>,
    /// `[F, H]`: the vectors of `fact_queries`.
    facts: Array2<f32>,
}

struct GraphVectors<'a> {
    graph_queries: GraphQueries<'a>,
    languages: Vec<LanguageVectors<'a>>,
    /// The objects of each subject and relation.
    objects: HashMap<[&'a str; 2], BTreeSet<&'a str>>,
}

/// Vectors of the queries (labels and facts) and of the candidate labels.
type Vectors = [Array2<f32>; 3];

impl<'a> GraphVectors<'a> {
    fn compute(
        model: &Model,
        tokenizer: &Tokenizer,
        graph_queries: &GraphQueries<'a>,
        config: &TextPairConfig,
        batch_size: usize,
    ) -> Result<Self> {
        config.validate()?;
        let length = config.max_length(PairKind::Tp);
        let vectors = |texts: &[String]| {
            text_vectors(model, tokenizer, texts, config.pooling, length, batch_size)
        };
        let GraphQueries { graph, languages: language_codes, .. } = *graph_queries;
        let mut objects: HashMap<[&str; 2], BTreeSet<&str>> = HashMap::new();
        for triple in graph.triples() {
            objects.entry([triple.head, triple.relation]).or_default().insert(triple.tail);
        }
        let mut languages = Vec::new();
        for language in language_codes {
            let label = |id: &str| graph.label(id, language.as_str());
            let labelled = graph.entities().filter_map(|id| Some((id, label(id)?)));
            let (ids, texts): (Vec<&str>, Vec<&str>) = labelled.unzip();
            let fact_queries = graph.triples().filter_map(|triple| {
                let query = format!("{} {}", label(triple.head)?, label(triple.relation)?);
                Some(([triple.head, triple.relation, triple.tail], query))
            });
            let (fact_queries, queries): (Vec<_>, Vec<String>) = fact_queries.unzip();
            let labels = vectors(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())?;
            let rows = ids.into_iter().zip(0..).collect();
            languages.push(LanguageVectors {
                rows,
                texts,
                labels,
                fact_queries,
                facts: vectors(&queries)?,
            });
        }
        Ok(Self { graph_queries: *graph_queries, languages, objects })
    }

    /// Computes the scores. `vectors` returns the vectors of a query language and an answer
    /// language, in the order of [`Vectors`].
    fn score(
        &self,
        vectors: impl Fn(&LanguageVectors<'a>, &LanguageVectors<'a>) -> Result<Vectors>,
    ) -> Result<GraphScores> {
        let answers: BTreeSet<&str> = self.objects.values().flatten().copied().collect();
        let (mut labels, mut objects) = (Ranks::default(), Ranks::default());
        for (number, from) in self.languages.iter().enumerate() {
            let targets = self.languages.iter().enumerate().filter(|(index, _)| *index != number);
            for (_, to) in targets {
                let [label_vectors, fact_vectors, candidates] = vectors(from, to)?;
                let mut ids: Vec<(&str, usize)> =
                    to.rows.iter().map(|(&id, &row)| (id, row)).collect();
                ids.sort_unstable_by_key(|(_, row)| *row);
                // Entities without a label in the query's language have no query.
                let queries = ids.iter().filter_map(|&(id, gold)| {
                    let row = *from.rows.get(id)?;
                    let labels_differ = from.texts[row] != to.texts[gold];
                    labels_differ.then_some(Query { row, gold, id, correct: None })
                });
                let all_rows: Vec<usize> = (0..to.texts.len()).collect();
                let queries: Vec<Query<'_>> = queries.collect();
                self.rank(&mut labels, to, &queries, &label_vectors, &candidates, &all_rows)?;

                let queries =
                    (0..).zip(&from.fact_queries).filter_map(|(row, &[head, relation, id])| {
                        let correct = self.objects.get(&[head, relation]);
                        Some(Query { row, gold: *to.rows.get(id)?, id, correct })
                    });
                let queries: Vec<Query<'_>> = queries.collect();
                let candidate_rows =
                    ids.iter().filter(|(id, _)| answers.contains(id)).map(|(_, row)| *row);
                let candidate_rows: Vec<usize> = candidate_rows.collect();
                self.rank(&mut objects, to, &queries, &fact_vectors, &candidates, &candidate_rows)?;
            }
        }
        Ok(GraphScores { labels: labels.summary(), objects: objects.summary() })
    }

    /// Adds the rank of each query's correct candidate to `ranks`. Only the candidates in
    /// `candidate_rows` are ranked.
    fn rank(
        &self,
        ranks: &mut Ranks,
        to: &LanguageVectors<'a>,
        queries: &[Query<'_>],
        vectors: &Array2<f32>,
        candidates: &Array2<f32>,
        candidate_rows: &[usize],
    ) -> Result<()> {
        if queries.is_empty() {
            return Ok(());
        }
        let rows: Vec<usize> = queries.iter().map(|query| query.row).collect();
        let (query_vectors, candidate_vectors) =
            (vectors.select(Axis(0), &rows), candidates.select(Axis(0), candidate_rows));
        let candidate_index = |row: usize| {
            candidate_rows.binary_search(&row).expect("correct answers are candidates")
        };
        let gold: Vec<usize> = queries.iter().map(|query| candidate_index(query.gold)).collect();
        let correct: Vec<Vec<usize>> = queries
            .iter()
            .map(|query| {
                let has_same_text = |row: &usize| to.texts[*row] == to.texts[query.gold];
                let mut correct: BTreeSet<usize> =
                    candidate_rows.iter().copied().filter(has_same_text).collect();
                // Objects without a label in the answer's language are no candidates.
                correct
                    .extend(query.correct.into_iter().flatten().filter_map(|id| to.rows.get(id)));
                correct.remove(&query.gold);
                correct.into_iter().map(candidate_index).collect()
            })
            .collect();
        for (query, rank) in queries.iter().zip(filtered_ranks(
            query_vectors.view(),
            candidate_vectors.view(),
            &gold,
            &correct,
        )?) {
            let held_out = self.graph_queries.held_out.contains(query.id);
            let group = if held_out { &mut ranks.held_out } else { &mut ranks.trained };
            group.push(rank);
        }
        Ok(())
    }

    /// Maps the labels and facts of `from` to the space of `to`, with a linear map fitted to the
    /// labels of trained entities. Returns the mapped labels, the mapped facts and the
    /// normalised labels of `to`.
    fn map_vectors(
        &self,
        from: &LanguageVectors<'a>,
        to: &LanguageVectors<'a>,
        config: &MapConfig,
    ) -> Result<Vectors> {
        let trained =
            from.rows.iter().filter(|(id, _)| !self.graph_queries.held_out.contains(**id));
        let pairs = trained.filter_map(|(id, &row)| Some((row, *to.rows.get(id)?)));
        let mut pairs: Vec<(usize, usize)> = pairs.collect();
        pairs.sort_unstable();
        let (mut source, mut target) = (from.labels.clone(), to.labels.clone());
        let map = LinearMap::fit(&mut source, &mut target, &pairs, config)?;
        Ok([map.map_source(from.labels.clone())?, map.map_source(from.facts.clone())?, target])
    }
}

/// A query: the row of its vector, and the row of the correct candidate.
struct Query<'a> {
    row: usize,
    gold: usize,
    /// The id of the correct entity.
    id: &'a str,
    /// All correct entities, if there may be several.
    correct: Option<&'a BTreeSet<&'a str>>,
}

/// Ranks, grouped by whether the answer entity was trained or held out.
#[derive(Default)]
struct Ranks {
    trained: Vec<usize>,
    held_out: Vec<usize>,
}

impl Ranks {
    fn summary(&self) -> ScoresByTraining {
        ScoresByTraining {
            trained: RankSummary::of(&self.trained),
            held_out: RankSummary::of(&self.held_out),
        }
    }
}

/// Computes the rank of each gold candidate by cosine, from 1. Other correct candidates, with the
/// indices `correct`, are not counted (filtered ranking).
fn filtered_ranks(
    queries: ArrayView2<'_, f32>,
    candidates: ArrayView2<'_, f32>,
    gold: &[usize],
    correct: &[Vec<usize>],
) -> Result<Vec<usize>> {
    let config = RankConfig { similarity: Similarity::Cosine };
    let mut ranks = rank_candidates(queries, candidates, gold, &config)?;
    let rows = queries.axis_chunks_iter(Axis(0), 1).zip(gold).zip(correct);
    for (rank, ((query, &gold), correct)) in ranks.iter_mut().zip(rows) {
        if correct.is_empty() {
            continue;
        }
        let rows: Vec<usize> = [gold].into_iter().chain(correct.iter().copied()).collect();
        let correct_vectors = candidates.select(Axis(0), &rows);
        // Subtracts the number of other correct candidates that rank before the gold candidate.
        let gold_rank = rank_candidates(query, correct_vectors.view(), &[0], &config)?;
        *rank -= gold_rank[0] - 1;
    }
    Ok(ranks)
}

#[cfg(test)]
mod tests {
    use kg_triples::{GraphBuilder, LabelKind};
    use rand::Rng;
    use trainer::rng_for;

    use super::*;

    fn random_vectors(rows: usize, width: usize, seed: u64) -> Array2<f32> {
        let mut rng = rng_for(seed, "vectors", 0);
        Array2::from_shape_simple_fn((rows, width), || rng.random_range(-1.0..1.0))
    }

    #[test]
    fn filtered_ranks_equal_the_reference() {
        let (queries, mut candidates) = (random_vectors(12, 4, 0), random_vectors(30, 4, 1));
        // Candidates 3 and 8 are equal.
        let duplicate = candidates.row(3).to_owned();
        candidates.row_mut(8).assign(&duplicate);
        let gold: Vec<usize> = (0..12).map(|k| 2 * k % 30).collect();
        let correct: Vec<Vec<usize>> = gold
            .iter()
            .map(|gold| (0..gold % 5).map(|k| (gold + 1 + 3 * k) % 30).collect())
            .collect();
        let cosine = |query: usize, candidate: usize| {
            let (q, c) = (queries.row(query), candidates.row(candidate));
            let dot = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
                a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
            };
            dot(q, c) / (dot(q, q) * dot(c, c)).sqrt()
        };
        let expected: Vec<usize> = (0..12)
            .map(|k| {
                let incorrect = (0..30).filter(|c| *c != gold[k] && !correct[k].contains(c));
                1 + incorrect.filter(|&c| cosine(k, c) >= cosine(k, gold[k])).count()
            })
            .collect();
        let actual = filtered_ranks(queries.view(), candidates.view(), &gold, &correct).unwrap();
        assert_eq!(actual, expected);
        let unfiltered = rank_candidates(
            queries.view(),
            candidates.view(),
            &gold,
            &RankConfig { similarity: Similarity::Cosine },
        );
        assert_ne!(actual, unfiltered.unwrap());
    }

    /// Sixty countries, each with a capital and two rivers. German vectors are the English vectors
    /// with their dimensions reversed, and the vector of a fact equals the vector of its object.
    #[test]
    fn rotated_vectors_are_retrieved_only_with_a_map() {
        let mut builder = GraphBuilder::default();
        let add_entity_label = |id: &str, language: &str, builder: &mut GraphBuilder| {
            builder
                .add_label(id, language, &format!("{id} {language}"), LabelKind::Entity)
                .unwrap();
        };
        for relation in ["capital", "river"] {
            for language in ["en", "de"] {
                builder.add_label(relation, language, relation, LabelKind::Relation).unwrap();
            }
        }
        for number in 0..60 {
            let country = format!("A{number}");
            for (relation, tail) in [("capital", "B"), ("river", "C"), ("river", "D")] {
                builder.add_triple(&country, relation, &format!("{tail}{number}")).unwrap();
            }
            for prefix in ["A", "B", "C", "D"] {
                for language in ["en", "de"] {
                    add_entity_label(&format!("{prefix}{number}"), language, &mut builder);
                }
            }
        }
        let graph = builder.build();
        let held_out: BTreeSet<String> = (0..60).step_by(5).map(|k| format!("B{k}")).collect();
        let languages = [Language::EN, Language::DE];
        let graph_queries =
            GraphQueries { graph: &graph, languages: &languages, held_out: &held_out };
        let ids: Vec<&str> = graph.entities().collect();
        let english = random_vectors(ids.len(), 24, 2);
        let mut objects: HashMap<[&str; 2], BTreeSet<&str>> = HashMap::new();
        for triple in graph.triples() {
            objects.entry([triple.head, triple.relation]).or_default().insert(triple.tail);
        }
        let rows: HashMap<&str, usize> = ids.iter().copied().zip(0..).collect();
        let fact_queries: Vec<[&str; 3]> =
            graph.triples().map(|triple| [triple.head, triple.relation, triple.tail]).collect();
        let object_rows: Vec<usize> = fact_queries.iter().map(|[_, _, tail]| rows[tail]).collect();
        let language_vectors = |language: &str, labels: Array2<f32>| {
            let texts = ids.iter().map(|id| graph.label(id, language).unwrap()).collect();
            let facts = labels.select(Axis(0), &object_rows);
            LanguageVectors {
                rows: rows.clone(),
                texts,
                labels,
                fact_queries: fact_queries.clone(),
                facts,
            }
        };
        let mut german = english.clone();
        german.invert_axis(Axis(1));
        let languages = vec![language_vectors("en", english), language_vectors("de", german)];
        let graph_vectors = GraphVectors { graph_queries, languages, objects };
        let without_map = |from: &LanguageVectors<'_>, to: &LanguageVectors<'_>| {
            Ok([from.labels.clone(), from.facts.clone(), to.labels.clone()])
        };
        let unmapped = graph_vectors.score(without_map).unwrap();
        let config = MapConfig::default();
        let mapped =
            graph_vectors.score(|from, to| graph_vectors.map_vectors(from, to, &config)).unwrap();
        for (unmapped, mapped, [trained, held_out]) in [
            (&unmapped.labels, &mapped.labels, [2 * 228, 2 * 12]),
            (&unmapped.objects, &mapped.objects, [2 * 168, 2 * 12]),
        ] {
            let summaries =
                |scores: &ScoresByTraining| [scores.trained.unwrap(), scores.held_out.unwrap()];
            assert_eq!(summaries(unmapped).map(|ranks| ranks.queries), [trained, held_out]);
            assert!(summaries(unmapped).iter().all(|ranks| ranks.accuracy < 30.0), "{unmapped:?}");
            assert!(summaries(mapped).iter().all(|ranks| ranks.accuracy == 100.0), "{mapped:?}");
        }
    }
}
