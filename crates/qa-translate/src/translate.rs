//! Translates a data set and locates every answer (mixMRC + LAKM, section 3.1).
use std::collections::BTreeMap;
use std::path::PathBuf;

use mlqa_eval::{Answer, Dataset, Language, Question};
use serde::{Deserialize, Serialize};

use crate::checked::{NoAnswer, valid_answers, valid_span};
use crate::place::slice;
use crate::search::SearchConfig;
use crate::transfer::{
    MARKERS_METHOD, MarkerErrorCounts, SpanLoss, SpanText, SpanTransfer, Stage, TransferredText,
    add_count,
};
use crate::{BySearch, Error, MarkerNotation, PlaceError, PlaceSpans, ReplyReport, Translator};

/// Options for [`translate`](crate::translate()).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranslateConfig {
    /// Form of the markers around answers. `None` translates passages without markers, so that
    /// markers do not change the translation, and searches for every answer.
    pub notation: Option<MarkerNotation>,
    /// Whether an answer with lost markers is translated separately and searched for in the
    /// translated passage, as in the paper.
    pub fall_back: bool,
    /// Search options.
    pub search: SearchConfig,
}

impl Default for TranslateConfig {
    fn default() -> Self {
        let notation = Some(MarkerNotation::default());
        Self { notation, fall_back: true, search: SearchConfig::default() }
    }
}

/// Questions translated into one language.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// The language.
    pub language: Language,
    /// Questions, passages and answers in the language, for questions with at least one located
    /// answer and for unanswerable questions. Ids, titles and order are taken from the source.
    pub dataset: Dataset,
    /// Questions with translated question text and the source's passage and answers. All questions
    /// of `dataset` are included.
    pub questions: Dataset,
    /// Counts of the source's questions by outcome.
    pub report: TranslateReport,
}

/// Counts for one language.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TranslateReport {
    /// Number of source questions.
    pub source: usize,
    /// Number of questions whose first retained answer was located by its markers.
    pub by_markers: usize,
    /// Number of questions whose first retained answer was located by search or by another
    /// implementation of [`PlaceSpans`].
    pub by_search: usize,
    /// Number of questions with answers in existing translations; see
    /// [`align_by_id`](crate::align_by_id).
    #[serde(rename = "given")]
    pub from_parallel: usize,
    /// Number of retained questions without an answer in the source (SQuAD 2.0).
    pub unanswerable: usize,
    /// Number of skipped questions, by reason.
    pub discarded: Discarded,
    /// Number of texts whose markers could not be recovered, by reason, including texts whose
    /// answer was then found by search.
    pub faults: MarkerErrorCounts,
    /// Number of retained answers beyond the first answer of each question.
    pub further_answers: usize,
    /// Number of dropped distinct answers of retained questions, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped_answers: BTreeMap<SpanLoss, usize>,
    /// Form of the markers; `None` for translations without markers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub markers: Option<MarkerNotation>,
    /// Counts of cleaned and rejected replies of the translator.
    #[serde(skip_serializing_if = "ReplyReport::is_empty")]
    pub replies: ReplyReport,
}

/// Number of skipped questions, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Discarded {
    /// The source has an answer and an existing translation has none, or the reverse.
    pub no_answer: usize,
    /// Every answer is blank or not at its offset.
    pub misplaced_answer: usize,
    /// The question has no translation.
    pub untranslated_question: usize,
    /// The passage has no translation.
    pub untranslated_passage: usize,
    /// The markers were lost, and the answer has no separate translation.
    pub untranslated_answer: usize,
    /// The markers were lost, and no search was made for the answer.
    pub lost_markers: usize,
    /// The passage does not contain the translated answer.
    pub answer_not_found: usize,
    /// The passage contains the translated answer more than once.
    pub answer_ambiguous: usize,
    /// Answer or passage are too long for the model that locates answers.
    pub text_too_long: usize,
    /// The existing translation does not contain the question's id.
    pub missing_id: usize,
}

