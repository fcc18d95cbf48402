//! Translates a data set and locates every answer (mixMRC + LAKM, section 3.1).
use std::collections::BTreeMap;
use std::path::PathBuf;

use mlqa_eval::{Answer, Dataset, Language, Question};
use serde::{Deserialize, Serialize};

use crate::carry::{Carried, MARKERS, SpanLoss, Spanned, Work};
use crate::checked::{NoAnswer, answers};
use crate::markers::MarkerFault;
use crate::place::cut;
use crate::search::SearchConfig;
use crate::spans::count;
use crate::{BySearch, Error, PlaceFault, PlaceSpans, Translator};

/// Options of [`translate`](crate::translate()).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranslateConfig {
    /// Whether an answer with lost markers is translated separately and searched, as in the paper.
    pub fall_back: bool,
    /// Search options.
    pub search: SearchConfig,
}

impl Default for TranslateConfig {
    fn default() -> Self {
        Self { fall_back: true, search: SearchConfig::default() }
    }
}

/// Questions translated into one language.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// The language.
    pub language: Language,
    /// Questions, passages and answers in the language, for questions with at least one located
    /// answer. Ids, titles and order are the source's.
    pub dataset: Dataset,
    /// Questions with translated question text and the source's passage and answers. Includes all
    /// questions of `dataset`.
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
    /// Number of questions whose first retained answer was located by search.
    pub by_search: usize,
    /// Number of questions with answers in existing translations; see
    /// [`parallel`](crate::parallel()).
    pub given: usize,
    /// Number of skipped questions, by reason.
    pub discarded: Discarded,
    /// Number of marker faults by type, including texts whose answer was then found by search.
    pub faults: Faults,
    /// Number of retained answers beyond each question's first.
    pub further_answers: usize,
    /// Number of dropped distinct answers of retained questions, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped_answers: BTreeMap<SpanLoss, usize>,
}

/// Number of skipped questions, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Discarded {
    /// The source has no answer.
    pub no_answer: usize,
    /// An answer is blank or not at its offset.
    pub misplaced_answer: usize,
    /// The question has no translation.
    pub untranslated_question: usize,
    /// The passage has no translation.
    pub untranslated_passage: usize,
    /// The markers were lost, and the answer has no separate translation.
    pub untranslated_answer: usize,
    /// The markers were lost, and the answer was not searched.
    pub lost_markers: usize,
    /// The passage does not contain the translated answer.
    pub answer_not_found: usize,
    /// The passage contains the translated answer more than once.
    pub answer_ambiguous: usize,
    /// The existing translation lacks the id.
    pub missing_id: usize,
}

impl Discarded {
    /// Counts a question by the outcome of its first answer.
    fn count(&mut self, loss: SpanLoss) {
        *match loss {
            SpanLoss::Misplaced => &mut self.misplaced_answer,
            SpanLoss::UntranslatedText => &mut self.untranslated_passage,
            SpanLoss::LostMarkers => &mut self.lost_markers,
            SpanLoss::Unplaced(PlaceFault::NoAnswer) => &mut self.untranslated_answer,
            SpanLoss::Unplaced(PlaceFault::Ambiguous) => &mut self.answer_ambiguous,
            SpanLoss::Unplaced(_) | SpanLoss::Overlap => &mut self.answer_not_found,
        } += 1;
    }

    /// Returns the sum over all reasons.
    pub fn total(&self) -> usize {
        self.by_reason().into_iter().map(|(_, count)| count).sum()
    }

    /// Returns each reason as text with its count.
    pub fn by_reason(&self) -> [(&'static str, usize); 9] {
        [
            ("without an answer", self.no_answer),
            ("answer not at its offset", self.misplaced_answer),
            ("question without translation", self.untranslated_question),
            ("passage without translation", self.untranslated_passage),
            ("answer without translation", self.untranslated_answer),
            ("markers lost", self.lost_markers),
            ("answer not in the passage", self.answer_not_found),
            ("answer more than once in the passage", self.answer_ambiguous),
            ("id not in the translated data", self.missing_id),
        ]
    }
}

/// Counts of [`MarkerFault`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// [`MarkerFault::Missing`].
    pub missing: usize,
    /// [`MarkerFault::Duplicate`].
    pub duplicate: usize,
    /// [`MarkerFault::Reordered`].
    pub reordered: usize,
    /// [`MarkerFault::Empty`].
    pub empty: usize,
}

impl Faults {
    pub(crate) fn count(&mut self, fault: MarkerFault) {
        *match fault {
            MarkerFault::Missing => &mut self.missing,
            MarkerFault::Duplicate => &mut self.duplicate,
            MarkerFault::Reordered => &mut self.reordered,
            MarkerFault::Empty => &mut self.empty,
        } += 1;
    }
}

impl TranslateReport {
    /// Returns the number of retained questions.
    pub fn kept(&self) -> usize {
        self.by_markers + self.by_search + self.given
    }

