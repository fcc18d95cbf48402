//! What the arms showed, as the paper's tables have it.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use examples::results::{Measured, write_json, write_text};
use mlqa_eval::{BoundaryCounts, Cell, Language, Matrix, Spread, TableOrder, boundary_table};
use serde::{Deserialize, Serialize};
use tasks::question_answering::FileScore;
use tasks::two_stage::CandidateReport;

use crate::recipe::Recipe;

/// What one model showed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ModelResult {
    /// By evaluation set, one entry for each file.
    pub scores: BTreeMap<String, Vec<FileScore>>,
    /// The candidates it was trained on.
    pub candidates: Option<CandidateReport>,
    /// What each slot of the candidates weighs, where that is learned.
    pub weights: Option<Vec<f64>>,
    /// Tokens of training, padding left out.
    pub tokens: u64,
    /// Mean losses of the last line of metrics.
    pub final_loss: f64,
    /// Seconds of training and evaluation.
    pub seconds: f64,
}

/// The key of the mean over languages, beside the languages' codes.
const AVERAGE: &str = "average";
/// The arm that others are compared with.
const CONTROL: &str = "plain";
/// The reader of the first stage among the arms.
const BEFORE: &str = "before";

/// One evaluation set of one arm over all seeds.
#[derive(Clone, Debug, Default, Serialize)]
struct SetSummary {
    /// By language, and `average` over languages, under MLQA's normalisation.
    scores: BTreeMap<String, Measured>,
    /// The same under SQuAD's English normalisation, where it is reported.
    squad: BTreeMap<String, Measured>,
    /// Exact match within the k best answers, by language (and `average`) and k; the mean over seeds.
    top_k: BTreeMap<String, BTreeMap<String, f64>>,
    /// Predictions by their boundaries, the sum over seeds.
    boundary: BTreeMap<String, BoundaryCounts>,
    /// Exact match minus the control's, averaged over languages.
    difference: Option<Difference>,
}

/// A paired difference over seeds.
#[derive(Clone, Debug, Default, Serialize)]
struct Difference {
    mean: f64,
    /// Sample standard deviation over seeds.
    sd: Option<f64>,
    /// Half the width of Student's 95 % interval.
    half_width: Option<f64>,
}

#[derive(Serialize)]
struct ArmSummary {
    title: String,
    sets: BTreeMap<String, SetSummary>,
    candidates: Option<CandidateReport>,
    weights: Option<Vec<f64>>,
    tokens: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct File<'a> {
    seeds: &'a [u64],
    arms: BTreeMap<String, ArmSummary>,
}

/// Writes `summary.json`, `table.md` and the matrices, and returns the table.
pub fn write(
    recipe: &Recipe,
    folder: &Path,
    before: &[(u64, ModelResult)],
    results: &[(u64, String, ModelResult)],
) -> Result<String> {
    let of_arm = |name: &str| -> Vec<&ModelResult> {
        if name == BEFORE {
            return before.iter().map(|(_, result)| result).collect();
        }
        results.iter().filter(|(_, of, _)| of == name).map(|(_, _, result)| result).collect()
    };
    let control = of_arm(CONTROL);
    let names: Vec<&str> =
        [BEFORE].into_iter().chain(recipe.run_arms.iter().map(String::as_str)).collect();
    let mut arms = BTreeMap::new();
    for name in &names {
        let own = of_arm(name);
        let title = recipe.arms.get(*name).and_then(|arm| arm.title.clone());
        let title = title.unwrap_or_else(|| match *name {
            BEFORE => "stage one".to_owned(),
            other => other.to_owned(),
        });
        let first = own.first().with_context(|| format!("arm {name}: no result"))?;
        let mut sets = BTreeMap::new();
        for set in first.scores.keys() {
            let mut summary = summary(&own, set);
            if *name != CONTROL && *name != BEFORE && !control.is_empty() {
                summary.difference = difference(&own, &control, set);
            }
            write_matrices(folder, name, &title, set, &own)?;
            sets.insert(set.clone(), summary);
        }
        let arm = ArmSummary {
            title,
            sets,
            candidates: first.candidates.clone(),
            weights: first.weights.clone(),
            tokens: own.iter().map(|result| result.tokens).sum::<u64>() / own.len().max(1) as u64,
            seconds: Spread::of(own.iter().map(|result| result.seconds)).mean,
        };
        arms.insert((*name).to_owned(), arm);
    }
    let text = tables(&names, &arms)?;
    write_json(&folder.join("summary.json"), &File { seeds: &recipe.seeds, arms })?;
    write_text(&folder.join("table.md"), &text)?;
    Ok(text)
}

fn files<'a>(result: &'a ModelResult, set: &str) -> &'a [FileScore] {
    result.scores.get(set).map(Vec::as_slice).unwrap_or_default()
}

