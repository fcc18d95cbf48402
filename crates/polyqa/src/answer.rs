//! Answers and their positions in documents.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use collection::{Passage, Query};
use mlqa_eval::{Candidate, LanguageCounts, NBest};
use serde::Serialize;

use crate::Calibration;
use crate::question_pairs::is_other_language;
use crate::sentence::sentence_around;

/// An answer and its position in a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The answer's text, as in the document.
    pub text: String,
    /// Start in the document, in code points.
    pub start: usize,
    /// End in the document (exclusive), in code points.
    pub end: usize,
    /// Start in the document, in bytes of UTF-8.
    pub start_byte: usize,
    /// End in the document (exclusive), in bytes of UTF-8.
    pub end_byte: usize,
    /// The sentence that contains the answer.
    pub sentence: String,
    /// Start of the answer in `sentence`, in code points.
    pub start_in_sentence: usize,
    /// [`Document::id`](crate::Document::id).
    pub document: Arc<str>,
    /// Number of the page that contains the start of the answer, from 1; `None` if the document has
    /// no pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
    /// Probability of the answer, 0 to 1. This probability is a softmax over the best answers of
    /// all passages and "no answer". The logit of an answer is its score minus the passage's null
    /// score, divided by the temperature; the logit of "no answer" is 0. With
    /// [`Calibration::no_answer`], the probability of "no answer" is fitted, and the answers share
    /// the rest.
    pub probability: f64,
    /// Sum of the probabilities of all places with this text, ignoring case.
    pub total_probability: f64,
    /// The best places with this text, up to 10, best first. The first is the place of this answer,
    /// unless this answer repeats the text of a better one.
    pub places: Vec<Place>,
    /// Sum of start and end logit, adjusted according to `--window-score`, minus the passage's
    /// retrieval penalty. Answers are sorted by this score.
    pub score: f32,
}

/// A place of a text that is an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// [`Document::id`](crate::Document::id).
    pub document: Arc<str>,
    /// Start in the document, in code points.
    pub start: usize,
    /// End in the document (exclusive), in code points.
    pub end: usize,
    /// Number of the page that contains the start, as [`Answer::page`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
    /// Probability of the answer at this place, 0 to 1.
    pub probability: f64,
}

/// The answers to a question, best first; no two of them overlap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answers {
    /// The question's id, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The question.
    pub question: String,
    /// The answers; empty if the documents contain no words, or if no passage of a collection shares
    /// words with the question.
    pub answers: Vec<Answer>,
    /// Probability of "no answer", 0 to 1: in the softmax of [`Answer::probability`] or, with
    /// [`Calibration::no_answer`], fitted for the passage with the best answer.
    pub null_probability: f64,
    /// The number of tokens of a question that was truncated; `None` if it was evaluated as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated_question: Option<TruncatedQuestion>,
    /// Whether the question has no answer: `answers` is empty, or in the passage with the best
    /// answer, and so in every passage, the null score exceeds the best answer's score by more than
    /// the null threshold. Passages in other languages than the question may have another threshold.
    pub no_answer: bool,
}

/// Length of a question that is longer than the reader's maximum. Only the beginning of the question
/// was evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TruncatedQuestion {
    /// Number of tokens of the question.
    pub tokens: usize,
    /// Number of tokens that were evaluated.
    pub max_tokens: usize,
}

/// Collector of the answers to one question, passage by passage.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Number of candidates per passage that determine the probabilities.
    n_best: usize,
    /// The best answers, best first. Until `finish` is called, their field `probability` contains
    /// the margin over "no answer".
    answers: Vec<Answer>,
    /// Log-sum-exp of the margins of all candidates and of "no answer", whose margin is 0.
    log_total: f64,
    /// Log-sum-exp of the margins of all candidates; `None` without candidates.
    log_candidates: Option<f64>,
    /// The texts of all candidates in lower case, with their places.
    texts: HashMap<String, Places>,
    /// Null score minus the best answer's score: the minimum over all passages.
    null_odds: f64,
    /// Whether the passage with the lowest null odds seems to be in another language than the
    /// question.
    is_other_language: bool,
    /// The letters and frequent words of the question.
    question_language: LanguageCounts,
}

