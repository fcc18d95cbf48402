//! Typed LAMA queries in many languages, as in mLAMA. The candidates for a fact are all objects of
//! its relation. An object may have any number of pieces.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use tokenizers::Tokenizer;

use crate::error::check_counts;
use crate::files::json_lines;
use crate::lama::facts::{Relation, split_relation_template};
use crate::lama::score::{LamaScore, score_ranks};
use crate::tokens::{PieceEncoder, layout, layout_error};
use crate::{Error, Result};

/// One fact of mLAMA.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TypedFact {
    /// The key `uuid` in the file; the line number if the key is missing.
    #[serde(default, rename = "uuid")]
    pub id: String,
    /// Id of the subject.
    pub sub_uri: String,
    /// Id of the object.
    pub obj_uri: String,
    /// The subject's name.
    pub sub_label: String,
    /// The object's name.
    pub obj_label: String,
}

/// The facts of one relation in one language, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedFacts {
    /// The relation with its template.
    pub relation: Relation,
    /// The facts of the relation.
    pub facts: Vec<TypedFact>,
}

/// Reads one language of mLAMA: `templates.jsonl` and, for each relation, `<relation>.jsonl`.
/// Relations without a file are skipped.
///
/// # Errors
/// As for [`Relation::read`]; [`Error::Line`] naming a line that is not a fact; [`Error::Content`]
/// if no relation has a fact.
pub fn read_mlama(folder: impl AsRef<Path>) -> Result<Vec<TypedFacts>> {
    let folder = folder.as_ref();
    let expected = "a fact of mLAMA, with sub_uri, obj_uri, sub_label and obj_label";
    let mut relations = Vec::new();
    for relation in Relation::read(folder.join("templates.jsonl"))? {
        let path = folder.join(format!("{}.jsonl", relation.id));
        if !path.exists() {
            continue;
        }
        let rows: Vec<(usize, TypedFact)> = json_lines(&path, expected)?;
        let with_id = |(line, mut fact): (usize, TypedFact)| {
            if fact.id.is_empty() {
                fact.id = line.to_string();
            }
            fact
        };
        relations.push(TypedFacts { relation, facts: rows.into_iter().map(with_id).collect() });
    }
    if relations.iter().all(|relation| relation.facts.is_empty()) {
        return Err(Error::content(folder, "no fact of any relation"));
    }
    Ok(relations)
}

/// An input with a gap for an object: `<s> before … after </s>`, with the tokenizer's special
/// tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedCloze {
    /// The fact's id.
    pub id: String,
    /// Index of the relation in [`TypedClozes::relations`].
    pub relation: usize,
    /// Piece ids before the object, including the special token at the beginning, such as `<s>`.
    pub before: Vec<u32>,
    /// Piece ids after the object, including the special token at the end, such as `</s>`.
    pub after: Vec<u32>,
    /// Index of the object among the relation's candidates.
    pub gold: usize,
    /// Indices of other candidates that are correct, because the relation has several facts about
    /// the subject. These candidates are excluded from the ranking.
    pub other_correct: BTreeSet<usize>,
}

/// A relation and its distinct objects, which are the candidates of its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedRelation {
    /// The relation.
    pub relation: Relation,
    /// Piece ids of each object, distinct, in ascending order.
    pub candidates: Vec<Vec<u32>>,
}

/// Clozes with the candidates of their relations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedClozes {
    /// The relations, in the order of the facts.
    pub relations: Vec<TypedRelation>,
    /// The clozes, in the order of the relations and their facts.
    pub clozes: Vec<TypedCloze>,
    /// Id of the mask token. An object is represented by one mask per piece.
    pub mask: u32,
}

