//! What the arms showed, as the paper's tables have it.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use examples::results::{write_json, write_text};
use mlqa_eval::Spread;
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::RetrievalScore;

use crate::recipe::Recipe;

/// What one model showed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ArmResult {
    /// XEP about entities that were trained, in language pairs that were too.
    pub xep_seen: Option<Score>,
    /// XEP about entities that were trained, in language pairs that were not.
    pub xep: Option<Score>,
    /// XEP about entities that were not trained.
    pub xep_new: Option<Score>,
    /// XOR over facts that were not trained.
    pub xor: Option<Score>,
    /// Tokens of pre-training, padding left out.
    pub tokens: u64,
    /// Mean losses of the last line of metrics.
    pub final_loss: f64,
    /// Seconds of training and evaluation.
    pub seconds: f64,
}

/// A probe's numbers, in percent but `mrr`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Score {
    /// Share of queries whose first candidate is right.
    pub accuracy: f64,
    /// Share with the right one among ten.
    pub hits_at_10: f64,
    /// Mean of 1 / rank.
    pub mrr: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Queries.
    pub queries: usize,
    /// Candidates.
    pub candidates: usize,
    /// Accuracy by language of the query.
    pub languages: BTreeMap<String, f64>,
    /// Accuracy by pair of languages, `query-candidate`.
    pub pairs: BTreeMap<String, f64>,
}

impl From<&RetrievalScore> for Score {
    fn from(score: &RetrievalScore) -> Self {
        let pair = |pair: &transfer_eval::retrieval::PairScore| {
            (format!("{}-{}", pair.query, pair.candidate), pair.ranks.accuracy)
        };
        let language = |(name, own): (&String, &transfer_eval::retrieval::RankSummary)| {
            (name.clone(), own.accuracy)
        };
        Self {
            accuracy: score.all.accuracy,
            hits_at_10: score.all.hits_at_10,
            mrr: score.all.mrr,
            chance: score.chance,
            queries: score.all.queries,
            candidates: score.candidates,
            languages: score.languages.iter().map(language).collect(),
            pairs: score.pairs.iter().map(pair).collect(),
        }
    }
}

/// A probe over all seeds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Summary {
    accuracy: Spread,
    hits_at_10: Spread,
    mrr: Spread,
    chance: f64,
    queries: usize,
    candidates: usize,
    languages: BTreeMap<String, Spread>,
}

/// Of all seeds' scores; none if a seed lacks it.
fn summary(scores: &[Option<&Score>]) -> Option<Summary> {
    let scores: Vec<&Score> = scores.iter().copied().collect::<Option<_>>()?;
    let first = scores.first()?;
    let over = |of: fn(&Score) -> f64| Spread::of(scores.iter().map(|score| of(score)));
    let languages = first.languages.keys().map(|language| {
        let values = scores.iter().filter_map(|score| score.languages.get(language).copied());
        (language.clone(), Spread::of(values))
    });
    Some(Summary {
        accuracy: over(|score| score.accuracy),
        hits_at_10: over(|score| score.hits_at_10),
        mrr: over(|score| score.mrr),
        chance: first.chance,
        queries: first.queries,
        candidates: first.candidates,
        languages: languages.collect(),
    })
}

#[derive(Serialize)]
struct Arm {
    title: String,
    xep_seen: Option<Summary>,
    xep: Option<Summary>,
    xep_new: Option<Summary>,
    xor: Option<Summary>,
    tokens: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct File<'a> {
    seeds: &'a [u64],
    guesses: Vec<Arm>,
    arms: BTreeMap<String, Arm>,
}

