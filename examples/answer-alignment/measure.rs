//! Answers found by alignment and by search, against the gold answers of the translation.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mlqa_eval::{Answer, Dataset, Language, Normalization, Predictions, Question, score};
use ndarray::Array2;
use qa_translate::{Occurrence, SearchConfig, search};
use tasks::alignment::{AnswerAligner, EncodedText};

use crate::report::Scores;

/// What was found, by question id.
type Found<'a> = BTreeMap<&'a str, Answer>;

/// Finds the answers to questions in one language again in others.
pub struct Measurement<'a> {
    aligner: &'a AnswerAligner<'a>,
    questions: BTreeMap<&'a str, &'a Question>,
    /// Encoded contexts of the source language by their text.
    contexts: BTreeMap<&'a str, EncodedText>,
}

impl<'a> Measurement<'a> {
    /// `source` holds the questions whose answers are searched for.
    pub fn new(aligner: &'a AnswerAligner<'a>, source: &'a Dataset) -> Self {
        let questions = source.questions.iter().map(|one| (one.id.as_str(), one)).collect();
        Self { aligner, questions, contexts: BTreeMap::new() }
    }

    /// The scores of each method on a translation.
    ///
    /// # Errors
    /// If a question has no source or no answer, or a text cannot be encoded.
    pub fn scores(
        &mut self,
        target: &Dataset,
        language: Language,
    ) -> Result<BTreeMap<&'static str, Scores>> {
        let mut found: BTreeMap<&'static str, Found<'_>> = BTreeMap::new();
        // Questions of a context follow each other and share its similarities.
        let mut pair: Option<Pair<'_>> = None;
        for question in &target.questions {
            let source = *self.questions.get(question.id.as_str()).context("id")?;
            if pair.as_ref().is_none_or(|pair| !pair.is_of(source, question)) {
                pair = Some(self.pair(source, question)?);
            }
            let similar = pair.as_ref().context("context")?;
            let answers = self.answers(source, question, similar)?;
            for (method, answer) in answers {
                let answer = answer.map(|answer| (question.id.as_str(), answer));
                found.entry(method).or_default().extend(answer);
            }
        }
        let scores = |(method, answers): (&'static str, Found<'_>)| {
            Ok((method, scores(&answers, target, language)?))
        };
        found.into_iter().map(scores).collect()
    }

    fn pair<'q>(&mut self, source: &'a Question, target: &'q Question) -> Result<Pair<'q>>
    where
        'a: 'q,
    {
        if !self.contexts.contains_key(&*source.context) {
            self.contexts.insert(&source.context, self.aligner.encode(&source.context)?);
        }
        let encoded = self.contexts.get(&*source.context).context("context")?;
        let target_text = self.aligner.encode(&target.context)?;
        let similarity = self.aligner.similarity(encoded, &target_text)?;
        Ok(Pair { source: &source.context, target: &target.context, target_text, similarity })
    }

    /// One question's answer by every method; nothing where it is not found.
    fn answers(
        &self,
        source: &Question,
        target: &Question,
        pair: &Pair<'_>,
    ) -> Result<[(&'static str, Option<Answer>); 5]> {
        let (answer, gold) = (first_answer(source)?, first_answer(target)?);
        let encoded = self.contexts.get(&*source.context).context("context")?;
        let span = answer.answer_start..answer.answer_start + answer.text.chars().count();
        let aligned =
            self.aligner.project(&pair.similarity, encoded, span, &pair.target_text)?.map(|span| {
                let text = target.context.chars().skip(span.start).take(span.len()).collect();
                Answer { text, answer_start: span.start }
            });
        let length = source.context.chars().count().max(1);
        let position = answer.answer_start as f64 / length as f64;
        let searched = |text: &str, occurrence| {
            let config = SearchConfig { occurrence, ..SearchConfig::default() };
            search(&target.context, text, position, &config).ok()
        };
        Ok([
            ("projection", aligned),
            ("english_unique", searched(&answer.text, Occurrence::Unique)),
            ("english_nearest", searched(&answer.text, Occurrence::Nearest)),
            ("gold_unique", searched(&gold.text, Occurrence::Unique)),
            ("gold_nearest", searched(&gold.text, Occurrence::Nearest)),
        ])
    }
}

/// A context and its translation.
struct Pair<'a> {
    source: &'a str,
    target: &'a str,
    target_text: EncodedText,
    similarity: Array2<f32>,
}

impl Pair<'_> {
    fn is_of(&self, source: &Question, target: &Question) -> bool {
        self.source == &*source.context && self.target == &*target.context
    }
}

fn first_answer(question: &Question) -> Result<&Answer> {
    question.answers.first().with_context(|| format!("question {}: no answer", question.id))
}

fn scores(answers: &Found<'_>, target: &Dataset, language: Language) -> Result<Scores> {
    let texts = answers.iter().map(|(id, answer)| ((*id).to_owned(), answer.text.clone()));
    let score = score(target, &Predictions(texts.collect()), Normalization::Mlqa(language))?;
    let same = |one: &&Question| answers.get(one.id.as_str()) == one.answers.first();
    let exact = target.questions.iter().filter(same).count();
    let percent = |count: usize| 100.0 * count as f64 / target.questions.len() as f64;
    Ok(Scores {
        questions: target.questions.len(),
        found: percent(answers.len()),
        exact_span: percent(exact),
        exact_match: score.exact_match,
        f1: score.f1,
    })
}
