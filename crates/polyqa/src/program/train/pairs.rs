//! Answers to questions with paragraphs of other articles and in other languages, for the fit of "no
//! answer".
use anyhow::Result;
use mlqa_eval::{Dataset, Language, NBest, Question};
use tasks::question_answering::QaPredictor;

use super::DevFile;
use crate::question_pairs::{across_languages, mismatched, sample};
use crate::{AnsweredFile, Calibration};

/// Maximum number of questions of all files that are paired with paragraphs of other articles, and
/// of questions that are paired with paragraphs in other languages. The standard error of a
/// percentage of 2,000 pairs is about one percentage point.
const MAX_PAIRS: usize = 2000;

/// Questions with the answers of a reader.
struct Answered {
    dataset: Dataset,
    answers: Vec<NBest>,
    language: Language,
}

impl Answered {
    fn as_file(&self) -> AnsweredFile<'_> {
        (&self.dataset, &self.answers, self.language)
    }
}

/// Questions whose contexts answer them, and the same questions with other contexts.
#[derive(Default)]
pub struct Pairs {
    answerable: Vec<Answered>,
    mismatched: Vec<Answered>,
}

impl Pairs {
    /// Answers the questions of the files with paragraphs of other articles of their file. If files
    /// have questions in different languages with the same ids, each paragraph is also paired with
    /// a question in another language. `answers` are the answers to the questions of the files.
    pub fn answer(
        predictor: &QaPredictor<'_>,
        files: &[DevFile],
        answers: &[Vec<NBest>],
    ) -> Result<Self> {
        let max_pairs = MAX_PAIRS / files.len().max(1);
        let all: Vec<&[Question]> = files.iter().map(|file| &*file.dataset.questions).collect();
        let mut pairs = Self::default();
        for ((file, answers), translated) in files.iter().zip(answers).zip(across_languages(&all)) {
            let answerable = file.dataset.questions.iter().zip(answers);
            let answerable =
                answerable.filter(|(question, _)| !question.answers.is_empty()).collect();
            let (questions, answers): (Vec<Question>, Vec<NBest>) = sample(answerable, max_pairs)
                .into_iter()
                .map(|(question, n_best)| (question.clone(), n_best.clone()))
                .unzip();
            pairs.add_mismatched(predictor, file, &questions)?;
            pairs.answerable.push(file.answered(questions, answers));
            let questions = sample(translated, max_pairs);
            pairs.add_mismatched(predictor, file, &questions)?;
            let answers = predictor.predict(&questions)?;
            pairs.answerable.push(file.answered(questions, answers));
        }
        Ok(pairs)
    }

    /// Answers questions with paragraphs of other articles of a file.
    fn add_mismatched(
        &mut self,
        predictor: &QaPredictor<'_>,
        file: &DevFile,
        questions: &[Question],
    ) -> Result<()> {
        let questions = mismatched(questions, &file.dataset.questions);
        let answers = predictor.predict(&questions)?;
        self.mismatched.push(file.answered(questions, answers));
        Ok(())
    }

    /// Fits the calibration; `None` if there are too few pairs.
    ///
    /// # Errors
    /// The errors of [`Calibration::fit_with_mismatched`].
    pub fn fit(&self) -> Result<Option<Calibration>> {
        let [answerable, mismatched] = [&self.answerable, &self.mismatched]
            .map(|files| files.iter().map(Answered::as_file).collect::<Vec<_>>());
        Ok(Calibration::fit_with_mismatched(&answerable, &mismatched)?)
    }
}

impl DevFile {
    /// Returns some questions with contexts of this file, and their answers.
    fn answered(&self, questions: Vec<Question>, answers: Vec<NBest>) -> Answered {
        let Dataset { path, version, .. } = &self.dataset;
        let dataset = Dataset { path: path.clone(), version: version.clone(), questions };
        Answered { dataset, answers, language: self.language }
    }
}
