//! Markdown tables of several runs on one evaluation set.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use results::{AVERAGE, ScoreMeans, Table, cell};

use crate::metric::format_boundary_table;
use crate::{BoundaryCounts, Language, SetSummary, TableLanguage};

/// Formats all tables of an evaluation set. All headings begin with the set's name.
///
/// The tables show F1 and exact match (also under SQuAD's normalisation, if reported), differences
/// from the control run, exact match within the k best answers, and the number of predicted spans
/// per boundary class ([`BoundaryCounts`]). `runs` are pairs of a run's title and summary.
///
/// ```
/// use mlqa_eval::{FileScore, SetSummary, set_tables};
///
/// let summary = SetSummary::over_seeds(&[Vec::<FileScore>::new()]);
/// let text = set_tables("mlqa", &[("base", &summary)]);
/// assert!(text.starts_with("\n### mlqa, F1 / EM\n"));
/// // Without exact match within the k best answers, its table is omitted.
/// assert!(!text.contains("best answers"));
/// ```
pub fn set_tables(set: &str, runs: &[(&str, &SetSummary)]) -> String {
    let mut text = format_score_table(&format!("{set}, F1 / EM"), runs, |run| &run.scores);
    if runs.iter().any(|(_, run)| !run.squad.is_empty()) {
        let heading = format!("{set}, F1 / EM under SQuAD's English normalisation");
        text.push_str(&format_score_table(&heading, runs, |run| &run.squad));
    }
    for (title, run) in runs {
        if let Some(difference) = &run.difference {
            let description = "minus the control, EM averaged over languages";
            let _ = writeln!(text, "\n{set}: {title} {description}: {difference:+.2}.");
        }
    }
    if runs.iter().any(|(_, run)| !run.top_k.is_empty()) {
        text.push_str(&format_top_k_table(&format!("{set}, EM within the k best answers"), runs));
    }
    let counts_by_language = |run: &SetSummary| -> BTreeMap<Language, BoundaryCounts> {
        // The average over languages is no language.
        let by_code = run.boundary.iter();
        by_code.filter_map(|(code, counts)| Some((code.parse().ok()?, *counts))).collect()
    };
    let counts: Vec<_> =
        runs.iter().map(|(title, run)| (*title, counts_by_language(run))).collect();
    let _ =
        write!(text, "\n### {set}, boundaries, all seeds\n\n{}", format_boundary_table(&counts));
    text
}

fn format_score_table(
    heading: &str,
    runs: &[(&str, &SetSummary)],
    scores: fn(&SetSummary) -> &BTreeMap<String, ScoreMeans>,
) -> String {
    let columns = order_columns(runs.iter().flat_map(|(_, run)| scores(run).keys()));
    let mut table = Table::new("", &columns);
    for (title, run) in runs {
        table.add_row(*title, columns.iter().map(|column| cell(scores(run).get(column))));
    }
    format!("\n### {heading}\n\n{table}")
}

fn format_top_k_table(heading: &str, runs: &[(&str, &SetSummary)]) -> String {
    let columns = order_columns(runs.iter().flat_map(|(_, run)| run.top_k.keys()));
    let mut table = Table::new("", std::iter::once("k".to_owned()).chain(columns.iter().cloned()));
    for (title, run) in runs {
        let ks = run.top_k.values().flat_map(BTreeMap::keys);
        let sorted: BTreeSet<(Option<usize>, &String)> = ks.map(|k| (k.parse().ok(), k)).collect();
        for (_, k) in sorted {
            let em = |column| run.top_k.get(column)?.get(k).map(|em| format!("{em:.1}"));
            table.add_row(
                *title,
                std::iter::once(k.clone()).chain(columns.iter().map(em).map(cell)),
            );
        }
    }
    format!("\n### {heading}\n\n{table}")
}

/// Returns the columns: languages in the order of [`TableLanguage`], then the average.
fn order_columns<'a>(codes: impl Iterator<Item = &'a String> + Clone) -> Vec<String> {
    let languages = codes.clone().filter(|code| *code != AVERAGE);
    let languages: BTreeSet<TableLanguage> =
        languages.filter_map(|code| code.parse().ok().map(TableLanguage)).collect();
    let average = codes.into_iter().find(|code| *code == AVERAGE).cloned();
    languages.into_iter().map(|language| language.0.to_string()).chain(average).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileScore;

    fn file(context: Language, em: f64, squad: Option<f64>) -> FileScore {
        FileScore {
            context,
            question: context,
            questions: 4,
            f1: em + 10.0,
            em,
            squad_f1: squad,
            squad_em: squad,
            top_k: [("1".to_owned(), em), ("10".to_owned(), 90.0), ("3".to_owned(), 80.0)].into(),
            boundary: BoundaryCounts { exact: 1, disjoint: 3, ..Default::default() },
        }
    }

    #[test]
    fn tables_have_the_languages_in_order_and_a_row_for_each_run() {
        let seeds = |em| {
            let seed_files = |em| [file(Language::ES, em, None), file(Language::EN, em, Some(5.0))];
            [seed_files(em), seed_files(em + 2.0)]
        };
        let control = SetSummary::over_seeds(&seeds(20.0));
        let better =
            SetSummary::over_seeds(&seeds(30.0)).with_difference(&seeds(30.0), &seeds(20.0));
        let text = set_tables("xquad", &[("plain", &control), ("a|b", &better)]);
        for piece in [
            "\n### xquad, F1 / EM\n\n| | en | es | average |\n|---|---:|---:|---:|\n| plain | 31.0 ± 12.7 / 21.0 ± 12.7 |",
            "\n### xquad, F1 / EM under SQuAD's English normalisation\n\n| | en |\n|---|---:|\n",
            "\nxquad: a|b minus the control, EM averaged over languages: +10.00 ± 0.00.\n",
            "| | k | en | es | average |\n|---|---:|---:|---:|---:|\n| plain | 1 | 21.0 | 21.0 | 21.0 |\n| plain | 3 |",
            "| a\\|b | 10 | 90.0 |",
            "\n### xquad, boundaries, all seeds\n\n| language | run |",
            "| en | plain | 8 | 2 (25.0) | 0 (0.0) | 0 (0.0) | 0 (0.0) | 6 (75.0) | 0 (0.0) |\n| en | a\\|b |",
            "| all | a\\|b | 16 | 4 (25.0) |",
        ] {
            assert!(text.contains(piece), "no {piece:?} in:\n{text}");
        }
        assert!(!text.contains("plain minus"));
    }
}
