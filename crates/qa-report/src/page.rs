//! The HTML page of a report.
use std::fmt::Write;

use serde::Serialize;

use crate::browser::QuestionBrowser;
use crate::collect::PairScores;
use crate::svg::Svg;
use crate::table::Table;
use crate::text::{escape, escape_script_json, thousands, with_unit};
use crate::{Report, draw, groups, report_tables};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// SHA-256 of [`SCRIPT`]. The page's content security policy allows only this script, and no
/// external resources.
const SCRIPT_HASH: &str = "nS2hYBgFbr3GJMINxVl3VDovOBFRi4/Upnpo3Uf6k9g=";

/// A section of the page: anchor, heading and content.
struct Section {
    anchor: &'static str,
    title: &'static str,
    body: String,
}

pub(crate) fn html(report: &Report) -> String {
    let sections = sections(report);
    let link = |section: &Section| format!("<a href=\"#{}\">{}</a>", section.anchor, section.title);
    let section = |Section { anchor, title, body }: &Section| {
        format!("<section id=\"{anchor}\">\n<h2>{title}</h2>\n{body}</section>\n")
    };
    let data = match report.all.browser.num_shown() {
        0 => String::new(),
        _ => {
            let json = browser_json(report);
            format!("<script type=\"application/json\" id=\"data\">{json}</script>\n")
        }
    };
    format!(
        include_str!("page.html"),
        hash = SCRIPT_HASH,
        version = env!("CARGO_PKG_VERSION"),
        title = escape(&report.title),
        style = STYLE,
        findings = findings(report),
        facts = facts(report),
        links = sections.iter().map(link).collect::<String>(),
        sections = sections.iter().map(section).collect::<String>(),
        data = data,
        script = SCRIPT
    )
}

fn findings(report: &Report) -> String {
    let paragraph = |text: String| format!("<p class=\"finding\">{}</p>\n", escape(&text));
    report.findings().into_iter().map(paragraph).collect()
}

/// Returns the HTML of the setup: runs, data and programs.
fn setup(report: &Report) -> String {
    let setup = &report.setup;
    let mut out = String::from("<dl>");
    for (name, fact) in &setup.facts {
        let lines: Vec<String> = fact.lines().map(escape).collect();
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", lines.join("<br>"));
    }
    out.push_str("</dl>\n");
    let tables: String = setup.tables().into_iter().map(collapsed_table).collect();
    // The first table describes the runs, so it is expanded.
    out.push_str(&tables.replacen("<details>", "<details open>", 1));
    for recipe in &setup.recipes {
        let lines: Vec<String> = recipe.lines().map(escape).collect();
        let recipe = lines.join("\n");
        let _ = writeln!(
            out,
            "<details><summary>Recipe with all effective keys</summary>\n<pre>{recipe}</pre></details>"
        );
    }
    out
}

/// Returns one line with the number of runs, of pairs and of questions, and with the scoring rules.
fn facts(report: &Report) -> String {
    let all = &report.all;
    let mut facts = vec![with_unit(all.names.len(), "run", "runs")];
    facts.push(with_unit(all.pairs.len(), "pair of languages", "pairs of languages"));
    let questions: usize = all.pairs.iter().map(|scores| scores.questions).sum();
    if questions > 0 {
        facts.push(with_unit(questions, "question", "questions"));
    }
    let unscored: usize = all.pairs.iter().map(|scores| scores.without_gold).sum();
    if unscored > 0 {
        facts.push(format!("{} without a gold answer skipped", thousands(unscored)));
    }
    if !all.question_scores.is_empty() {
        let is_squad = |scores: &PairScores| scores.squad_rules;
        let rules = match (all.pairs.iter().all(is_squad), all.pairs.iter().any(is_squad)) {
            (true, _) => "SQuAD's English rules",
            (false, true) => "the rules of each set: MLQA's or SQuAD's English rules",
            (false, false) => "MLQA's rules",
        };
        facts.push(rules.to_owned());
    }
    facts.join(" · ")
}

