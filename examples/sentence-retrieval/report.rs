//! Tables of retrieval, `numbers.jsonl` and `summary.json`.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::{Experiment, Results};
use mlqa_eval::Language;
use results::{MeanInterval, Measured, Table};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::recipe::Recipe;

/// The rank of the correct candidate for each query of a language pair.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PairRanks {
    pub query: Language,
    pub candidate: Language,
    pub ranks: Vec<usize>,
}

/// Ranks of a model by pair of languages.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Scores {
    /// Paragraphs ranked by BM25; only in the arm without training.
    #[serde(default)]
    pub lexical: Vec<PairRanks>,
    /// PUD's sentences.
    pub sentences: Vec<PairRanks>,
    /// XQuAD's paragraphs.
    pub paragraphs: Vec<PairRanks>,
    /// Paragraphs whose vectors include questions of the paragraph other than the query.
    pub augmented: Vec<PairRanks>,
    /// Paragraphs whose vectors include the questions of another paragraph.
    pub other_questions: Vec<PairRanks>,
    /// Descriptions of entities ranked by BM25; only in the arm without training.
    #[serde(default)]
    pub entities_lexical: Vec<PairRanks>,
    /// Descriptions ranked by vectors; only in the arm without training.
    #[serde(default)]
    pub entities_dense: Vec<PairRanks>,
    /// Descriptions ranked by both scores; only in the arm without training.
    #[serde(default)]
    pub entities: Vec<PairRanks>,
    /// Descriptions after re-ranking; only in arms that train a re-ranker.
    #[serde(default)]
    pub reranked: Vec<PairRanks>,
}

/// Setting, language and metric of a value, and each query's value in percent.
type QueryScores = ([String; 3], Vec<f64>);

fn mean<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    MeanInterval::of(values.into_iter().copied()).mean
}

/// Computes for each query the share of language pairs in which its rank is at most `max_rank`.
fn hit_rates<'a>(pairs: impl IntoIterator<Item = &'a PairRanks>, max_rank: usize) -> Vec<f64> {
    let mut shares: Vec<Vec<f64>> = Vec::new();
    for pair in pairs {
        shares.resize(pair.ranks.len(), Vec::new());
        let percent = |rank: &usize| if *rank <= max_rank { 100.0 } else { 0.0 };
        shares.iter_mut().zip(&pair.ranks).for_each(|(share, rank)| share.push(percent(rank)));
    }
    shares.iter().map(mean).collect()
}

fn sentence_scores(pairs: &[PairRanks]) -> Vec<QueryScores> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let key = |language: &str| ["PUD", language, "p@1"].map(str::to_owned);
    let from_english = pairs.iter().filter(|pair| pair.query == Language::EN);
    let with_english = from_english.map(|PairRanks { candidate, .. }| {
        let directions = [(Language::EN, *candidate), (*candidate, Language::EN)];
        let pairs_of_language =
            pairs.iter().filter(|pair| directions.contains(&(pair.query, pair.candidate)));
        (key(candidate.as_str()), hit_rates(pairs_of_language, 1))
    });
    with_english.chain([(key("avg"), hit_rates(pairs, 1))]).collect()
}

fn paragraph_scores(pairs: &[PairRanks]) -> Vec<QueryScores> {
    pair_scores("XQuAD", [("recall@1", 1), ("recall@5", 5)], pairs)
}

fn entity_scores(pairs: &[PairRanks]) -> Vec<QueryScores> {
    pair_scores("entities", [("recall@1", 1), ("recall@16", 16)], pairs)
}

/// Computes recalls over pairs of equal and of different languages, and of the lowest pair.
fn pair_scores(data: &str, recalls: [(&str, usize); 2], pairs: &[PairRanks]) -> Vec<QueryScores> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let (same_language, different_languages): (Vec<_>, Vec<_>) =
        pairs.iter().partition(|pair| pair.query == pair.candidate);
    let shares = |(metric, max_rank)| {
        let pair_rates = pairs.iter().map(|pair| hit_rates([pair], max_rank));
        // An arm without pairs has no rows in the table.
        let lowest = pair_rates.min_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap_or_default();
        let same_language = ("same language", hit_rates(same_language.iter().copied(), max_rank));
        let different_languages =
            ("different languages", hit_rates(different_languages.iter().copied(), max_rank));
        [same_language, different_languages, ("lowest pair", lowest)].map(|(setting, shares)| {
            ([format!("{data}, {setting}"), "avg".into(), String::from(metric)], shares)
        })
    };
    recalls.into_iter().flat_map(shares).collect()
}