impl Discarded {
    /// Counts a question by the outcome of its first answer.
    fn count(&mut self, loss: SpanLoss) {
        *match loss {
            SpanLoss::Misplaced => &mut self.misplaced_answer,
            SpanLoss::UntranslatedText => &mut self.untranslated_passage,
            SpanLoss::LostMarkers => &mut self.lost_markers,
            SpanLoss::Unplaced(PlaceError::NoAnswer) => &mut self.untranslated_answer,
            SpanLoss::Unplaced(PlaceError::Ambiguous) => &mut self.answer_ambiguous,
            SpanLoss::Unplaced(PlaceError::TooLong) => &mut self.text_too_long,
            SpanLoss::Unplaced(_) | SpanLoss::Overlap => &mut self.answer_not_found,
        } += 1;
    }

    /// Returns the number of skipped questions over all reasons.
    pub fn total(&self) -> usize {
        self.by_reason().into_iter().map(|(_, count)| count).sum()
    }

    /// Returns each reason as text with its count.
    pub fn by_reason(&self) -> [(&'static str, usize); 10] {
        [
            ("answer in one language only", self.no_answer),
            ("answer not at its offset", self.misplaced_answer),
            ("question without translation", self.untranslated_question),
            ("passage without translation", self.untranslated_passage),
            ("answer without translation", self.untranslated_answer),
            ("markers lost", self.lost_markers),
            ("answer not in the passage", self.answer_not_found),
            ("answer more than once in the passage", self.answer_ambiguous),
            ("text too long for the model", self.text_too_long),
            ("id not in the translated data", self.missing_id),
        ]
    }
}

impl TranslateReport {
    /// Returns the number of retained questions.
    pub fn kept(&self) -> usize {
        self.by_markers + self.by_search + self.from_parallel + self.unanswerable
    }

    /// Adds the answers of one question to the counts, and returns the translated passage and the
    /// distinct answers that were located in it.
    ///
    /// Returns `None` if the question has answers and none was located, or the passage has no
    /// translation. `misplaced` is the number of source answers that
    /// are not at their offset.
    pub(crate) fn count_answers(
        &mut self,
        transferred: TransferredText,
        misplaced: usize,
    ) -> Option<(String, Vec<Answer>)> {
        if transferred.spans.is_empty() {
            match transferred.text {
                Some(_) => self.unanswerable += 1,
                None => self.discarded.untranslated_passage += 1,
            }
            return Some((transferred.text?, Vec::new()));
        }
        let passage = transferred.text;
        let (mut answers, mut losses, mut method) = (Vec::new(), Vec::new(), None);
        for result in transferred.spans {
            let placed = match result {
                Ok(placed) => placed,
                Err(loss) => {
                    losses.push(loss);
                    continue;
                }
            };
            let passage = passage.as_deref().expect("a located answer has a passage");
            let text = slice(passage, &placed.span).expect("a located answer is in the passage");
            let answer = Answer::at(placed.span.start, text);
            if answers.contains(&answer) {
                losses.push(SpanLoss::Overlap);
            } else {
                method.get_or_insert(placed.method);
                answers.push(answer);
            }
        }
        match method {
            None => {
                losses.first().into_iter().for_each(|&loss| self.discarded.count(loss));
                return None;
            }
            Some(MARKERS_METHOD) => self.by_markers += 1,
            Some(_) => self.by_search += 1,
        }
        self.further_answers += answers.len() - 1;
        add_count(&mut self.dropped_answers, SpanLoss::Misplaced, misplaced);
        losses.into_iter().for_each(|loss| add_count(&mut self.dropped_answers, loss, 1));
        Some((passage.expect("a located answer has a passage"), answers))
    }