    /// Returns the passage of a question and its located, distinct answers; `None` without an
    /// answer. `misplaced` is the number of source answers that were not searched.
    fn take(&mut self, carried: Carried, misplaced: usize) -> Option<(String, Vec<Answer>)> {
        let passage = carried.text.unwrap_or_default();
        let (mut kept, mut lost, mut way) = (Vec::new(), Vec::new(), None);
        for one in carried.spans {
            let placed = match one {
                Ok(placed) => placed,
                Err(loss) => {
                    lost.push(loss);
                    continue;
                }
            };
            let text = cut(&passage, &placed.span).unwrap_or_default();
            let answer = Answer { text, answer_start: placed.span.start };
            if kept.contains(&answer) {
                lost.push(SpanLoss::Overlap);
            } else {
                way.get_or_insert(placed.method);
                kept.push(answer);
            }
        }
        match way {
            None => {
                lost.first().into_iter().for_each(|&loss| self.discarded.count(loss));
                return None;
            }
            Some(MARKERS) => self.by_markers += 1,
            Some(_) => self.by_search += 1,
        }
        self.further_answers += kept.len() - 1;
        count(&mut self.dropped_answers, SpanLoss::Misplaced, misplaced);
        lost.into_iter().for_each(|loss| count(&mut self.dropped_answers, loss, 1));
        Some((passage, kept))
    }

    /// Returns 1 − kept / source, 0 to 1; 0 for an empty source. The paper's values: de 0.0835, es
    /// 0.0053 (MLQA); fr 0.0727, de 0.0934 (MTQA).
    pub fn skip_ratio(&self) -> f64 {
        match self.source {
            0 => 0.0,
            source => 1.0 - self.kept() as f64 / source as f64,
        }
    }
}

/// Stage of a translation, for progress bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Questions.
    Questions,
    /// Passages or sentences with their marked spans.
    MarkedPassages,
    /// Passages without markers, whose markers were lost.
    Passages,
    /// Separate answers or other spans, which are then searched.
    Answers,
}

/// Translates `source` from the language `from` into `to`. `progress` is called with the stage, the
/// number of finished texts and the total number of texts.
///
/// Each question is translated, and its passage with its answer marked ([`mark`](crate::mark())),
/// or with its distinct answers marked if there are several ([`mark_spans`](crate::mark_spans())).
/// If the markers are lost, answers and passage are translated separately and the answers are
/// searched in the passage ([`search`](crate::search())). An answer that overlaps a marked one is
/// searched, too. Answers that cannot be aligned are skipped and counted, and so are questions
/// without a remaining answer.
///
/// Questions of one paragraph may get different passages, because each passage was translated with
/// its markers at another position.
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
    let mut work = Work::new(translator, from, to, &mut progress)?;
    let mut report = TranslateReport { source: source.questions.len(), ..Default::default() };
    let reworded = translate_questions(&mut work, source, &mut report)?;
    let (mut selected_questions, mut passages) = (Vec::new(), Vec::new());
    for question in &reworded {
        match answers(question) {
            Ok((all, misplaced)) => {
                let span =
                    |one: &&Answer| one.answer_start..one.answer_start + one.text.chars().count();
                selected_questions.push((question, misplaced));
                let spans = all.iter().map(span).collect();
                passages.push(Spanned { text: &question.context, spans });
            }
            Err(NoAnswer::None) => report.discarded.no_answer += 1,
            Err(NoAnswer::Misplaced) => report.discarded.misplaced_answer += 1,
        }
    }
    let mut search = BySearch { config: config.search.clone() };
    let place = config.fall_back.then_some(&mut search as &mut dyn PlaceSpans);
    let carried = work.carry(&passages, place)?;
    report.faults = work.faults;
    let kept = selected_questions.into_iter().zip(carried).filter_map(
        |((question, misplaced), carried)| {
            let (passage, answers) = report.take(carried, misplaced)?;
            Some(Question { context: passage.into(), answers, ..question.clone() })
        },
    );
    let dataset = Dataset {
        path: PathBuf::from(format!("translation of {} into {to}", source.path.display())),
        version: source.version.clone(),
        questions: kept.collect(),
    };
    dataset.check_answers()?;
    let questions = Dataset { questions: reworded, ..source.clone() };
    Ok(Translated { language: to, dataset, questions, report })
}

/// Returns the questions with a translated question text and the source's passage and answers.
fn translate_questions(
    work: &mut Work<'_>,
    source: &Dataset,
    report: &mut TranslateReport,
) -> Result<Vec<Question>, Error> {
    let wordings: Vec<&str> = source.questions.iter().map(|one| one.question.as_str()).collect();
    let translations = work.run(Stage::Questions, &wordings)?;
    let mut reworded = Vec::with_capacity(source.questions.len());
    for (question, wording) in source.questions.iter().zip(translations) {
        match wording {
            Some(wording) => reworded.push(Question { question: wording, ..question.clone() }),
            None => report.discarded.untranslated_question += 1,
        }
    }
    Ok(reworded)
}