/// The places of a text.
#[derive(Debug)]
struct Places {
    /// Log-sum-exp of the margins of all places.
    log_sum: f64,
    /// The best places, best first. Until `finish` is called, their field `probability` contains the
    /// margin over "no answer".
    best: Vec<Place>,
}

/// Maximum number of places of an answer.
const MAX_PLACES: usize = 10;

/// Number of texts at which those with the lowest probabilities are dropped.
const MAX_TEXTS: usize = 20_000;

/// Returns the form of an answer's text that is equal for equal answers.
fn text_key(text: &str) -> String {
    text.trim().to_lowercase()
}

impl Collector {
    pub fn new(n_best: usize, question: &str) -> Self {
        Self {
            n_best,
            answers: Vec::new(),
            log_total: 0.0,
            log_candidates: None,
            texts: HashMap::new(),
            null_odds: f64::INFINITY,
            is_other_language: false,
            question_language: LanguageCounts::of(question),
        }
    }

    /// Adds the answers in a passage; only the best `max_answers` answers are retained. If `n_best`
    /// has all candidates of the passage, the answers are the first ones of a higher `max_answers`.
    pub fn add(
        &mut self,
        passage: &Passage,
        n_best: &NBest,
        calibration: &Calibration,
        max_answers: usize,
    ) {
        // Without windows, there is no null score, and there are no candidates.
        let null_score = n_best.null_score.map_or(0.0, f64::from);
        let margin = |score: f32| (f64::from(score) - null_score) / calibration.temperature;
        for candidate in n_best.candidates.iter().take(self.n_best) {
            let margin = margin(candidate.score);
            self.log_total = log_add_exp(self.log_total, margin);
            self.log_candidates =
                Some(self.log_candidates.map_or(margin, |total| log_add_exp(total, margin)));
            if !candidate.text.is_empty() {
                let start = passage.start + candidate.answer_start;
                let end = start + candidate.text.chars().count();
                let document = passage.document.clone();
                let page = page_at(passage, candidate.answer_start);
                let place = Place { document, start, end, page, probability: margin };
                self.add_place(&candidate.text, place);
            }
        }
        if let Some(null_odds) = n_best.null_odds()
            && null_odds < self.null_odds
        {
            self.null_odds = null_odds;
            // Only a fit of "no answer" distinguishes languages.
            self.is_other_language = calibration.no_answer.is_some()
                && is_other_language(&self.question_language, &passage.text);
        }
        let mut selected: Vec<Range<usize>> = Vec::new();
        for candidate in &n_best.candidates {
            let start = candidate.answer_start;
            let span = start..start + candidate.text.chars().count();
            let overlaps = |other: &Range<usize>| span.start < other.end && other.start < span.end;
            if span.is_empty() || selected.iter().any(overlaps) {
                continue;
            }
            if selected.len() == max_answers {
                break;
            }
            // Later candidates of this passage do not have higher scores.
            let lowest = self.answers.get(max_answers.saturating_sub(1)); // absent until it is full
            if lowest.is_some_and(|lowest| lowest.score >= candidate.score) {
                break;
            }
            let answer = to_answer(passage, candidate, span.clone(), margin(candidate.score));
            let position = self.answers.partition_point(|other| other.score >= candidate.score);
            self.answers.insert(position, answer);
            self.answers.truncate(max_answers);
            selected.push(span);
        }
    }

    /// Adds a place, whose field `probability` contains the margin over "no answer".
    fn add_place(&mut self, text: &str, place: Place) {
        if self.texts.len() == MAX_TEXTS {
            let mut sums: Vec<f64> = self.texts.values().map(|places| places.log_sum).collect();
            sums.sort_by(|a, b| b.total_cmp(a));
            self.texts.retain(|_, places| places.log_sum > sums[MAX_TEXTS / 2]);
        }
        let places = self.texts.entry(text_key(text));
        let Places { log_sum, best } =
            places.or_insert_with(|| Places { log_sum: f64::NEG_INFINITY, best: Vec::new() });
        *log_sum = match *log_sum {
            f64::NEG_INFINITY => place.probability,
            sum => log_add_exp(sum, place.probability),
        };
        let position = best.partition_point(|other| other.probability >= place.probability);
        if position < MAX_PLACES {
            best.insert(position, place);
            best.truncate(MAX_PLACES);
        }
    }