/// The mean over a set's languages.
fn average(files: &[FileScore], of: impl Fn(&FileScore) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = files.iter().map(of).collect();
    values.filter(|values| !values.is_empty()).map(|values| Spread::of(values).mean)
}

/// Over seeds, where every one of them has it.
fn measured(
    models: &[&ModelResult],
    set: &str,
    of: impl Fn(&[FileScore]) -> Option<(f64, f64)>,
) -> Option<Measured> {
    let seeds: Option<Vec<(f64, f64)>> = models.iter().map(|model| of(files(model, set))).collect();
    seeds.map(|seeds| Measured::over(&seeds))
}

fn summary(models: &[&ModelResult], set: &str) -> SetSummary {
    let mut summary = SetSummary::default();
    let first = models.first().map(|model| files(model, set)).unwrap_or_default();
    let languages: Vec<Language> = first.iter().map(|file| file.context).collect();
    type Of = fn(&FileScore) -> Option<(f64, f64)>;
    let rules: [(&mut BTreeMap<String, Measured>, Of); 2] = [
        (&mut summary.scores, |file| Some((file.f1, file.em))),
        (&mut summary.squad, |file| file.squad_f1.zip(file.squad_em)),
    ];
    for (scores, of) in rules {
        for language in &languages {
            let own = measured(models, set, |files| {
                files.iter().find(|file| file.context == *language).and_then(of)
            });
            scores.extend(own.map(|own| (language.to_string(), own)));
        }
        let own = measured(models, set, |files| {
            let f1 = average(files, |file| of(file).map(|pair| pair.0))?;
            Some((f1, average(files, |file| of(file).map(|pair| pair.1))?))
        });
        scores.extend(own.map(|own| (AVERAGE.to_owned(), own)));
    }
    for k in first.iter().flat_map(|file| file.top_k.keys()) {
        let of = |file: &FileScore| file.top_k.get(k).copied();
        for language in &languages {
            let values = models.iter().filter_map(|model| {
                files(model, set).iter().find(|file| file.context == *language).and_then(of)
            });
            let own = summary.top_k.entry(language.to_string()).or_default();
            own.insert(k.clone(), Spread::of(values).mean);
        }
        let values = models.iter().filter_map(|model| average(files(model, set), of));
        let own = summary.top_k.entry(AVERAGE.into()).or_default();
        own.insert(k.clone(), Spread::of(values).mean);
    }
    for file in models.iter().flat_map(|model| files(model, set)) {
        let own = summary.boundary.entry(file.context.to_string()).or_default();
        *own = own.plus(&file.boundary);
    }
    summary
}

/// Two-sided 97.5 % points of Student's t by degrees of freedom, from 1.
const STUDENT: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

fn difference(own: &[&ModelResult], control: &[&ModelResult], set: &str) -> Option<Difference> {
    let em = |model: &&ModelResult| average(files(model, set), |file| Some(file.em));
    let pairs = own.iter().zip(control).map(|(own, control)| Some(em(own)? - em(control)?));
    let differences: Vec<f64> = pairs.collect::<Option<_>>()?;
    let Spread { mean, sd } = Spread::of(differences.iter().copied());
    let student = STUDENT.get(differences.len().checked_sub(2).unwrap_or(usize::MAX));
    let half_width =
        sd.zip(student).map(|(sd, student)| student * sd / (differences.len() as f64).sqrt());
    Some(Difference { mean, sd, half_width })
}

fn write_matrices(
    folder: &Path,
    arm: &str,
    title: &str,
    set: &str,
    models: &[&ModelResult],
) -> Result<()> {
    let title = format!("{title}, {set}");
    let mut seeds: Vec<Matrix> = Vec::new();
    for model in models {
        let mut matrix = Matrix::new(&title);
        for file in files(model, set) {
            let (f1, em, questions) = (file.f1, file.em, file.questions);
            let cell = Cell { f1, em, questions, f1_sd: None, em_sd: None };
            matrix.insert(file.context, file.question, cell);
        }
        seeds.push(matrix);
    }
    let all = match seeds.len() {
        1 => seeds.remove(0),
        _ => Matrix::over_seeds(title, &seeds),
    };
    Ok(all.write(folder.join("matrix").join(arm).join(set))?)
}

