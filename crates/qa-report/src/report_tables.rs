//! The tables of a report.
use std::iter;

use mlqa_eval::{BoundaryClass, BoundaryCounts, Resampling};

use crate::collect::ReportData;
use crate::evidence::{
    Difference, METRICS, QuestionOverlap, RunMean, percent_not_in_context, question_overlaps,
};
use crate::table::{Table, Value};
use crate::text::thousands;

/// Returns the cell with a set's name. If no set has a name, the column is removed later.
fn set_cell(set: &str) -> Value {
    if set.is_empty() { Value::Missing } else { Value::from(set) }
}

fn name_cell(all: &ReportData, run: usize) -> Value {
    Value::from(all.name(run))
}

fn count_cell(number: usize) -> Value {
    if number == 0 { Value::Missing } else { Value::Count(number) }
}

/// Creates the table of all runs on all sets.
pub(crate) fn summary(all: &ReportData, means: &[RunMean], resampling: &Resampling) -> Table {
    // Narrow screens show only the first columns, so the most important ones come first.
    let columns = "run, set, F1, EM, F1 ±, F1 low, F1 high, EM ±, EM low, EM high, questions, \
                   language pairs, seeds, unanswered, not a span %";
    let has_answers_not_in_context =
        means.iter().any(|mean| mean.percent_not_in_context > Some(0.0));
    let mut table = Table::new("summary", "Runs", columns);
    for mean in means {
        let seeds = all.seed_counts[mean.run];
        let mut row = vec![name_cell(all, mean.run), set_cell(&mean.set)];
        row.extend(mean.scores.iter().map(|score| Value::Number(score.mean)));
        for score in mean.scores {
            row.push(score.half_width.into());
            row.push(score.interval.map(|interval| interval.low).into());
            row.push(score.interval.map(|interval| interval.high).into());
        }
        let counts = [mean.questions, mean.pairs, seeds, mean.unanswered];
        row.extend(counts.map(count_cell));
        row.push(mean.percent_not_in_context.filter(|_| has_answers_not_in_context).into());
        table.rows.push(row);
    }
    table.note = "Means over pairs of languages with equal weights.".into();
    if has_answers_not_in_context {
        table.note.push_str(" Not a span: answers that do not occur verbatim in their contexts.");
    }
    for QuestionOverlap { set, run, counts: [first, of_run, common] } in question_overlaps(all) {
        let set = if set.is_empty() { String::new() } else { format!("{set}: ") };
        let (first_name, run) = (all.name(0), all.name(run));
        let [first, of_run, common] = [first, of_run, common].map(thousands);
        table.note.push_str(&format!(
            " {set}{run} answers {of_run} questions and {first_name} {first}; differences are over the {common} that \
             both answer."
        ));
    }
    if means.iter().any(|mean| mean.scores.iter().any(|score| score.interval.is_some())) {
        table.note.push_str(&format!(
            " Low and high: {:.0} % bootstrap interval ({} samples) over question ids; the \
             questions of an id are drawn together.",
            100.0 * resampling.level,
            resampling.samples
        ));
    }
    if means.iter().any(|mean| mean.scores.iter().any(|score| score.half_width.is_some())) {
        table.note.push_str(" ±: half of the 95 % interval over seeds (Student).");
    }
    table.without_empty_columns()
}

/// Creates the table of the scores of all runs on all pairs.
pub(crate) fn scores(all: &ReportData) -> Table {
    let columns = "run, set, context, question, questions, F1, F1 ±, EM, EM ±, not a span %";
    let runs = || all.pairs.iter().flat_map(|scores| scores.runs.iter().flatten());
    let has_answers_not_in_context = runs().any(|scores| scores.not_in_context > 0);
    let mut table = Table::new("scores", "Every pair of languages", columns);
    for run in 0..all.names.len() {
        for scores in &all.pairs {
            let Some(run_scores) = &scores.runs[run] else { continue };
            let cell = &run_scores.cell;
            table.rows.push(vec![
                name_cell(all, run),
                set_cell(&scores.pair.set),
                Value::Text(scores.pair.context.to_string()),
                Value::Text(scores.pair.question.to_string()),
                count_cell(cell.questions),
                Value::Number(cell.f1),
                cell.f1_half_width.into(),
                Value::Number(cell.em),
                cell.em_half_width.into(),
                percent_not_in_context(iter::once(run_scores))
                    .filter(|_| has_answers_not_in_context)
                    .into(),
            ]);
        }
    }
    table.without_empty_columns()
}

