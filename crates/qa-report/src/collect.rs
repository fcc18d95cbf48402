//! Collects the scores of all runs by question and by pair of languages.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use mlqa_eval::{BoundaryCounts, Cell, Language, Matrix, MeanInterval, Normalization, Score};

use crate::answers::Answers;
use crate::browser::{FirstSeedAnswers, QuestionBrowser, read_n_best};
use crate::input::Pair;
use crate::query_sets::{PairFiles, Questions};
use crate::{ReportConfig, ReportRun};

/// The scores of one question of a pair.
pub(crate) struct QuestionScores {
    pub pair: usize,
    /// Index of the question id. A question id has the same index in all pairs of a set.
    pub id: usize,
    /// The question's value for each key of [`ReportData::group_keys`].
    pub groups: Vec<String>,
    /// F1 and exact match of each run in percent, as means over seeds; `None` if the run does not
    /// include the question.
    pub values: Vec<Option<[f64; 2]>>,
}

/// Scores of a run on one pair.
pub(crate) struct PairRun {
    pub cell: Cell,
    /// F1 and exact match of each seed.
    pub by_seed: Vec<[f64; 2]>,
    /// Counts of boundary classes, summed over seeds.
    pub boundary: BoundaryCounts,
    /// Number of unanswered questions, summed over seeds.
    pub unanswered: usize,
    /// Number of answers that do not occur in their contexts, summed over seeds.
    pub not_in_context: usize,
}

/// Scores of all runs on one pair.
pub(crate) struct PairScores {
    pub pair: Pair,
    pub questions: usize,
    /// Number of questions without a gold answer, which are not scored.
    pub without_gold: usize,
    pub squad_rules: bool,
    pub runs: Vec<Option<PairRun>>,
}

/// The scores and questions for all tables and figures.
#[derive(Default)]
pub(crate) struct ReportData {
    /// Names of the runs.
    pub names: Vec<String>,
    /// Number of seeds of each run.
    pub seed_counts: Vec<usize>,
    pub pairs: Vec<PairScores>,
    pub question_scores: Vec<QuestionScores>,
    /// The keys by which questions are grouped.
    pub group_keys: Vec<String>,
    /// Number of distinct [`QuestionScores::id`] values.
    pub id_count: usize,
    pub browser: QuestionBrowser,
}

impl ReportData {
    /// Returns the sorted names of the sets.
    pub fn sets(&self) -> Vec<&str> {
        let sets: BTreeSet<&str> =
            self.pairs.iter().map(|scores| scores.pair.set.as_str()).collect();
        sets.into_iter().collect()
    }

    /// Returns the name of a run.
    pub fn name(&self, run: usize) -> &str {
        &self.names[run]
    }

    /// Returns a run's scores on a set.
    pub fn matrix(&self, set: &str, run: usize) -> Matrix {
        let mut matrix = Matrix::new(self.name(run));
        for scores in self.pairs.iter().filter(|scores| scores.pair.set == set) {
            if let Some(run_scores) = &scores.runs[run] {
                matrix.insert(scores.pair.context.0, scores.pair.question.0, run_scores.cell);
            }
        }
        matrix
    }
}

/// Groups answer files by pair. If a seed has several files for a pair, the first file is used. If
/// one of a run's seeds has no file for a pair, the run is excluded from this pair.
fn group_by_pair(runs: &[ReportRun]) -> BTreeMap<&Pair, PairFiles<'_>> {
    let mut pairs: BTreeMap<&Pair, PairFiles<'_>> = BTreeMap::new();
    for (run_index, run) in runs.iter().enumerate() {
        for seed in &run.seeds {
            let mut seen_pairs = BTreeSet::new();
            for file in seed {
                if seen_pairs.insert(&file.pair) {
                    let pair_files =
                        pairs.entry(&file.pair).or_insert_with(|| vec![vec![]; runs.len()]);
                    pair_files[run_index].push(file);
                }
            }
        }
    }
    for pair_files in pairs.values_mut() {
        for (files, run) in pair_files.iter_mut().zip(runs) {
            if files.len() < run.seeds.len() {
                files.clear();
            }
        }
    }
    pairs.retain(|_, pair_files| pair_files.iter().any(|files| !files.is_empty()));
    pairs
}

/// Scores every answer of every run.
pub(crate) fn collect(
    runs: &[ReportRun],
    config: &ReportConfig,
) -> Result<ReportData, mlqa_eval::Error> {
    let pairs = group_by_pair(runs);
    let keys = config.group_by.as_slice();
    let sizes = pairs.values().map(|files| Ok(Questions::of(files, &[])?.dataset.questions.len()));
    let quotas =
        distribute(&sizes.collect::<Result<Vec<_>, mlqa_eval::Error>>()?, config.max_questions);
    let mut all = ReportData {
        names: runs.iter().map(|run| run.name.clone()).collect(),
        seed_counts: runs.iter().map(|run| run.seeds.len()).collect(),
        group_keys: keys.to_vec(),
        ..ReportData::default()
    };
    let mut ids = HashMap::new();
    for ((pair, files), quota) in pairs.into_iter().zip(quotas) {
        let questions = Questions::of(&files, keys)?;
        add_pair(&mut all, pair, &questions, &files, config, quota, &mut ids)?;
    }
    for (run_index, run) in runs.iter().enumerate() {
        for (context, question, cell) in run.scores.iter().flat_map(Matrix::cells) {
            add_scores(&mut all, run_index, (context, question), cell);
        }
    }
    all.id_count = ids.len();
    Ok(all)
}

