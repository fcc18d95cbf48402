//! Reads and scores a run's answers to the questions of a file.
use crate::input::AnswerFile;
use crate::query_sets::Questions;
use mlqa_eval::{
    BoundaryClass, Normalization, Predictions, Question, QuestionScore, Score, classify_boundaries,
    score,
};

/// A scored answer file.
pub(crate) struct Answers {
    pub score: Score,
    /// Boundary class of each question's answer, and whether the answer equals a gold answer but is
    /// at another position.
    pub classes: Vec<(Option<BoundaryClass>, bool)>,
    /// Answer texts by question id.
    pub texts: Predictions,
    /// Number of answers that do not occur in their contexts.
    pub not_in_context: usize,
}

impl Answers {
    /// Reads and scores an answer file.
    pub fn read(
        file: &AnswerFile,
        questions: &Questions,
        rules: Normalization,
    ) -> Result<Self, mlqa_eval::Error> {
        let (dataset, path) = (&questions.dataset, &file.predictions);
        let texts = Predictions::read(path)?;
        if !dataset.questions.iter().any(|question| texts.0.contains_key(&question.id)) {
            let message = format!("no answer to any question of {}", dataset.path.display());
            return Err(mlqa_eval::Error::Content { path: path.clone(), message });
        }
        let is_not_in_context = |question: &&Question| {
            // A question without an answer has none that could be missing from the context.
            texts.get(&question.id).is_some_and(|text| !question.context.contains(text.trim()))
        };
        let not_in_context = dataset.questions.iter().filter(is_not_in_context).count();
        let classes = classify_boundaries(dataset, &texts, rules)?;
        let score = score(dataset, &texts, rules)?;
        Ok(Self { score, classes, texts, not_in_context })
    }

    /// Returns the score of the question at index `at`.
    pub fn question_score(&self, at: usize) -> &QuestionScore {
        &self.score.per_question[at]
    }

    /// Returns F1 and exact match (0 to 1) of the question at index `at`.
    pub fn f1_and_em(&self, at: usize) -> [f64; 2] {
        let question = self.question_score(at);
        [question.f1, f64::from(u8::from(question.exact_match))]
    }

    /// Returns the boundary class of the answer to the question at index `at`; `None` without an
    /// answer.
    pub fn class(&self, at: usize) -> Option<BoundaryClass> {
        self.classes[at].0
    }
}