/// Creates the table of differences from the first run.
pub(crate) fn differences(
    all: &ReportData,
    differences: &[Difference],
    resampling: &Resampling,
) -> Table {
    let columns = "run, set, languages, metric, questions, first run, this run, difference, \
                   low, high, p (randomisation), p (bootstrap), p (Holm)";
    let first = all.name(0);
    let mut table = Table::new("differences", format!("Differences from {first}"), columns);
    for difference in differences {
        let interval = difference.test.difference;
        table.rows.push(vec![
            name_cell(all, difference.run),
            set_cell(&difference.set),
            Value::from(difference.pair.as_deref().unwrap_or("mean")),
            Value::from(METRICS[difference.metric]),
            Value::Count(difference.questions),
            Value::Number(difference.baseline),
            Value::Number(difference.value),
            Value::Signed(interval.mean),
            Value::Signed(interval.low),
            Value::Signed(interval.high),
            Value::P(difference.test.p_randomisation),
            Value::P(difference.test.p_bootstrap),
            Value::P(difference.p_holm),
        ]);
    }
    table.note = format!(
        "Paired by question; each question has its mean over seeds. Low and high: \
         {:.0} % bootstrap interval ({} samples). p (Holm) is p (randomisation), corrected over all pairs of \
         languages, or over all means, of a metric. The p-values account for the choice of \
         questions, not of seeds.",
        100.0 * resampling.level,
        resampling.samples
    );
    table.without_empty_columns()
}

pub(crate) const CLASSES: [&str; 6] =
    ["exact", "superset", "subset", "overlap", "disjoint", "unanswered"];

/// Returns the shares of [`CLASSES`] in percent.
fn class_shares(counts: &BoundaryCounts) -> Vec<f64> {
    let questions = counts.questions().max(1) as f64;
    let classes = BoundaryClass::ALL.iter().map(|class| counts.percentage(*class));
    classes.chain([100.0 * counts.unanswered as f64 / questions]).collect()
}

/// Returns the shares of [`CLASSES`] for each run, over all pairs; runs without answers are
/// excluded.
pub(crate) fn boundary_shares(all: &ReportData) -> Vec<(String, Vec<f64>)> {
    let sum = |run: usize| {
        let pair_runs = all.pairs.iter().filter_map(|pair| pair.runs[run].as_ref());
        pair_runs.fold(BoundaryCounts::default(), |sum, pair| sum.plus(&pair.boundary))
    };
    let sums = all.names.iter().enumerate().map(|(run, name)| (name.clone(), sum(run)));
    let sums = sums.filter(|(_, counts)| counts.questions() > 0);
    sums.map(|(name, counts)| (name, class_shares(&counts))).collect()
}

/// Creates the table of predictions by boundary class.
pub(crate) fn boundaries(all: &ReportData) -> Table {
    let columns =
        format!("run, set, languages, answers, {}, right words elsewhere", CLASSES.join(", "));
    let mut table = Table::new("boundaries", "Boundaries, percent", &columns);
    for run in 0..all.names.len() {
        let mut sum = BoundaryCounts::default();
        let mut rows = Vec::new();
        let row = |set: Value, languages: &str, counts: &BoundaryCounts| {
            let mut row = vec![name_cell(all, run), set, Value::from(languages)];
            row.push(Value::Count(counts.questions()));
            row.extend(class_shares(counts).into_iter().map(Value::Number));
            let fraction_at_other_position =
                counts.elsewhere as f64 / counts.questions().max(1) as f64;
            row.push(Value::Number(100.0 * fraction_at_other_position));
            row
        };
        for scores in &all.pairs {
            let Some(run_scores) = &scores.runs[run] else { continue };
            if run_scores.boundary.questions() > 0 {
                sum = sum.plus(&run_scores.boundary);
                let label = format!("{}–{}", scores.pair.context, scores.pair.question);
                rows.push(row(set_cell(&scores.pair.set), &label, &run_scores.boundary));
            }
        }
        if rows.len() > 1 {
            rows.push(row(Value::Missing, "all", &sum));
        }
        table.rows.extend(rows);
    }
    table.note = "The predicted span compared with the nearest gold answer, without white space, \
                  punctuation and articles at its ends; sum over seeds. If the predicted text \
                  occurs several times, the best occurrence counts; if it does not occur, it is \
                  disjoint."
        .into();
    table.without_empty_columns()
}