/// Distributes `remaining` items over groups as evenly as possible. No group receives more items
/// than its size.
fn distribute(sizes: &[usize], mut remaining: usize) -> Vec<usize> {
    let mut by_size: Vec<(usize, &usize)> = sizes.iter().enumerate().collect();
    by_size.sort_by_key(|(_, size)| **size);
    let mut shares = vec![0; sizes.len()];
    for (done, (at, size)) in by_size.into_iter().enumerate() {
        let share = (remaining / (sizes.len() - done)).min(*size);
        remaining -= share;
        shares[at] = share;
    }
    shares
}

/// Adds the scores of one pair of languages for a run that has only scores.
fn add_scores(all: &mut ReportData, run: usize, languages: (Language, Language), cell: &Cell) {
    let (context, question) = languages;
    let pair = Pair { set: String::new(), context: context.into(), question: question.into() };
    let index = match all.pairs.iter().position(|scores| scores.pair == pair) {
        Some(index) => index,
        None => {
            all.pairs.push(PairScores {
                pair,
                questions: cell.questions,
                without_gold: 0,
                squad_rules: false,
                runs: all.names.iter().map(|_| None).collect(),
            });
            all.pairs.len() - 1
        }
    };
    let (by_seed, boundary) = (Vec::new(), BoundaryCounts::default());
    all.pairs[index].runs[run] =
        Some(PairRun { cell: *cell, by_seed, boundary, unanswered: 0, not_in_context: 0 });
}

fn add_pair(
    all: &mut ReportData,
    pair: &Pair,
    questions: &Questions,
    files: &PairFiles<'_>,
    config: &ReportConfig,
    quota: usize,
    ids: &mut HashMap<(String, String), usize>,
) -> Result<(), mlqa_eval::Error> {
    let (dataset, pair_index) = (&questions.dataset, all.pairs.len());
    let rules = pair.rules(files, config.squad)?;
    let mut values_by_run: Vec<Vec<Vec<[f64; 2]>>> = Vec::new();
    let mut pair_runs: Vec<Option<PairRun>> = Vec::new();
    let mut first_seeds: Vec<Option<FirstSeedAnswers>> = Vec::new();
    for run_files in files {
        let (mut scores, mut boundary, mut first_seed) = (vec![], BoundaryCounts::default(), None);
        let (mut values, mut not_in_context) = (Vec::new(), 0);
        for file in run_files {
            let answers = Answers::read(file, questions, rules)?;
            boundary = boundary.plus(&BoundaryCounts::of(&answers.classes));
            not_in_context += answers.not_in_context;
            values.push((0..dataset.questions.len()).map(|at| answers.f1_and_em(at)).collect());
            scores.push(answers.score.clone());
            if first_seed.is_none() {
                let n_best = file.n_best.as_deref().map(read_n_best).transpose()?;
                first_seed = Some(FirstSeedAnswers { answers, n_best });
            }
        }
        pair_runs.push((!scores.is_empty()).then(|| pair_run(&scores, boundary, not_in_context)));
        values_by_run.push(values);
        first_seeds.push(first_seed);
    }
    for (at, question) in dataset.questions.iter().enumerate() {
        let next_id = ids.len();
        let id = *ids.entry((pair.set.clone(), question.id.clone())).or_insert(next_id);
        let values = values_by_run.iter().map(|seeds| mean_over_seeds(seeds, at)).collect();
        let groups = questions.groups.iter().map(|values| values[at].clone()).collect();
        all.question_scores.push(QuestionScores { pair: pair_index, id, groups, values });
    }
    all.browser.add(pair, dataset, &first_seeds, quota);
    all.pairs.push(PairScores {
        pair: pair.clone(),
        questions: dataset.questions.len(),
        without_gold: questions.without_gold,
        squad_rules: rules == Normalization::SquadEn,
        runs: pair_runs,
    });
    Ok(())
}

fn pair_run(scores: &[Score], boundary: BoundaryCounts, not_in_context: usize) -> PairRun {
    let f1 = MeanInterval::of(scores.iter().map(|score| score.f1));
    let em = MeanInterval::of(scores.iter().map(|score| score.exact_match));
    let questions = scores[0].questions;
    let cell = Cell {
        f1: f1.mean,
        em: em.mean,
        questions,
        f1_half_width: f1.half_width,
        em_half_width: em.half_width,
    };
    let unanswered = scores.iter().map(|score| score.unanswered.len()).sum();
    let by_seed = scores.iter().map(|score| [score.f1, score.exact_match]).collect();
    PairRun { cell, by_seed, boundary, unanswered, not_in_context }
}

/// Returns a question's mean scores over seeds, in percent; `None` without seeds.
fn mean_over_seeds(seeds: &[Vec<[f64; 2]>], at: usize) -> Option<[f64; 2]> {
    let mean = |sum: f64| 100.0 * sum / seeds.len() as f64;
    let add = |sum: [f64; 2], seed: &Vec<[f64; 2]>| [sum[0] + seed[at][0], sum[1] + seed[at][1]];
    (!seeds.is_empty()).then(|| seeds.iter().fold([0.0; 2], add).map(mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_distributed_evenly_and_completely() {
        assert_eq!(distribute(&[1190, 1190, 1190], 2000), [666, 667, 667]);
        assert_eq!(distribute(&[1190, 10, 1190], 2000), [995, 10, 995]);
        assert_eq!(distribute(&[3, 2], 100), [3, 2]);
        assert_eq!((distribute(&[5, 5, 5], 2), distribute(&[], 7)), (vec![0, 1, 1], vec![]));
    }
}
