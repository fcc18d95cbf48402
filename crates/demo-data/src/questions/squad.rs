//! SQuAD JSON files with MLQA's file names.
use anyhow::Result;
use kg_triples::Language;
use serde::Serialize;

use super::item::QuestionSet;
use crate::generator::{Files, json_line};

#[derive(Serialize)]
struct Dataset<'s> {
    version: &'static str,
    data: [Article<'s>; 1],
}

#[derive(Serialize)]
struct Article<'s> {
    title: &'s str,
    paragraphs: Vec<Paragraph<'s>>,
}

#[derive(Serialize)]
struct Paragraph<'s> {
    context: &'s str,
    qas: [Qas<'s>; 1],
}

#[derive(Serialize)]
struct Qas<'s> {
    id: &'s str,
    question: &'s str,
    answers: [Answer<'s>; 1],
    head_start: usize,
    head_length: usize,
}

#[derive(Serialize)]
struct Answer<'s> {
    text: &'s str,
    answer_start: usize,
}

impl QuestionSet {
    /// Returns one file per question language, `{split}-context-{c}-question-{q}.json`.
    ///
    /// All files have the same ids, contexts and answers in the same order. In addition to SQuAD's
    /// keys, each question has `head_start` and `head_length`: the span of the head's label in the
    /// question, in Unicode code points.
    ///
    /// # Errors
    /// If serialisation to JSON fails, which is not expected.
    pub fn files(&self) -> Result<Files> {
        let languages = self.items.first().map(|item| item.questions.keys().copied());
        let file = |language| {
            let Self { split, context_language, .. } = self;
            let name = format!("{split}-context-{context_language}-question-{language}.json");
            Ok((name, json_line(&self.dataset(language))?))
        };
        languages.into_iter().flatten().map(file).collect()
    }

    fn dataset(&self, language: Language) -> Dataset<'_> {
        let paragraphs = self.items.iter().filter_map(|item| {
            let question = item.questions.get(&language)?;
            let answers = [Answer { text: &item.answer, answer_start: item.answer_start }];
            let qas = Qas {
                id: &item.id,
                question: &question.text,
                answers,
                head_start: question.head_start,
                head_length: question.head_length,
            };
            Some(Paragraph { context: &item.context, qas: [qas] })
        });
        let article = Article { title: &self.split, paragraphs: paragraphs.collect() };
        Dataset { version: "1.1", data: [article] }
    }
}
