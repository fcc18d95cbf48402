//! The tables and the figure of claims in `docs/results`. They show the claims of
//! `examples/claims.toml`, the results of stored runs, and verdicts by the rules in the comments of
//! that file.
mod comparison;
mod plot;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use comparison::{Comparison, EffectRange, Verdict};
use results::{MISSING, Measured, Table};
use serde::Deserialize;

/// The file with the claims.
const CLAIMS: &str = "examples/claims.toml";
/// The verdict on a claim whose run is not stored.
const NOT_RUN: &str = "not run";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    paper: String,
    claim: String,
    control: String,
    data: String,
    /// The encoder that the run starts from.
    encoder: String,
    /// `RECIPE/NAME` for `examples/RECIPE/results/NAME.jsonl`.
    run: String,
    number: ResultKey,
    /// Names of the claim's model and of the control.
    models: [String; 2],
    /// The control's setting, if it differs from the setting of the claim's model.
    control_setting: Option<String>,
    /// The control's run, if it differs from `run`: the same data and seeds with other settings.
    control_run: Option<String>,
    /// Names of two models whose trainings differ only in the order of examples.
    placebo: Option<[String; 2]>,
    /// Marks a main claim of the paper: a sentence on why it holds here or not.
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultKey {
    setting: String,
    language: String,
    metric: String,
}

impl Claim {
    fn control_run(&self) -> &String {
        self.control_run.as_ref().unwrap_or(&self.run)
    }
}

/// The results of stored runs by `RECIPE/NAME`; empty for a run that is not stored.
type Runs = BTreeMap<String, Vec<Measured>>;

/// Reads the claims and the results of their runs.
fn read_claims(root: &Path) -> Result<(Vec<Claim>, Runs)> {
    let text = crate::files::read(&root.join(CLAIMS))?;
    let Claims { claims } = toml::from_str(&text).with_context(|| CLAIMS.to_owned())?;
    let mut runs = Runs::new();
    for run in claims.iter().flat_map(|claim| [&claim.run, claim.control_run()]) {
        let (recipe, name) = run.split_once('/').context("run: expected RECIPE/NAME")?;
        let path = root.join("examples").join(recipe).join("results").join(format!("{name}.jsonl"));
        if !runs.contains_key(run) {
            let numbers = if path.exists() { Measured::read(&path)? } else { Vec::new() };
            runs.insert(run.clone(), numbers);
        }
    }
    Ok((claims, runs))
}

/// Formats the number of claims with each verdict, with a row for each paper and one for all.
pub fn format_verdicts(root: &Path) -> Result<String> {
    const COLUMNS: [&str; 5] = ["claims", "shown", "contradicted here", "not shown", "no verdict"];
    const VERDICTS: [Verdict; 3] = [Verdict::Shown, Verdict::Contradicted, Verdict::NotShown];
    let (claims, runs) = read_claims(root)?;
    let mut table = Table::new("paper", COLUMNS);
    let mut add_row = |name: &str, claims: &[Claim]| -> Result<()> {
        let verdicts = claims.iter().map(|claim| Ok(outcome(claim, &runs)?.verdict));
        let verdicts = verdicts.collect::<Result<Vec<_>>>()?;
        let count = |verdict| verdicts.iter().filter(|one| **one == Some(verdict)).count();
        let decided = VERDICTS.map(count);
        let undecided = claims.len() - decided.iter().sum::<usize>();
        let counts = [claims.len()].into_iter().chain(decided).chain([undecided]);
        table.add_row(name, counts.map(|count| count.to_string()));
        Ok(())
    };
    for paper in claims.chunk_by(|one, next| one.paper == next.paper) {
        add_row(&paper[0].paper, paper)?;
    }
    add_row("all", &claims)?;
    Ok(table.to_string())
}

/// Formats the main claims: for each paper a heading, a table, and the reasons for the results.
pub fn format_main_claims(root: &Path) -> Result<String> {
    let (claims, runs) = read_claims(root)?;
    let mut text = String::new();
    for paper in claims.chunk_by(|one, next| one.paper == next.paper) {
        let main_claims: Vec<&Claim> = paper.iter().filter(|one| one.reason.is_some()).collect();
        let name = &paper[0].paper;
        ensure!(!main_claims.is_empty(), "{CLAIMS}: {name}: no claim has a `reason`");
        text += &format!("### {name}\n\n{}\n", claims_table(&main_claims, &runs, true)?);
        for reason in main_claims.iter().filter_map(|one| one.reason.as_ref()) {
            text += &format!("- {}\n", reason.trim().replace('\n', "\n  "));
        }
        text += "\n";
    }
    Ok(text)
}