/// Writes `summary.json` and `table.md`, and returns the latter.
pub fn write(
    recipe: &Recipe,
    folder: &Path,
    guesses: &[(&str, ArmResult)],
    results: &[(u64, String, ArmResult)],
) -> Result<String> {
    let guesses: Vec<Arm> =
        guesses.iter().map(|(title, own)| arm((*title).into(), &[own])).collect();
    let mut arms = BTreeMap::new();
    for name in &recipe.run_arms {
        let own: Vec<&ArmResult> =
            results.iter().filter(|(_, of, _)| of == name).map(|(_, _, result)| result).collect();
        let title = recipe.arms.get(name).and_then(|arm| arm.title.clone());
        arms.insert(name.clone(), arm(title.unwrap_or_else(|| name.clone()), &own));
    }
    let text = table(recipe, &guesses, &arms).context("no arm was run")?;
    write_json(&folder.join("summary.json"), &File { seeds: &recipe.seeds, guesses, arms })?;
    write_text(&folder.join("table.md"), &text)?;
    Ok(text)
}

/// One arm over its seeds.
fn arm(title: String, own: &[&ArmResult]) -> Arm {
    let over = |of: fn(&ArmResult) -> Option<&Score>| {
        summary(&own.iter().map(|result| of(result)).collect::<Vec<_>>())
    };
    Arm {
        title,
        xep_seen: over(|result| result.xep_seen.as_ref()),
        xep: over(|result| result.xep.as_ref()),
        xep_new: over(|result| result.xep_new.as_ref()),
        xor: over(|result| result.xor.as_ref()),
        tokens: own.iter().map(|result| result.tokens).sum::<u64>() / own.len().max(1) as u64,
        seconds: Spread::of(own.iter().map(|result| result.seconds)).mean,
    }
}

fn table(recipe: &Recipe, guesses: &[Arm], arms: &BTreeMap<String, Arm>) -> Option<String> {
    let trained = recipe.run_arms.iter().filter_map(|name| arms.get(name));
    let rows: Vec<&Arm> = guesses.iter().chain(trained).collect();
    let seen = |arm: &&&Arm| arm.xep_seen.is_some();
    let first = rows.iter().find(seen).and_then(|arm| arm.xep_seen.as_ref());
    let languages: Vec<&String> = first.map(|own| own.languages.keys().collect())?;
    let mut text = String::from("| accuracy, % | XEP |");
    for language in &languages {
        text.push_str(&format!(" {language} |"));
    }
    text.push_str(
        " hits@10 | XEP, new pairs | hits@10 | XEP, new entities | XOR | hits@10 |\n|---|---:|",
    );
    text.push_str(&"---:|".repeat(languages.len() + 6));
    let none = || "–".to_owned();
    let accuracy = |of: &Option<Summary>| of.as_ref().map_or_else(none, |own| own.accuracy.text(1));
    let hits = |of: &Option<Summary>| of.as_ref().map_or_else(none, |own| own.hits_at_10.text(1));
    for arm in &rows {
        text.push_str(&format!("\n| {} | {} |", arm.title, accuracy(&arm.xep_seen)));
        for language in &languages {
            let own = arm.xep_seen.as_ref().and_then(|xep| xep.languages.get(*language));
            text.push_str(&format!(" {} |", own.map_or_else(none, |own| own.text(1))));
        }
        text.push_str(&format!(
            " {} | {} | {} | {} | {} | {} |",
            hits(&arm.xep_seen),
            accuracy(&arm.xep),
            hits(&arm.xep),
            accuracy(&arm.xep_new),
            accuracy(&arm.xor),
            hits(&arm.xor)
        ));
    }
    let about = |name: &str, of: fn(&Arm) -> &Option<Summary>| {
        rows.iter().find_map(|arm| of(arm).as_ref()).map_or_else(String::new, |own| {
            format!(
                "{name}: {} queries, {} candidates, chance {:.2} %. ",
                own.queries, own.candidates, own.chance
            )
        })
    };
    let notes = [
        about("XEP, mentions in held-out texts", |arm| &arm.xep_seen),
        about("New pairs, the same in pairs of languages that were not trained", |arm| &arm.xep),
        about("New entities", |arm| &arm.xep_new),
        about("XOR, held-out facts", |arm| &arm.xor),
    ];
    text.push_str(&format!("\n\n{}\n", notes.concat().trim_end()));
    Some(text)
}
