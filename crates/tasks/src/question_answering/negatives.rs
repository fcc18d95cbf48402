//! Negative windows for training questions: windows without the answer.
use std::collections::HashSet;
use std::sync::Arc;

use mlqa_eval::{Purpose, Question, Window, WindowConfig, windows};
use objectives::GroupNormalization;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::Result;

/// Options for training with windows that do not contain the answer.
///
/// Such training makes the scores of different windows of a document comparable.
///
/// Negative windows come from the paragraphs of the question's article. The question's own
/// paragraph is included if it has several windows. A window that contains the text of a gold
/// answer is skipped. The windows are selected once, before training, and depend on the seed and
/// the data only.
///
/// # Example
/// ```
/// use tasks::question_answering::{NegativeLoss, Negatives};
///
/// let negatives: Negatives = toml::from_str("count = 2\nloss = \"sigmoid\"").unwrap();
/// assert_eq!((negatives.count, negatives.loss), (2, NegativeLoss::Sigmoid));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Negatives {
    /// Maximum number of negative windows per window with an answer; 0 disables negative windows.
    pub count: usize,
    /// The loss over a window with the answer and its negative windows.
    pub loss: NegativeLoss,
    /// Random seed for the selection of windows.
    pub seed: u64,
}

/// The loss over the windows of one question (Clark and Gardner 2018, section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NegativeLoss {
    /// One softmax over all windows of the question, see [`objectives::group_span`].
    #[default]
    Shared,
    /// A softmax for each window; the gold start and end of a negative window are its first token.
    NoAnswer,
    /// A sigmoid for each token, see [`objectives::GroupNormalization::Sigmoid`].
    Sigmoid,
}

impl Negatives {
    /// Returns whether negative windows are disabled.
    pub(crate) fn is_disabled(&self) -> bool {
        self.count == 0
    }

    /// Returns the normalisation of the group loss; `None` for the loss of single windows.
    pub(super) fn normalization(&self) -> Option<GroupNormalization> {
        match (self.count, self.loss) {
            (0, _) | (_, NegativeLoss::NoAnswer) => None,
            (_, NegativeLoss::Shared) => Some(GroupNormalization::Shared),
            (_, NegativeLoss::Sigmoid) => Some(GroupNormalization::Sigmoid),
        }
    }

    /// Selects the negative windows of each question, at most `count`; none for questions without
    /// an answer.
    pub(super) fn select(
        &self,
        questions: &[Question],
        tokenizer: &Tokenizer,
        config: &WindowConfig,
    ) -> Result<Vec<Vec<Window>>> {
        // `compatible` is unset, so that contexts are split into windows as for training.
        let config = WindowConfig { compatible: None, ..config.clone() };
        let mut selections: Vec<QuestionNegatives> = Vec::with_capacity(questions.len());
        for article in articles(questions) {
            let contexts = contexts(article);
            for question in article {
                let rng = trainer::rng_for(self.seed, "negatives", selections.len() as u64);
                selections.push(QuestionNegatives::new(question, &contexts, rng));
            }
        }
        loop {
            // Each round adds windows of the next paragraph to each question with fewer than
            // `count` windows.
            let incomplete_selections =
                selections.iter_mut().filter(|selection| selection.windows.len() < self.count);
            let mut pending: Vec<(&mut QuestionNegatives, Question)> = incomplete_selections
                .filter_map(|selection| selection.next_query().map(|query| (selection, query)))
                .collect();
            if pending.is_empty() {
                break;
            }
            let queries: Vec<Question> = pending.iter().map(|(_, query)| query.clone()).collect();
            for window in windows(&queries, tokenizer, &config, Purpose::Eval)? {
                let (selection, query) = &mut pending[window.question];
                selection.add(window, query);
            }
        }
        Ok(selections.into_iter().map(|selection| selection.finish(self)).collect())
    }
}

/// Selection state of a question's negative windows.
struct QuestionNegatives<'q> {
    question: &'q Question,
    /// Texts of the gold answers in lower case.
    answers: Vec<String>,
    /// The remaining paragraphs, in reverse order.
    contexts: Vec<Arc<str>>,
    windows: Vec<Window>,
    rng: ChaCha8Rng,
}

impl<'q> QuestionNegatives<'q> {
    fn new(question: &'q Question, contexts: &[Arc<str>], mut rng: ChaCha8Rng) -> Self {
        let answers = question.answers.iter().map(|answer| answer.text.trim().to_lowercase());
        let answers: Vec<String> = answers.filter(|text| !text.is_empty()).collect();
        let mut contexts = if answers.is_empty() { Vec::new() } else { contexts.to_vec() };
        contexts.shuffle(&mut rng);
        Self { question, answers, contexts, windows: Vec::new(), rng }
    }

    /// Returns the question with its next paragraph.
    fn next_query(&mut self) -> Option<Question> {
        let context = self.contexts.pop()?;
        Some(Question { context, answers: Vec::new(), ..self.question.clone() })
    }