/// Formats all other claims: a heading for each paper, and a table for each encoder. Claims of one
/// paper and encoder are consecutive in the file.
pub fn format_other_claims(root: &Path) -> Result<String> {
    let (claims, runs) = read_claims(root)?;
    let claims: Vec<Claim> = claims.into_iter().filter(|one| one.reason.is_none()).collect();
    let mut text = String::new();
    for paper in claims.chunk_by(|one, next| one.paper == next.paper) {
        for (index, group) in paper.chunk_by(|one, next| one.encoder == next.encoder).enumerate() {
            let Claim { paper, encoder, .. } = &group[0];
            if index == 0 {
                text += &format!("## {paper}\n\n");
            }
            let group: Vec<&Claim> = group.iter().collect();
            text += &format!("Encoder: {encoder}\n\n{}\n", claims_table(&group, &runs, false)?);
        }
    }
    Ok(text)
}

/// Returns a table with a row for each claim.
fn claims_table(claims: &[&Claim], runs: &Runs, has_encoders: bool) -> Result<Table> {
    let measured_on =
        if has_encoders { "metric, setting; data; encoder" } else { "metric, setting; data" };
    let has_placebo = claims.iter().any(|claim| claim.placebo.is_some());
    let mut columns = vec!["control", measured_on, "effect", "95 % intervals"];
    columns.extend(has_placebo.then_some("placebo"));
    columns.push("verdict");
    let mut table = Table::new("claim", columns.iter().copied()).with_text_columns(&columns);
    for claim in claims {
        let Outcome { cells: [effect, intervals, placebo], verdict, .. } = outcome(claim, runs)?;
        let ResultKey { setting, metric, .. } = &claim.number;
        let mut measured_on = format!("{metric}, {setting}; {}", claim.data);
        if has_encoders {
            measured_on += &format!("; {}", claim.encoder);
        }
        let mut cells = vec![claim.control.clone(), measured_on, effect, intervals];
        cells.extend(has_placebo.then_some(placebo));
        cells.push(verdict.map_or(NOT_RUN, Verdict::name).to_owned());
        table.add_row(&claim.claim, cells);
    }
    Ok(table)
}

/// Draws the main claims as a forest plot.
pub fn draw_main_claims(root: &Path) -> Result<String> {
    let (claims, runs) = read_claims(root)?;
    let main_claims = claims.iter().filter(|one| one.reason.is_some());
    let rows = main_claims.map(|claim| {
        let Outcome { effect, verdict, .. } = outcome(claim, &runs)?;
        let Claim { paper, claim, encoder, .. } = claim;
        Ok(plot::Row { paper, claim, encoder, effect, verdict })
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    Ok(plot::draw("Effects of the papers' methods against their controls", &rows))
}

/// The result of a claim. A claim whose run is not stored has neither effect nor verdict.
struct Outcome {
    /// Cells of the table ([`Comparison::cells`]).
    cells: [String; 3],
    effect: Option<EffectRange>,
    verdict: Option<Verdict>,
}

/// Compares a claim's model with its control.
///
/// # Errors
/// If the stored results cannot be compared; the error names the claim.
fn outcome(claim: &Claim, runs: &Runs) -> Result<Outcome> {
    compare(claim, runs).with_context(|| format!("{CLAIMS}: {:?} of {}", claim.claim, claim.paper))
}

/// Finds the stored result with a claim's setting, language and metric.
fn find_result<'r>(
    runs: &'r Runs,
    run: &str,
    claim: &Claim,
    model: &str,
    setting: &str,
) -> Option<&'r Measured> {
    let key = [model, setting, &claim.number.language, &claim.number.metric];
    runs[run].iter().find(|result| {
        [&*result.model, &*result.setting, &*result.language, &*result.metric] == key
    })
}