    pub fn finish(
        self,
        Query { id, text: question }: Query,
        truncated_question: Option<TruncatedQuestion>,
        calibration: &Calibration,
    ) -> Answers {
        let Self { mut answers, texts, null_odds, is_other_language, .. } = self;
        let fit = calibration.no_answer_fit(is_other_language);
        let (log_total, null_margin) = match (fit, self.log_candidates) {
            (Some(fit), Some(log_candidates)) => {
                let null_margin = log_candidates + fit.logit(null_odds);
                (log_add_exp(log_candidates, null_margin), null_margin)
            }
            _ => (self.log_total, 0.0),
        };
        let probability = |margin: f64| (margin - log_total).exp();
        for answer in &mut answers {
            answer.probability = probability(answer.probability);
            // An answer after the first `n_best` candidates of its passage may have no entry.
            (answer.total_probability, answer.places) = match texts.get(&text_key(&answer.text)) {
                Some(Places { log_sum, best }) => {
                    let mut places = best.clone();
                    for place in &mut places {
                        place.probability = probability(place.probability);
                    }
                    (probability(*log_sum), places)
                }
                None => (answer.probability, vec![answer.place()]),
            };
        }
        let null_probability = probability(null_margin);
        let threshold = calibration.threshold(is_other_language);
        let no_answer =
            answers.is_empty() || threshold.is_some_and(|threshold| null_odds > threshold);
        Answers { id, question, answers, null_probability, truncated_question, no_answer }
    }
}

impl Answer {
    fn place(&self) -> Place {
        let Self { start, end, page, probability, .. } = *self;
        Place { document: self.document.clone(), start, end, page, probability }
    }
}

