//! Evaluation on sentences, on paragraphs, and on paragraphs with added questions (xQG).
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::Trial;
use mlqa_eval::Language;
use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use tasks::text_pairs::text_vectors;
use trainer::rng_for;
use transfer_eval::retrieval::{add_question_vectors, rank_candidates};
use xlmr_model::Pretrained;

use crate::data::{Inputs, Texts};
use crate::lexical;
use crate::recipe::{Evaluation, Recipe};
use crate::report::{PairRanks, Scores};
use crate::reranking;

/// Unit vectors of texts by language.
type Vectors = BTreeMap<Language, Array2<f32>>;

/// Computes the unit vectors of texts.
pub fn unit_vectors(recipe: &Recipe, base: &Pretrained, texts: &Texts) -> Result<Vectors> {
    let Recipe { pairs, evaluation, .. } = recipe;
    let (length, batch_size) = (evaluation.max_length, evaluation.batch_size);
    let language_vectors = |(&language, texts): (&Language, &Vec<String>)| {
        let (model, tokenizer, pooling) = (&base.model, &base.tokenizer, pairs.pooling);
        let mut vectors = text_vectors(model, tokenizer, texts, pooling, length, batch_size)?;
        for mut vector in vectors.outer_iter_mut() {
            let norm = vector.dot(&vector).sqrt();
            vector /= norm.max(f32::MIN_POSITIVE);
        }
        Ok((language, vectors))
    };
    texts.iter().map(language_vectors).collect()
}

/// Computes the ranks of PUD's translations, and of the paragraphs of held-out questions.
pub fn evaluate(trial: &Trial<Recipe>, inputs: &Inputs) -> Result<Scores> {
    let Recipe { model, evaluation, .. } = trial.recipe;
    if trial.arm.rerank.is_some() {
        let reranked = reranking::reranked_ranks(trial, &inputs.entities)?;
        return Ok(Scores { reranked, ..Scores::default() });
    }
    let base = trial.load(trial.dir("model"), &[], model.segments)?;
    let vectors = |texts| unit_vectors(trial.recipe, &base, texts);
    let (sentences, questions) = (vectors(&inputs.sentences)?, vectors(&inputs.question_texts)?);
    let paragraphs = vectors(&inputs.paragraphs)?;

    let mut scores = Scores::default();
    if trial.arm.positive.is_none() {
        scores.lexical = lexical::paragraph_ranks(trial.recipe, inputs);
        if trial.recipe.reranking.is_used() {
            let ranks = reranking::generator_ranks(trial, &inputs.entities)?;
            [scores.entities_lexical, scores.entities_dense, scores.entities] = ranks;
        }
    }
    for (&query, queries) in &sentences {
        for (&candidate, candidates) in sentences.iter().filter(|(other, _)| **other != query) {
            let gold: Vec<usize> = (0..queries.nrows()).collect();
            let (queries, candidates) = (queries.view(), candidates.view());
            let ranks = rank_candidates(queries, candidates, &gold, &evaluation.ranks)?;
            scores.sentences.push(PairRanks { query, candidate, ranks });
        }
    }
    // The control adds the questions of another random paragraph to each paragraph.
    let mut order: Vec<usize> =
        (0..paragraphs.values().map(Array2::nrows).max().unwrap_or(0)).collect();
    order.shuffle(&mut rng_for(trial.seed, "other paragraphs", 0));
    let shifted = order.iter().copied().cycle().skip(1);
    let other_paragraphs: BTreeMap<usize, usize> = order.iter().copied().zip(shifted).collect();
    for (&query, queries) in &questions {
        for (&candidate, passages) in &paragraphs {
            let rank = |target: &dyn Fn(usize) -> Option<usize>| {
                let config = &evaluation;
                let other_languages = questions.iter().filter(|(language, _)| **language != query);
                let vectors: Vec<&Array2<f32>> = other_languages.map(|(_, v)| v).collect();
                let ranks = augmented_ranks(inputs, config, queries, passages, &vectors, target)?;
                Ok::<_, anyhow::Error>(PairRanks { query, candidate, ranks })
            };
            scores.paragraphs.push(rank(&|_| None)?);
            scores.augmented.push(rank(&Some)?);
            scores.other_questions.push(rank(&|paragraph| Some(other_paragraphs[&paragraph]))?);
        }
    }
    Ok(scores)
}

/// Adds question vectors to the paragraph vectors, and returns the rank of the correct paragraph
/// for each held-out question.
///
/// `question_vectors` has the vectors of all questions, for each language except the query's
/// language. `target_of` maps the paragraph of a question to the paragraph whose vector the
/// question is added to. The query is not added to its paragraph. To treat all paragraphs equally,
/// the question with the query's index is also excluded from the other paragraphs. Questions are
/// repeated or omitted so that every paragraph has the same number of questions, because a vector
/// with more questions is closer to every query.
fn augmented_ranks(
    inputs: &Inputs,
    evaluation: &Evaluation,
    queries: &Array2<f32>,
    passages: &Array2<f32>,
    question_vectors: &[&Array2<f32>],
    target_of: &dyn Fn(usize) -> Option<usize>,
) -> Result<Vec<usize>> {
    let questions = || inputs.questions.iter().enumerate();
    let mut by_index: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, question) in questions().filter(|(_, q)| q.held_out) {
        by_index.entry(question.index).or_default().push(row);
    }
    let mut ranks = BTreeMap::new();
    for (index, rows) in by_index {
        let mut questions_by_target: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, question) in questions().filter(|(_, q)| q.index != index) {
            if let Some(target) = target_of(question.paragraph) {
                questions_by_target.entry(target).or_default().push(row);
            }
        }
        let repeat_questions = |(&target, rows): (&usize, &Vec<usize>)| {
            let rows: Vec<usize> =
                rows.iter().copied().cycle().take(evaluation.questions).collect();
            rows.into_iter().map(move |row| (target, row))
        };
        let target_rows: Vec<(usize, usize)> =
            questions_by_target.iter().flat_map(repeat_questions).collect();
        let added = question_vectors
            .iter()
            .flat_map(|vectors| target_rows.iter().map(|&(to, row)| (to, vectors.row(row))));
        let candidates = add_question_vectors(passages.view(), added, evaluation.alpha as f32)?;
        let gold = rows.iter().map(|&row| inputs.questions[row].paragraph);
        let (queries, gold): (_, Vec<usize>) = (queries.select(Axis(0), &rows), gold.collect());
        let row_ranks =
            rank_candidates(queries.view(), candidates.view(), &gold, &evaluation.ranks)?;
        ranks.extend(rows.into_iter().zip(row_ranks));
    }
    Ok(ranks.into_values().collect())
}