/// Combines the values of all seeds. Means at rank 1 also store their test items. An item is a
/// query in all its languages.
fn over_seeds(title: &str, seeds: &[Vec<QueryScores>]) -> Vec<Measured> {
    let measured = |(index, ([setting, language, metric], _)): (usize, &QueryScores)| {
        let seeds: Vec<&Vec<f64>> = seeds.iter().map(|seed| &seed[index].1).collect();
        let means = seeds.iter().map(|shares| mean(*shares));
        let result = Measured::of_seeds(title, setting, language, metric, means);
        let item = |index: usize| mean(seeds.iter().map(|shares| &shares[index]));
        let has_items = language == "avg" && metric.ends_with("@1") && !setting.ends_with("pair");
        let first = seeds.first().filter(|_| has_items);
        let items = (0..first.map_or(0, |shares| shares.len())).map(item);
        Measured { items: items.map(|item| (item * 100.0).round() / 100.0).collect(), ..result }
    };
    seeds.first().into_iter().flatten().enumerate().map(measured).collect()
}

/// Table title, row title (`ARM` is replaced by the arm's title), and function that computes the
/// scores.
type Row = (&'static str, &'static str, fn(&Scores) -> Vec<QueryScores>);

const ROWS: [Row; 9] = [
    ("sentences, %", "ARM", |scores| sentence_scores(&scores.sentences)),
    ("paragraphs, %", "BM25", |scores| paragraph_scores(&scores.lexical)),
    ("paragraphs, %", "ARM", |scores| paragraph_scores(&scores.paragraphs)),
    ("paragraphs, %", "ARM + questions", |scores| paragraph_scores(&scores.augmented)),
    ("paragraphs, %", "ARM + other questions", |scores| paragraph_scores(&scores.other_questions)),
    ("entities, %", "entities: BM25", |scores| entity_scores(&scores.entities_lexical)),
    ("entities, %", "entities: vectors", |scores| entity_scores(&scores.entities_dense)),
    ("entities, %", "entities: BM25 + vectors", |scores| entity_scores(&scores.entities)),
    ("entities, %", "ARM", |scores| entity_scores(&scores.reranked)),
];

/// Writes `table.md`, `numbers.jsonl` and `summary.json`, and prints the first table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<u64, Scores>) -> Result<()> {
    let (mut tables, mut arms, mut values) = (Vec::<(&str, Table)>::new(), Vec::new(), Vec::new());
    for name in experiment.arms() {
        let arm = experiment.recipe.arms.get(name).context("arm")?;
        let mut scores = BTreeMap::new();
        for (table, row, shares) in ROWS {
            let title = row.replace("ARM", arm.title.as_ref().unwrap_or(name));
            let seeds: Vec<_> = results.of_arm(name).map(|t| shares(&t.evaluated)).collect();
            let numbers = over_seeds(&title, &seeds);
            if numbers.is_empty() {
                continue;
            }
            let column = |n: &Measured| {
                format!("{}, {}, {}", n.setting, n.language, n.metric).replace(", avg", "")
            };
            if !tables.iter().any(|(title, _)| *title == table) {
                tables.push((table, Table::new(table, numbers.iter().map(column))));
            }
            if let Some((_, table)) = tables.iter_mut().find(|(title, _)| *title == table) {
                table.add_row(
                    &title,
                    numbers.iter().map(|number| number.mean_interval().to_string()),
                );
            }
            let intervals = numbers.iter().map(|number| (column(number), number.mean_interval()));
            scores.insert(title, intervals.collect::<BTreeMap<_, _>>());
            values.extend(numbers);
        }
        let tokens = results.over_seeds(name, |trial| trial.trained as f64).mean;
        let seconds = results.over_seeds(name, |trial| trial.seconds).mean;
        arms.push((
            name.as_str(),
            json!({ "scores": scores, "tokens": tokens, "seconds": seconds }),
        ));
    }
    Measured::write(experiment.dir("numbers.jsonl"), &values)?;
    let tables: Vec<String> = tables.iter().map(|(_, table)| table.to_string()).collect();
    Ok(experiment.finish_arms(&arms, &tables.join("\n"), "")?)
}