    /// Returns the fraction of source questions that were skipped, from 0 to 1; 0 for an empty
    /// source.
    ///
    /// The paper's values are 0.0835 for de and 0.0053 for es (MLQA), and 0.0727 for fr and 0.0934
    /// for de (MTQA).
    pub fn skip_ratio(&self) -> f64 {
        match self.source {
            0 => 0.0,
            source => 1.0 - self.kept() as f64 / source as f64,
        }
    }
}

/// Translates `source` from the language `from` into `to`.
///
/// `progress` is called with the stage, the number of finished texts and the total number of texts.
///
/// Questions and passages are translated. In a passage, the distinct answers are marked
/// ([`mark`](crate::mark())). If the markers are lost, answers and passage are translated
/// separately, and the passage is searched for the answers ([`search`](crate::search())). The
/// translated passage is also searched for answers that overlap a marked answer. Answers that
/// cannot be aligned, and questions without a remaining answer, are skipped and counted. Questions
/// without an answer in the source (SQuAD 2.0) are translated with their passage and retained.
///
/// Questions of one paragraph may have different translations of the passage, because the markers
/// are at different positions in the translated text.
///
/// ```
/// use mlqa_eval::{Dataset, Language};
/// use qa_translate::{Identity, TranslateConfig, translate};
///
/// let source = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let config = TranslateConfig::default();
/// let (en, de) = (Language::EN, Language::DE);
/// let translated = translate(&source, en, de, &mut Identity, &config, |_, _, _| {})?;
/// assert_eq!(translated.dataset.questions, source.questions);
/// assert_eq!(translated.report.skip_ratio(), 0.0);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Language`] if the languages are the same, and the errors of the translator.
pub fn translate(
    source: &Dataset,
    from: Language,
    to: Language,
    translator: &mut dyn Translator,
    config: &TranslateConfig,
    mut progress: impl FnMut(Stage, usize, usize),
) -> Result<Translated, Error> {
    let mut transfer = SpanTransfer::new(translator, from, to, config.notation, &mut progress)?;
    let (source_count, markers) = (source.questions.len(), config.notation);
    let mut report = TranslateReport { source: source_count, markers, ..Default::default() };
    let translated_questions = translate_questions(&mut transfer, source, &mut report)?;
    let (mut selected_questions, mut passages) = (Vec::new(), Vec::new());
    for question in &translated_questions {
        match valid_answers(question) {
            Ok((answers, misplaced)) => {
                selected_questions.push((question, misplaced));
                let spans = answers.iter().map(|answer| valid_span(answer)).collect();
                passages.push(SpanText { text: &question.context, spans });
            }
            // An unanswerable question has no span to locate.
            Err(NoAnswer::None) => {
                selected_questions.push((question, 0));
                passages.push(SpanText { text: &question.context, spans: Vec::new() });
            }
            Err(NoAnswer::Misplaced) => report.discarded.misplaced_answer += 1,
        }
    }
    let mut search = BySearch { config: config.search.clone() };
    let placer = config.fall_back.then_some(&mut search as &mut dyn PlaceSpans);
    let transferred = transfer.transfer_spans(&passages, placer)?;
    report.faults = transfer.faults;
    report.replies = transfer.translator.take_reply_report();
    let answered_questions = selected_questions.into_iter().zip(transferred).filter_map(
        |((question, misplaced), transferred)| {
            let (passage, answers) = report.count_answers(transferred, misplaced)?;
            Some(Question { context: passage.into(), answers, ..question.clone() })
        },
    );
    let dataset = Dataset {
        path: PathBuf::from(format!("translation of {} into {to}", source.path.display())),
        version: source.version.clone(),
        questions: answered_questions.collect(),
    };
    dataset.check_answers()?;
    let questions = Dataset { questions: translated_questions, ..source.clone() };
    Ok(Translated { language: to, dataset, questions, report })
}

/// Returns the questions with a translated question text and the source's passage and answers.
fn translate_questions(
    transfer: &mut SpanTransfer<'_>,
    source: &Dataset,
    report: &mut TranslateReport,
) -> Result<Vec<Question>, Error> {
    let texts: Vec<&str> =
        source.questions.iter().map(|question| question.question.as_str()).collect();
    let translations = transfer.translate(Stage::Questions, &texts)?;
    let mut questions = Vec::with_capacity(source.questions.len());
    for (question, translation) in source.questions.iter().zip(translations) {
        match translation {
            Some(text) => questions.push(Question { question: text, ..question.clone() }),
            None => report.discarded.untranslated_question += 1,
        }
    }
    Ok(questions)
}