fn sections(report: &Report) -> Vec<Section> {
    let resampling = &report.resampling;
    let all = &report.all;
    let mut sections = Vec::new();
    let mut add = |anchor, title, body: String| {
        if !body.is_empty() {
            sections.push(Section { anchor, title, body });
        }
    };
    add("run", "Setup", setup(report));
    let summary = report_tables::summary(all, &report.means, resampling);
    add("runs", "Runs", summary.html() + &figures(&draw::run_means(report)));
    add("scores", "Scores by language", scores(report));
    let differences = report_tables::differences(all, &report.differences, resampling);
    let body = figures(&draw::differences(report)) + &collapsed_table(&differences);
    let title = format!("{}.", escape(&differences.title));
    add("differences", "Differences", with_explanation(&title, body));
    let groups = groups::tables(all, &report.groups, resampling);
    add("groups", "Scores by key", groups.iter().map(group_table).collect());
    let drawing = figures(draw::boundaries(all).as_slice());
    let body = drawing + &collapsed_table(&report_tables::boundaries(all));
    let body = match report.means.iter().any(|mean| mean.percent_not_in_context > Some(0.0)) {
        true => with_explanation("Answers that do not occur in their contexts are disjoint.", body),
        false => body,
    };
    add("boundaries", "Boundaries", body);
    let has_several_seeds = all.seed_counts.iter().any(|&count| count > 1);
    add("browse", "Questions", browser(&all.browser, has_several_seeds));
    let note = "One line per seed of a run. Learning rates, gradient norms and speeds are in the \
                 folder of each stage.";
    add("curves", "Training curves", with_explanation(note, figures(&report.curve_drawings())));
    sections
}

/// Inserts an explanatory sentence before `body`; empty if `body` is empty.
fn with_explanation(sentence: &str, body: String) -> String {
    match body.is_empty() {
        true => body,
        false => format!("<p class=\"soft\">{sentence}</p>\n{body}"),
    }
}

fn scores(report: &Report) -> String {
    let drawings: Vec<Svg> = report.heat_maps.iter().map(draw::heat_map).collect();
    let sentence = "Row: language of context and answer, or run. Column: language of the question. \
                    Framed: context and question in one language.";
    with_explanation(
        sentence,
        figures(&drawings) + &collapsed_table(&report_tables::scores(&report.all)),
    )
}

/// Returns the HTML of a collapsed table; empty if the table has no rows.
fn collapsed_table(table: &Table) -> String {
    match table.rows.is_empty() {
        true => String::new(),
        false => format!(
            "<details><summary>{}: table</summary>\n{}</details>\n",
            escape(&table.title),
            table.html()
        ),
    }
}

fn group_table(table: &Table) -> String {
    with_explanation(&format!("{}.", escape(&table.title)), table.html())
}

fn figures(drawings: &[Svg]) -> String {
    if drawings.is_empty() {
        return String::new();
    }
    let figure = |drawing: &Svg| {
        let drawing = drawing.inline();
        format!("<figure><div class=\"wide\" tabindex=\"0\">\n{drawing}</div></figure>\n")
    };
    let figures: String = drawings.iter().map(figure).collect();
    format!("<div class=\"figures\">\n{figures}</div>\n")
}

fn browser(browser: &QuestionBrowser, has_several_seeds: bool) -> String {
    let (shown, total) = (browser.num_shown(), browser.num_questions());
    if shown == 0 {
        return String::new();
    }
    let selection = match shown == total {
        true => format!("All {} questions", thousands(total)),
        false => format!(
            "{} of {} questions; questions that a run answers incorrectly take precedence",
            thousands(shown),
            thousands(total)
        ),
    };
    let seeds = if has_several_seeds { "; answers of the first seed" } else { "" };
    format!(
        "<p class=\"soft\">{selection}{seeds}.</p>\n<p \
         class=\"legend\"><span><mark class=\"gold\">gold answer</mark></span><span><mark \
         class=\"pred\">the run's answer</mark></span><span><mark class=\"gold pred\">both</mark>\
         </span></p>\n<div id=\"questions\"></div>\n<noscript><p>The questions are shown by \
         JavaScript.</p></noscript>\n"
    )
}

/// Returns the JSON input of the script.
fn browser_json(report: &Report) -> String {
    #[derive(Serialize)]
    struct Data<'a> {
        runs: &'a [String],
        #[serde(flatten)]
        browser: &'a QuestionBrowser,
    }
    let data = Data { runs: &report.all.names, browser: &report.all.browser };
    let json = serde_json::to_string(&data).expect("maps with text keys are valid JSON");
    escape_script_json(&json)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn content_security_policy_has_the_hash_of_the_script() {
        assert_eq!(BASE64.encode(Sha256::digest(SCRIPT)), SCRIPT_HASH);
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }
}