/// Returns a claim's results; `None` if they are not stored.
fn find_comparison<'r>(claim: &Claim, runs: &'r Runs) -> Option<Comparison<'r>> {
    let [model, control] = &claim.models;
    let setting = &claim.number.setting;
    let control_setting = claim.control_setting.as_ref().unwrap_or(setting);
    Some(Comparison {
        number: find_result(runs, &claim.run, claim, model, setting)?,
        control: find_result(runs, claim.control_run(), claim, control, control_setting)?,
    })
}

fn compare(claim: &Claim, runs: &Runs) -> Result<Outcome> {
    let Some(comparison) = find_comparison(claim, runs) else {
        let cells = [MISSING; 3].map(str::to_owned);
        return Ok(Outcome { cells, effect: None, verdict: None });
    };
    let placebo = match &claim.placebo {
        None => None,
        Some(models) => {
            let setting = &claim.number.setting;
            let find = |model: &String| find_result(runs, &claim.run, claim, model, setting);
            let [first, second] = models.each_ref().map(find);
            let (number, control) = first
                .zip(second)
                .with_context(|| format!("placebo = {models:?}: not in the results of the run"))?;
            Some(Comparison { number, control })
        }
    };
    let (cells, verdict) = comparison.cells(placebo)?;
    let effect = Some(comparison.effect_and_range()?);
    Ok(Outcome { cells, effect, verdict: Some(verdict) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_claims_are_stored_or_are_arms() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let (claims, runs) = read_claims(root).unwrap();
        let text = format_main_claims(root).unwrap() + &format_other_claims(root).unwrap();
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let is_header = |row: &&str| row.starts_with("| claim |") || row.starts_with("|---");
        let rows: Vec<&str> = rows.filter(|row| !is_header(row)).collect();
        assert_eq!(rows.len(), claims.len());
        let main_claims = claims.iter().filter(|claim| claim.reason.is_some());
        let other_claims = claims.iter().filter(|claim| claim.reason.is_none());
        for (claim, row) in main_claims.chain(other_claims).zip(rows) {
            // A run may lack results for some arms, but the models of each claim must be arms of
            // the recipe.
            let [model, control] = &claim.models;
            let models = [(&claim.run, model), (claim.control_run(), control)];
            let is_stored = |(run, model): &(&String, &String)| {
                runs[*run].iter().any(|one| one.model == **model)
            };
            let stored = models.iter().all(is_stored);
            if !stored {
                let (recipe, _) = claim.run.split_once('/').unwrap();
                let folder = root.join("examples").join(recipe);
                let arms = |path: std::path::PathBuf| -> toml::Table {
                    let text = std::fs::read_to_string(path).unwrap();
                    let recipe: toml::Table = text.parse().unwrap();
                    let arms = recipe.get("arms").and_then(|arms| arms.as_table());
                    arms.map_or_else(toml::Table::new, Clone::clone)
                };
                let recipes = ["recipe.toml", "small.toml", "pretrained.toml"];
                let paths = recipes.iter().map(|name| folder.join(name));
                let arms: Vec<toml::Table> = paths.filter(|path| path.exists()).map(arms).collect();
                // Tables use an arm's title as its name, if it has one.
                let is_named = |(name, arm): (&String, &toml::Value), model: &String| {
                    name == model
                        || arm.get("title").and_then(|title| title.as_str()) == Some(model)
                };
                let is_arm = |model: &&String| {
                    arms.iter().flatten().any(|named_arm| is_named(named_arm, model))
                };
                let mut not_stored = models.iter().filter(|model| !is_stored(model));
                assert!(not_stored.all(|(_, model)| is_arm(model)), "{row}");
            }
            assert_eq!(stored, !row.ends_with("| not run |"), "{row}");
        }
    }

    #[test]
    fn claims_of_one_paper_and_encoder_are_consecutive() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = format_other_claims(root).unwrap();
        let mut headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        let count = headings.len();
        headings.sort_unstable();
        headings.dedup();
        assert_eq!(headings.len(), count, "a paper has two headings");
        for paper in text.split("## ") {
            let mut encoders: Vec<&str> =
                paper.lines().filter(|line| line.starts_with("Encoder: ")).collect();
            let count = encoders.len();
            encoders.sort_unstable();
            encoders.dedup();
            assert_eq!(encoders.len(), count, "{paper}: an encoder has two tables");
        }
    }
}
