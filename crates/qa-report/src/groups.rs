//! Scores of the questions with each value of a key.
use std::collections::BTreeSet;

use mlqa_eval::{Interval, Resampling, bootstrap};

use crate::collect::{QuestionScores, ReportData};
use crate::evidence::sum_by_id;
use crate::table::{Table, Value};

/// Mean scores of a run over the questions of a set with one value of a key.
pub(crate) struct GroupMean {
    /// Index in [`ReportData::group_keys`].
    key: usize,
    set: String,
    run: usize,
    value: String,
    /// Number of questions, summed over pairs of languages.
    questions: usize,
    /// F1 and exact match.
    scores: [Interval; 2],
}

/// Computes the mean scores of every run for every value of every key. Pairs of languages that have
/// questions with the value have equal weights. The questions of an id are resampled together.
pub(crate) fn group_means(
    all: &ReportData,
    resampling: &Resampling,
) -> Result<Vec<GroupMean>, mlqa_eval::Error> {
    let mut means = Vec::new();
    for key in 0..all.group_keys.len() {
        for set in all.sets() {
            for run in 0..all.names.len() {
                for value in values_of_run(all, key, set, run) {
                    let in_group =
                        |row: &QuestionScores| row.values[run].filter(|_| row.groups[key] == value);
                    let has_group = |row: &&QuestionScores| {
                        all.pairs[row.pair].pair.set == set && in_group(row).is_some()
                    };
                    let rows = all.question_scores.iter().filter(has_group);
                    let pairs: BTreeSet<usize> = rows.map(|row| row.pair).collect();
                    let pairs: Vec<usize> = pairs.into_iter().collect();
                    let (values, questions) = sum_by_id(all, &pairs, in_group);
                    let interval = |metric: usize| {
                        let values: Vec<f64> = values.iter().map(|value| value[metric]).collect();
                        bootstrap(&values, resampling)
                    };
                    let scores = [interval(0)?, interval(1)?];
                    let (set, value) = (set.to_owned(), value.to_owned());
                    means.push(GroupMean { key, set, run, value, questions, scores });
                }
            }
        }
    }
    Ok(means)
}

/// Returns the values of a key for the questions of a run.
fn values_of_run<'a>(all: &'a ReportData, key: usize, set: &str, run: usize) -> BTreeSet<&'a str> {
    let in_run =
        |row: &&QuestionScores| all.pairs[row.pair].pair.set == set && row.values[run].is_some();
    all.question_scores.iter().filter(in_run).map(|row| row.groups[key].as_str()).collect()
}

/// Creates a table for each key.
pub(crate) fn tables(all: &ReportData, means: &[GroupMean], resampling: &Resampling) -> Vec<Table> {
    let table = |(index, key): (usize, &String)| {
        let columns = "value, run, set, F1, EM, F1 low, F1 high, EM low, EM high, questions";
        let name = format!("by-{}", crate::text::file_name(key));
        let mut table = Table::new(&name, format!("Scores by {key}"), columns);
        let mut of_key: Vec<&GroupMean> = means.iter().filter(|mean| mean.key == index).collect();
        // The rows of a value are adjacent, so that its runs can be compared.
        of_key.sort_by_key(|mean| (&mean.set, &mean.value, mean.run));
        for GroupMean { set, run, value, questions, scores: [f1, em], .. } in of_key {
            table.rows.push(vec![
                Value::from(value.as_str()),
                Value::from(all.name(*run)),
                if set.is_empty() { Value::Missing } else { Value::from(set.as_str()) },
                Value::Number(f1.mean),
                Value::Number(em.mean),
                Value::Number(f1.low),
                Value::Number(f1.high),
                Value::Number(em.low),
                Value::Number(em.high),
                Value::Count(*questions),
            ]);
        }
        table.note = format!(
            "Means over pairs of languages with equal weights. Low and high: {:.0} % bootstrap interval \
             ({} samples) over question ids.",
            100.0 * resampling.level,
            resampling.samples
        );
        table.without_empty_columns()
    };
    all.group_keys.iter().enumerate().map(table).collect()
}