/// Converts facts to clozes. The candidates of a relation are the objects of all its facts.
///
/// Interpretation: the texts before and after the object and the object itself are tokenised
/// separately, so the first piece of an object has a space mark in XLM-R. For a tokenizer that
/// marks only actual spaces, a space is added before the object if the template has a space there.
///
/// # Errors
/// [`Error::Tokenizer`] if a special token is missing; [`Error::Mismatch`] naming a fact whose
/// object has no piece, or whose input exceeds `max_length` pieces when it contains the longest
/// candidate.
///
/// # Example
/// ```
/// use transfer_eval::lama::{Relation, TypedFact, TypedFacts, build_typed_clozes};
///
/// let fact = |country: &str, city: &str| TypedFact {
///     id: country.into(),
///     sub_uri: country.into(),
///     obj_uri: city.into(),
///     sub_label: country.into(),
///     obj_label: city.into(),
/// };
/// let template = Some("The capital of [X] is [Y] .".to_owned());
/// let relation = Relation { id: "P36".into(), template, kind: None };
/// let facts = vec![fact("France", "Paris"), fact("Germany", "Berlin")];
/// let tokenizer = tokenizers::Tokenizer::from_file("../testkit/fixtures/tokenizer.json").unwrap();
/// let built = build_typed_clozes(&[TypedFacts { relation, facts }], &tokenizer, 64)?;
/// assert_eq!((built.clozes.len(), built.relations[0].candidates.len()), (2, 2));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
pub fn build_typed_clozes(
    facts: &[TypedFacts],
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<TypedClozes> {
    let layout = layout(tokenizer)?;
    let mask = layout.mask().map_err(layout_error)?;
    let pieces = PieceEncoder::of(tokenizer)?;
    let mut built = TypedClozes { relations: Vec::new(), clozes: Vec::new(), mask };
    for TypedFacts { relation, facts } in facts {
        // An absent template is an error, like an empty one.
        let template = relation.template.as_deref().unwrap_or("");
        let (before, after) = split_relation_template(template)?;
        let spaced = before.ends_with(char::is_whitespace);
        let object = |fact: &TypedFact| match spaced {
            true => pieces.encode_after_space(fact.obj_label.trim_start()),
            false => pieces.encode(&fact.obj_label),
        };
        let objects = facts.iter().map(object).collect::<Result<Vec<_>>>()?;
        let candidates: Vec<Vec<u32>> =
            objects.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let max_pieces = candidates.iter().map(Vec::len).max().unwrap_or(0); // no facts
        let index =
            |object: &Vec<u32>| candidates.binary_search(object).expect("an object is a candidate");
        let mut objects_by_subject: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (fact, object) in facts.iter().zip(&objects) {
            objects_by_subject.entry(&fact.sub_uri).or_default().insert(index(object));
        }
        for (number, (fact, object)) in facts.iter().zip(&objects).enumerate() {
            let fact_error = |message: String| {
                let message = format!("{} of {}: {message}", fact.id, relation.id);
                Error::mismatch("fact", number, None, message)
            };
            if object.is_empty() {
                return Err(fact_error(format!("its object {:?} has no piece", fact.obj_label)));
            }
            let text = |part: &str| pieces.encode(&part.replace("[X]", &fact.sub_label));
            let before = [vec![layout.before()], text(before.trim_end())?].concat();
            let after = [text(after)?, vec![layout.after()]].concat();
            let length = before.len() + max_pieces + after.len();
            if length > max_length {
                return Err(fact_error(format!("{length} pieces, but the limit is {max_length}")));
            }
            let gold = index(object);
            let mut other_correct = objects_by_subject[fact.sub_uri.as_str()].clone();
            other_correct.remove(&gold);
            let (id, relation) = (fact.id.clone(), built.relations.len());
            built.clozes.push(TypedCloze { id, relation, before, after, gold, other_correct });
        }
        built.relations.push(TypedRelation { relation: relation.clone(), candidates });
    }
    Ok(built)
}

impl TypedClozes {
    /// The candidates of a cloze.
    ///
    /// # Panics
    /// If there is no relation with the cloze's index.
    pub fn candidates(&self, cloze: &TypedCloze) -> &[Vec<u32>] {
        &self.relations[cloze.relation].candidates
    }

    /// The id of a cloze's relation.
    ///
    /// # Panics
    /// If there is no relation with the cloze's index.
    pub fn relation_id(&self, cloze: &TypedCloze) -> &str {
        &self.relations[cloze.relation].relation.id
    }

    /// Returns the rank of a cloze's object, from 1, among its candidates sorted by score. The
    /// object is ranked after all candidates with the same score, so that constant scores are not
    /// rewarded.
    ///
    /// # Errors
    /// [`Error::Array`] if the numbers of scores and candidates differ, a score is NaN, or the object
    /// is not a candidate.
    ///
    /// # Panics
    /// If there is no relation with the cloze's index.
    pub fn rank(&self, cloze: &TypedCloze, scores: &[f32]) -> Result<usize> {
        let expected = self.candidates(cloze).len();
        let scores_error =
            |message: String| Error::array("scores", format!("{}: {message}", cloze.id));
        if scores.len() != expected {
            return Err(scores_error(format!("{} scores for {expected} candidates", scores.len())));
        }
        if let Some(number) = scores.iter().position(|score| score.is_nan()) {
            return Err(scores_error(format!("the score of candidate {number} is NaN")));
        }
        let gold = *scores.get(cloze.gold).ok_or_else(|| {
            scores_error(format!("{expected} candidates, but the object is number {}", cloze.gold))
        })?;
        let before = scores.iter().enumerate().filter(|(number, score)| {
            *number != cloze.gold && !cloze.other_correct.contains(number) && **score >= gold
        });
        Ok(1 + before.count())
    }

    /// Computes P@1 and P@10 by relation from one rank per cloze.
    ///
    /// # Errors
    /// [`Error::Count`] unless there is one rank per cloze; [`Error::Nothing`] without a cloze.
    pub fn score(&self, ranks: &[usize]) -> Result<LamaScore> {
        let id = |at: usize| self.clozes.get(at).map(|cloze| format!("`{}`", cloze.id));
        check_counts(("cloze", "clozes"), self.clozes.len(), ranks.len(), id)?;
        let relations: Vec<&Relation> = self.relations.iter().map(|one| &one.relation).collect();
        let rows = self.clozes.iter().zip(ranks).map(|(cloze, &rank)| (cloze.relation, Some(rank)));
        score_ranks(&relations, rows)
    }

    /// Returns P@1, in percent, of a uniform random baseline. The P@1 of a cloze is 1 / number of
    /// candidates; other correct answers are not counted as candidates. The result is the mean over
    /// relations.
    pub fn random_baseline(&self) -> f64 {
        self.most_frequent_baseline(&BTreeMap::new())
    }

    /// Returns P@1, in percent, of a frequency baseline that ignores the subject: it predicts the
    /// object that occurs in most facts of `trained` for the relation. The result is the mean over
    /// relations. If several objects are most frequent, the baseline predicts one of them at
    /// random, and its expected P@1 is returned. Other correct answers of a cloze are not
    /// predicted. Relations are matched by id, and objects by their piece ids.
    pub fn frequency_baseline(&self, trained: &Self) -> f64 {
        let mut counts: BTreeMap<(&str, &[u32]), usize> = BTreeMap::new();
        for cloze in &trained.clozes {
            let object = trained.candidates(cloze)[cloze.gold].as_slice();
            *counts.entry((trained.relation_id(cloze), object)).or_default() += 1;
        }
        self.most_frequent_baseline(&counts)
    }

    /// Returns the expected P@1, in percent, of a baseline that predicts the object with the
    /// largest count in the relation. Ties are broken at random.
    fn most_frequent_baseline(&self, counts: &BTreeMap<(&str, &[u32]), usize>) -> f64 {
        let mut sums = vec![(0.0, 0usize); self.relations.len()];
        for cloze in &self.clozes {
            let relation = self.relation_id(cloze);
            let choices = || {
                let candidates = self.candidates(cloze).iter().enumerate();
                let choices = candidates.filter(|(at, _)| !cloze.other_correct.contains(at));
                choices.map(|(at, ids)| (at, counts.get(&(relation, ids.as_slice()))))
            };
            let max_count = choices().map(|(_, count)| count).max();
            let predicted = || choices().filter(|(_, count)| Some(*count) == max_count);
            let is_correct = predicted().any(|(at, _)| at == cloze.gold);
            let (sum, count) = &mut sums[cloze.relation];
            *sum += if is_correct { 100.0 / predicted().count() as f64 } else { 0.0 };
            *count += 1;
        }
        let means: Vec<f64> = sums
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(sum, count)| sum / count as f64)
            .collect();
        means.iter().sum::<f64>() / means.len().max(1) as f64
    }
}
