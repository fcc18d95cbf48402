//! Scores of groups of questions.
use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Error, QuestionScore, Resampling, Score, ScoreIntervals};

/// The scores of a group of questions, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GroupScore {
    /// Exact match.
    pub exact_match: f64,
    /// Mean F1.
    pub f1: f64,
    /// Number of questions.
    pub questions: usize,
    /// Bootstrap intervals over the questions of the group.
    #[serde(flatten)]
    pub intervals: ScoreIntervals,
}

impl Score {
    /// Computes the scores of the questions with equal `values`, such as the values of
    /// [`squad::File::group_values`](crate::squad::File::group_values). `values` has one value per
    /// question, in file order.
    ///
    /// ```
    /// use mlqa_eval::{QuestionScore, Resampling, Score};
    ///
    /// let question = |id: &str, exact_match, f1| {
    ///     QuestionScore { id: id.to_owned(), exact_match, f1, answered: true }
    /// };
    /// let score = Score::of(vec![
    ///     question("q1", true, 1.0),
    ///     question("q2", false, 0.5),
    ///     question("q3", false, 0.0),
    /// ]);
    /// let groups = score.by(&["who", "when", "who"], &Resampling::default())?;
    /// assert_eq!((groups["who"].exact_match, groups["when"].f1), (50.0, 50.0));
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if the numbers of values and questions differ; the errors of
    /// [`Score::intervals`].
    pub fn by<V: AsRef<str>>(
        &self,
        values: &[V],
        config: &Resampling,
    ) -> Result<BTreeMap<String, GroupScore>, Error> {
        if values.len() != self.per_question.len() {
            let rule = format!("one value for each of the {} questions", self.per_question.len());
            return Err(Error::config("values", format!("[{} values]", values.len()), rule));
        }
        let mut groups: BTreeMap<&str, Vec<QuestionScore>> = BTreeMap::new();
        for (value, question) in values.iter().zip(&self.per_question) {
            groups.entry(value.as_ref()).or_default().push(question.clone());
        }
        let group_score = |(value, questions): (&str, Vec<QuestionScore>)| {
            let score = Self::of(questions);
            let intervals = score.intervals(config)?;
            let Self { exact_match, f1, questions, .. } = score;
            Ok((value.to_owned(), GroupScore { exact_match, f1, questions, intervals }))
        };
        groups.into_iter().map(group_score).collect()
    }
}