/// Computes the logarithm of the sum of two exponentials.
fn log_add_exp(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

/// Returns the page of a position in a passage, in code points; `None` if the document has no pages.
fn page_at(passage: &Passage, position: usize) -> Option<usize> {
    let breaks = || {
        let before = passage.text.chars().take(position);
        before.filter(|&char| char == documents::PAGE_BREAK).count()
    };
    passage.page.map(|page| page + breaks())
}

/// Returns the answer at a span of a passage, in code points.
fn to_answer(passage: &Passage, candidate: &Candidate, span: Range<usize>, margin: f64) -> Answer {
    let text = &*passage.text;
    let mut start_bytes = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
    let start_byte = start_bytes.nth(span.start).expect("an answer begins in its passage");
    // The answer `empty` of `run_qa` is not in the text, so its end is limited to the text.
    let end_byte = (start_byte..=(start_byte + candidate.text.len()).min(text.len()))
        .rfind(|&byte| text.is_char_boundary(byte))
        .expect("the start is a boundary");
    let sentence = sentence_around(text, start_byte..end_byte);
    let prefix = &text[sentence.start..start_byte];
    Answer {
        text: candidate.text.clone(),
        start: passage.start + span.start,
        end: passage.start + span.end,
        start_byte: passage.start_byte + start_byte,
        end_byte: passage.start_byte + end_byte,
        sentence: text[sentence].to_owned(),
        start_in_sentence: prefix.chars().count(),
        document: passage.document.clone(),
        page: page_at(passage, span.start),
        probability: margin,
        total_probability: margin,
        places: Vec::new(),
        score: candidate.score,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::no_answer::{NoAnswer, NoAnswerFit};

    fn passage(document: &str, text: &str) -> Passage {
        Passage::whole(document.into(), text.into())
    }

    #[test]
    fn probabilities_are_a_softmax_over_all_passages_and_no_answer() {
        let document = passage("d", "Lima Quito Bogota");
        let candidate = |answer_start, text: &str, score| Candidate {
            answer_start,
            text: text.to_owned(),
            score,
            ..Candidate::default()
        };
        let n_best = |candidates, null_score| NBest {
            id: "q".into(),
            candidates,
            null_score: Some(null_score),
            null: false,
        };
        let calibration = Calibration { temperature: 2.0, ..Calibration::default() };
        let mut collector = Collector::new(20, "Where?");
        let first = n_best(vec![candidate(0, "Lima", 3.0), candidate(5, "Quito", 1.0)], 0.0);
        collector.add(&document, &first, &calibration, 2);
        let second = n_best(vec![candidate(11, "Bogota", 2.0)], -4.0);
        collector.add(&document, &second, &calibration, 2);
        let result = collector.finish("Where?".into(), None, &calibration);
        let weights = [3.0f64, 1.0, 6.0, 0.0].map(|margin| (margin / 2.0).exp());
        let total: f64 = weights.iter().sum();
        let expected = [("Lima", weights[0]), ("Bogota", weights[2])];
        for (answer, (text, weight)) in result.answers.iter().zip(expected) {
            assert_eq!(answer.text, text);
            assert!((answer.probability - weight / total).abs() < 1e-12);
        }
        assert!((result.null_probability - weights[3] / total).abs() < 1e-12);
        let places = |answer: &Answer| answer.places.len();
        assert_eq!(result.answers.iter().map(places).collect::<Vec<_>>(), [1, 1]);
        let empty = Collector::new(20, "").finish("".into(), None, &calibration);
        assert_eq!(empty.null_probability, 1.0);
    }

    #[test]
    fn the_passage_with_the_best_answer_decides_on_no_answer() {
        let english = "The lighthouse is on the hill, and it is open to the visitors of the town.";
        let german = "Der Leuchtturm steht auf dem Hügel und ist für die Gäste der Stadt offen.";
        let candidate = |score| Candidate { score, text: "ist".into(), ..Candidate::default() };
        let n_best = |score: f32| NBest {
            id: "q".into(),
            candidates: vec![candidate(score), candidate(score - 1.0)],
            null_score: Some(1.0),
            null: false,
        };
        let fit = |null_threshold| NoAnswerFit {
            null_threshold,
            slope: 0.5,
            intercept: 3.0,
            mismatched: 30,
            answerable: 30,
            auroc: 0.9,
            rejected: 80.0,
            lost_f1: 1.0,
        };
        let answers = |calibration: &Calibration, passages: &[(&str, f32)]| {
            let mut collector = Collector::new(20, "Wer hat den Leuchtturm auf dem Hügel gebaut?");
            for &(text, score) in passages {
                collector.add(&passage(text, text), &n_best(score), calibration, 5);
            }
            collector.finish("Wer?".into(), None, calibration)
        };
        let no_answer =
            NoAnswer { same_language: Some(fit(-6.0)), other_language: Some(fit(-3.0)) };
        let both = Calibration { no_answer: Some(no_answer), ..Calibration::default() };
        for (passages, expected) in [
            (vec![(german, 6.0)], true), // null odds of -5
            (vec![(german, 8.0)], false),
            (vec![(english, 6.0)], false),
            (vec![(english, 3.0)], true),
            (vec![(english, 3.0), (german, 6.0)], true),
            (vec![(german, 4.0), (english, 6.0)], false),
        ] {
            let result = answers(&both, &passages);
            assert_eq!(result.no_answer, expected, "{passages:?}");
            // The probability of "no answer" is that of the best passage, and the answers share
            // the rest.
            let odds =
                1.0 - passages.iter().map(|&(_, score)| f64::from(score)).fold(0.0, f64::max);
            let probability = 1.0 / (1.0 + (-0.5 * odds - 3.0).exp());
            assert!((result.null_probability - probability).abs() < 1e-9, "{passages:?}");
            let weights = passages.iter().flat_map(|&(_, score)| [score, score - 1.0]);
            let total: f64 = weights.map(|score| f64::from(score).exp()).sum();
            let share = (1.0 - odds).exp() / total;
            let expected = (1.0 - probability) * share;
            assert!((result.answers[0].probability - expected).abs() < 1e-9, "{passages:?}");
        }
        // Without a fit for other languages, these texts always have an answer, and probabilities
        // are a softmax. The threshold of the calibration or the user precedes.
        let same_only = NoAnswer { same_language: Some(fit(-6.0)), other_language: None };
        let same_only = Calibration { no_answer: Some(same_only), ..Calibration::default() };
        assert!(answers(&same_only, &[(german, 3.0)]).no_answer);
        let result = answers(&same_only, &[(english, -9.0)]);
        let softmax = 1.0 / (1.0 + (-10f64).exp() + (-11f64).exp());
        assert!(!result.no_answer && (result.null_probability - softmax).abs() < 1e-9);
        let overridden = Calibration { null_threshold: Some(-2.0), ..both };
        assert!(!answers(&overridden, &[(german, 4.0)]).no_answer);
        assert!(answers(&overridden, &[(english, 2.0)]).no_answer);
    }

    #[test]
    fn equal_answers_of_several_places_have_a_common_probability() {
        let n_best = |text: &str, score| NBest {
            id: "q".into(),
            candidates: vec![Candidate { text: text.to_owned(), score, ..Candidate::default() }],
            null_score: Some(0.0),
            null: false,
        };
        let calibration = Calibration::default();
        let mut collector = Collector::new(20, "Where?");
        for (place, score) in [("Lima", 1.0), ("LIMA", 3.0), ("Quito", 2.0), ("Lima.", 0.0)] {
            collector.add(&passage(place, place), &n_best(place, score), &calibration, 2);
        }
        let answers = collector.finish("Where?".into(), None, &calibration).answers;
        let total: f64 = [1.0f64, 3.0, 2.0, 0.0, 0.0].iter().map(|score| score.exp()).sum();
        let lima = &answers[0];
        assert_eq!((&*lima.text, &*answers[1].text), ("LIMA", "Quito"));
        assert!((lima.probability - 3f64.exp() / total).abs() < 1e-12);
        assert!((lima.total_probability - (3f64.exp() + 1f64.exp()) / total).abs() < 1e-12);
        let documents: Vec<&str> = lima.places.iter().map(|place| &*place.document).collect();
        assert_eq!(documents, ["LIMA", "Lima"]);
        assert!((lima.places[1].probability - 1f64.exp() / total).abs() < 1e-12);
        assert_eq!(
            (answers[1].places.len(), answers[1].total_probability),
            (1, answers[1].probability)
        );
    }

    #[test]
    fn positions_are_those_in_the_document() {
        let text = "Ein Titel.\u{c}\n\nÉcrit à Lima.\u{c}Écrit à Quito.";
        let start_byte = text.find("Écrit").unwrap();
        let passage = Passage {
            number: 7,
            document: "d".into(),
            text: text[start_byte..].into(),
            start: text[..start_byte].chars().count(),
            start_byte,
            page: Some(2),
        };
        let answer_start = passage.text.chars().position(|c| c == 'Q').unwrap();
        let candidates =
            vec![Candidate { answer_start, text: "Quito".to_owned(), ..Candidate::default() }];
        let n_best = NBest { id: "q".into(), candidates, null_score: None, null: false };
        let mut collector = Collector::new(20, "Where?");
        collector.add(&passage, &n_best, &Calibration::default(), 1);
        let result = collector.finish("Where?".into(), None, &Calibration::default());
        let answer = &result.answers[0];
        let by_code_points: String =
            text.chars().skip(answer.start).take(answer.end - answer.start).collect();
        assert_eq!(by_code_points, "Quito");
        assert_eq!(&text[answer.start_byte..answer.end_byte], "Quito");
        assert_eq!((answer.page, &*answer.sentence), (Some(3), "Écrit à Quito."));
        assert_eq!(answer.places[0].start, answer.start);
    }

    #[test]
    fn the_number_of_texts_is_limited() {
        let mut collector = Collector::new(20, "Where?");
        for number in 0..=MAX_TEXTS {
            let place = Place {
                document: "d".into(),
                start: 0,
                end: 1,
                page: None,
                probability: number as f64,
            };
            collector.add_place(&number.to_string(), place);
        }
        assert_eq!(collector.texts.len(), MAX_TEXTS / 2 + 1);
        assert!(collector.texts.contains_key(&MAX_TEXTS.to_string()));
    }
}