    /// Adds a window of `query` if it does not contain the text of an answer.
    fn add(&mut self, window: Window, query: &Question) {
        let from = window.offsets.iter().map(|&(from, _)| from).min();
        let to = window.offsets.iter().map(|&(_, to)| to).max();
        // A window without tokens of the context has no text.
        let Some((from, to)) = from.zip(to) else { return };
        let text = query.context.chars().skip(from).take(to - from);
        let text = text.collect::<String>().to_lowercase();
        if !text.is_empty() && !self.answers.iter().any(|answer| text.contains(answer.as_str())) {
            self.windows.push(window);
        }
    }

    fn finish(mut self, config: &Negatives) -> Vec<Window> {
        self.windows.shuffle(&mut self.rng);
        self.windows.truncate(config.count);
        if config.loss == NegativeLoss::NoAnswer {
            for window in &mut self.windows {
                (window.start_position, window.end_position) = (Some(0), Some(0));
            }
        }
        self.windows
    }
}

/// Groups questions by article: consecutive questions with the same title. A repeated id starts
/// another article, such as a translation. Questions without a title are separate articles.
fn articles(questions: &[Question]) -> Vec<&[Question]> {
    let (mut articles, mut ids, mut first) = (Vec::new(), HashSet::new(), 0);
    let mut previous: Option<&Question> = None;
    for (number, question) in questions.iter().enumerate() {
        let same_title = previous.is_some_and(|previous| previous.title == question.title);
        if !same_title || question.title.is_empty() || ids.contains(question.id.as_str()) {
            articles.push(&questions[first..number]);
            first = number;
            ids.clear();
        }
        ids.insert(question.id.as_str());
        previous = Some(question);
    }
    articles.push(&questions[first..]);
    articles.retain(|questions: &&[Question]| !questions.is_empty());
    articles
}

/// Returns the distinct paragraphs of an article.
fn contexts(article: &[Question]) -> Vec<Arc<str>> {
    let mut seen = HashSet::new();
    let contexts = article.iter().map(|question| &question.context);
    contexts.filter(|context| seen.insert(&***context)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, tokenizer};

    fn question(id: &str, title: &str, context: &str, answer: &str) -> Question {
        let question = testing::question(id, "What is it ?", context, answer);
        Question { title: title.into(), ..question }
    }

    /// Two articles with the same title, as in two languages, and questions without a title.
    fn questions() -> Vec<Question> {
        let (peru, lima, asia) =
            ("Peru has Lima .", "LIMA is a city .", "The region of Japan is Asia .");
        let long_context = format!("Egypt . {}", "The region of Peru is Spanish . ".repeat(12));
        vec![
            question("a", "One", peru, "Lima"),
            question("b", "One", lima, "city"),
            question("c", "One", asia, "Asia"),
            Question { answers: Vec::new(), ..question("d", "One", asia, "Asia") },
            question("a", "One", "Peru ist hier .", "Peru"),
            question("b", "One", "Das ist Japan .", "Japan"),
            question("e", "Two", &long_context, "Egypt"),
            question("f", "", peru, "Peru"),
            question("g", "", asia, "Asia"),
        ]
    }

    fn selected_windows(negatives: &Negatives) -> Vec<Vec<Window>> {
        let windows = WindowConfig { max_length: 40, doc_stride: 10, ..WindowConfig::default() };
        negatives.select(&questions(), &tokenizer(), &windows).unwrap()
    }

    #[test]
    fn negatives_are_windows_of_the_article_without_the_answer() {
        let negatives = Negatives { count: 4, ..Negatives::default() };
        let windows = selected_windows(&negatives);
        let counts: Vec<usize> = windows.iter().map(Vec::len).collect();
        // Case is ignored: the paragraph with "LIMA" contains the first question's answer "Lima",
        // so it is not a negative. A question without an answer or a title has no negatives; the
        // long paragraph has windows without "Egypt".
        assert_eq!(counts, [1, 2, 2, 0, 1, 1, windows[6].len(), 0, 0]);
        assert!((2..=4).contains(&windows[6].len()));
        assert!(windows.iter().flatten().all(|window| window.start_position.is_none()));
        let starts_inside_context = |window: &Window| window.offsets.first().unwrap().0 > 0;
        assert!(windows[6].iter().all(starts_inside_context));

        let one_negative_config =
            Negatives { count: 1, loss: NegativeLoss::NoAnswer, ..negatives.clone() };
        let one_negative = selected_windows(&one_negative_config);
        assert!(one_negative.iter().all(|windows| windows.len() < 2));
        assert!(one_negative.iter().flatten().all(|window| window.start_position == Some(0)));
        let other_seed = selected_windows(&Negatives { seed: 1, ..negatives.clone() });
        assert_ne!(windows, other_seed);
        assert_eq!(windows, selected_windows(&negatives));
    }

    #[test]
    fn questions_with_one_title_are_an_article() {
        let questions = questions();
        let sizes: Vec<usize> = articles(&questions).iter().map(|article| article.len()).collect();
        assert_eq!(sizes, [4, 2, 1, 1, 1]);
        assert!(articles(&[]).is_empty());
    }
}
