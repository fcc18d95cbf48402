//! SQuAD JSON files, named as MLQA names them.
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::QuestionSet;
use crate::{KgError, Language, output};

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
    /// Writes one file per question language into `dir`, `{split}-context-{c}-question-{q}.json`,
    /// with the same ids, contexts and answers in the same order; returns their paths. Beside the
    /// keys of SQuAD each question has `head_start` and `head_length`, the span of the head's label
    /// in the question in Unicode code points.
    ///
    /// # Errors
    /// [`KgError::Io`] if the folder or a file cannot be written.
    pub fn write_dir(&self, dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, KgError> {
        let languages = self.items.first().map(|item| item.questions.keys().copied());
        let mut paths = Vec::new();
        let mut files = Vec::new();
        for language in languages.into_iter().flatten() {
            let name = format!(
                "{}-context-{}-question-{language}.json",
                self.split, self.context_language
            );
            let path = dir.as_ref().join(name);
            let mut file = output::create(&path)?;
            serde_json::to_writer(&mut file, &self.dataset(language))
                .map_err(std::io::Error::from)
                .and_then(|()| file.write_all(b"\n"))
                .map_err(KgError::io(&path, "write the file"))?;
            files.push(output::sync(file)?);
            paths.push(path);
        }
        output::publish(files)?;
        Ok(paths)
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
