//! SQuAD JSON files with MLQA's file names.
use std::sync::Arc;

use anyhow::Result;
use kg_triples::Language;
use mlqa_eval::{Answer, Dataset, Question};

use super::item::QuestionSet;
use crate::generator::{Files, json_line};

impl QuestionSet {
    /// Returns one file per question language, `{split}-context-{c}-question-{q}.json`.
    ///
    /// All files have the same ids, contexts and answers in the same order. In addition to SQuAD's
    /// keys, each question has `head_start` and `head_length`: the span of the head's label in the
    /// question, in Unicode code points. Training programs that replace tokens of questions do not
    /// replace the tokens of this span.
    ///
    /// # Errors
    /// If serialisation to JSON fails, which is not expected.
    pub fn files(&self) -> Result<Files> {
        let languages = self.items.first().map(|item| item.questions.keys().copied());
        let file = |language| {
            let Self { split, context_language, .. } = self;
            let name = format!("{split}-context-{context_language}-question-{language}.json");
            let mut squad_file = self.dataset(&name, language).to_squad();
            let paragraphs = squad_file.data.iter_mut().flat_map(|article| &mut article.paragraphs);
            let texts = self.items.iter().map(|item| &item.questions[&language]);
            for (qa, text) in paragraphs.flat_map(|paragraph| &mut paragraph.qas).zip(texts) {
                let span = [("head_start", text.head_start), ("head_length", text.head_length)];
                qa.extra = span.into_iter().collect();
            }
            Ok((name, json_line(&squad_file)?))
        };
        languages.into_iter().flatten().map(file).collect()
    }

    fn dataset(&self, name: &str, language: Language) -> Dataset {
        let title: Arc<str> = self.split.as_str().into();
        let questions = self.items.iter().map(|item| {
            let answer = Answer::at(item.answer_start, item.answer.clone());
            Question {
                id: item.id.clone(),
                question: item.questions[&language].text.clone(),
                context: item.context.as_str().into(),
                answers: vec![answer],
                title: Arc::clone(&title),
            }
        });
        Dataset {
            path: name.into(),
            version: Some("1.1".to_owned()),
            questions: questions.collect(),
        }
    }
}