fn tables(names: &[&str], arms: &BTreeMap<String, ArmSummary>) -> Result<String> {
    let rows: Vec<&ArmSummary> = names.iter().filter_map(|name| arms.get(*name)).collect();
    let first = rows.first().context("no arm was run")?;
    let mut text = String::new();
    for set in first.sets.keys() {
        let own: Vec<(&str, &SetSummary)> =
            rows.iter().filter_map(|arm| Some((arm.title.as_str(), arm.sets.get(set)?))).collect();
        scores(&mut text, &format!("{set}, F1 / EM"), &own, |set| &set.scores);
        if own.iter().any(|(_, set)| !set.squad.is_empty()) {
            let heading = format!("{set}, F1 / EM under SQuAD's English normalisation");
            scores(&mut text, &heading, &own, |set| &set.squad);
        }
        differences(&mut text, set, &own);
        top_k(&mut text, set, &own);
        let _ = write!(text, "\n### {set}, boundaries, all seeds\n\n");
        let counts: Vec<(&str, BTreeMap<Language, BoundaryCounts>)> = own
            .iter()
            .map(|(title, set)| {
                let own = set.boundary.iter();
                let own = own.filter_map(|(code, counts)| Some((code.parse().ok()?, *counts)));
                (*title, own.collect())
            })
            .collect();
        let counts: Vec<_> = counts.iter().map(|(title, own)| (*title, own)).collect();
        text.push_str(&boundary_table(&counts));
    }
    for arm in rows {
        if let Some(z) = &arm.candidates {
            let _ = write!(
                text,
                "\n{}: {} candidates of {} windows (first seed); gold among the reader's own in {}, first in {}; one boundary right \
                 {}, none {}; gold's words elsewhere {}.\n",
                arm.title,
                z.candidates,
                z.windows,
                z.gold_listed,
                z.gold_first,
                z.one_boundary,
                z.no_boundary,
                z.duplicate_text
            );
        }
        if let Some(weights) = &arm.weights {
            let weights: Vec<String> = weights.iter().map(|own| format!("{own:.3}")).collect();
            let _ = writeln!(text, "Learned weights by slot: {}.", weights.join(" "));
        }
    }
    Ok(text)
}

fn scores(
    text: &mut String,
    heading: &str,
    rows: &[(&str, &SetSummary)],
    of: fn(&SetSummary) -> &BTreeMap<String, Measured>,
) {
    let columns = columns(rows, of);
    let _ = write!(text, "\n### {heading}\n\n| |");
    for column in &columns {
        let _ = write!(text, " {column} |");
    }
    let _ = write!(text, "\n|---|{}", "---:|".repeat(columns.len()));
    let number = |value: f64, sd: Option<f64>| match sd {
        Some(sd) => format!("{value:.1} ± {sd:.1}"),
        None => format!("{value:.1}"),
    };
    for (title, set) in rows {
        let _ = write!(text, "\n| {title} |");
        for column in &columns {
            let cell = of(set).get(column.as_str()).map_or("–".to_owned(), |own| {
                format!("{} / {}", number(own.f1, own.f1_sd), number(own.em, own.em_sd))
            });
            let _ = write!(text, " {cell} |");
        }
    }
    text.push('\n');
}

/// Languages in the order of tables, then the average.
fn columns<T>(
    rows: &[(&str, &SetSummary)],
    of: fn(&SetSummary) -> &BTreeMap<String, T>,
) -> Vec<String> {
    let names = || rows.iter().flat_map(|(_, set)| of(set).keys());
    let languages: BTreeSet<TableOrder> = names()
        .filter(|name| *name != AVERAGE)
        .filter_map(|name| name.parse().ok().map(TableOrder))
        .collect();
    let average = names().find(|name| *name == AVERAGE).cloned();
    languages.into_iter().map(|language| language.to_string()).chain(average).collect()
}

fn differences(text: &mut String, set: &str, rows: &[(&str, &SetSummary)]) {
    for (title, own) in rows {
        let Some(Difference { mean, sd, half_width }) = &own.difference else { continue };
        let _ = write!(
            text,
            "\n{set}: {title} minus the control, EM averaged over languages: {mean:+.2}"
        );
        if let (Some(sd), Some(half)) = (sd, half_width) {
            let _ = write!(
                text,
                " ± {sd:.2} over seeds, 95 % interval {:+.2} to {:+.2}",
                mean - half,
                mean + half
            );
        }
        text.push_str(".\n");
    }
}

fn top_k(text: &mut String, set: &str, rows: &[(&str, &SetSummary)]) {
    let columns = columns(rows, |set| &set.top_k);
    let _ = write!(text, "\n### {set}, EM within the k best answers\n\n| | k |");
    for column in &columns {
        let _ = write!(text, " {column} |");
    }
    let _ = write!(text, "\n|---|---:|{}", "---:|".repeat(columns.len()));
    for (title, own) in rows {
        let first = own.top_k.values().next();
        let mut ks: Vec<&String> = first.map(|own| own.keys().collect()).unwrap_or_default();
        ks.sort_by_key(|k| k.parse::<usize>().ok());
        for k in ks {
            let _ = write!(text, "\n| {title} | {k} |");
            for column in &columns {
                let cell = own.top_k.get(column.as_str()).and_then(|own| own.get(k));
                let _ =
                    write!(text, " {} |", cell.map_or("–".to_owned(), |own| format!("{own:.1}")));
            }
        }
    }
    text.push('\n');
}
