//! A data set in another language, every answer found again (mixMRC + LAKM, section 3.1).
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

/// How a data set is translated.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranslateConfig {
    /// Whether an answer whose markers are lost is translated alone and searched, as in the paper.
    pub fall_back: bool,
    /// How it is searched.
    pub search: SearchConfig,
}

impl Default for TranslateConfig {
    fn default() -> Self {
        Self { fall_back: true, search: SearchConfig::default() }
    }
}

/// Questions in one other language.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// The language.
    pub language: Language,
    /// Question, passage and answers in the language, for the questions of which one answer was
    /// found at least; ids, titles and order are the source's.
    pub dataset: Dataset,
    /// Questions whose wording alone is in the language: passage and answers are the source's. At
    /// least those of `dataset`.
    pub questions: Dataset,
    /// What became of the source's questions.
    pub report: TranslateReport,
}

/// Counts of one language.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TranslateReport {
    /// Questions of the source.
    pub source: usize,
    /// Questions whose first answer kept was found by its markers.
    pub by_markers: usize,
    /// Those whose first answer kept was found by searching it.
    pub by_search: usize,
    /// Those whose answers stood in data translated already; see [`parallel`](crate::parallel()).
    pub given: usize,
    /// Questions left out, by reason.
    pub discarded: Discarded,
    /// Markers that could not be read back, by fault; the search may have found the answer all the
    /// same.
    pub faults: Faults,
    /// Answers kept beyond a question's first.
    pub further_answers: usize,
    /// Different answers of the questions kept that were dropped, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped_answers: BTreeMap<SpanLoss, usize>,
}

/// Questions left out, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Discarded {
    /// The source has no answer.
    pub no_answer: usize,
    /// An answer is blank or not at its offset.
    pub misplaced_answer: usize,
    /// No translation of the question.
    pub untranslated_question: usize,
    /// No translation of the passage.
    pub untranslated_passage: usize,
    /// The markers were lost, and there is no translation of the answer alone.
    pub untranslated_answer: usize,
    /// The markers were lost, and nothing was searched.
    pub lost_markers: usize,
    /// The passage does not hold the translated answer.
    pub answer_not_found: usize,
    /// It holds it more than once.
    pub answer_ambiguous: usize,
    /// Data translated already lacks the id.
    pub missing_id: usize,
}

impl Discarded {
    /// Counts a question by what became of its first answer.
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

    /// The sum of all reasons.
    pub fn total(&self) -> usize {
        self.by_reason().into_iter().map(|(_, count)| count).sum()
    }

    /// Each reason in words with its count.
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
    /// Questions kept.
    pub fn kept(&self) -> usize {
        self.by_markers + self.by_search + self.given
    }

    /// The passage of a question and its answers that were found, each at a place of its own;
    /// `None` without one. `misplaced` answers of the source were not looked for.
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

    /// 1 − kept / source, 0 to 1; 0 for an empty source. The paper's: de 0.0835, es 0.0053 (MLQA);
    /// fr 0.0727, de 0.0934 (MTQA).
    pub fn skip_ratio(&self) -> f64 {
        match self.source {
            0 => 0.0,
            source => 1.0 - self.kept() as f64 / source as f64,
        }
    }
}

/// What is being translated, in words for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Questions.
    Questions,
    /// Passages or sentences with what is marked in them.
    MarkedPassages,
    /// Those without markers, where these were lost.
    Passages,
    /// Answers or other spans alone, which are then searched.
    Answers,
}

/// Translates `source`, in the language `from`, into `to`; `progress` is called with the stage,
/// texts done and texts in all.
///
/// Each question is translated, and its passage with its answer marked ([`mark`](crate::mark())),
/// or with its different answers if it has several ([`mark_spans`](crate::mark_spans())). Where the
/// markers do not come back, answers and passage are translated apart and the ones are searched in
/// the other ([`search`](crate::search())); so is an answer that overlaps a marked one. What cannot
/// be aligned is left out and counted: an answer, and a question without any left.
/// Questions of one paragraph may end with passages that differ, since each was translated with a
/// marker at another place.
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
/// [`Error::Language`] if the languages are the same, and what the translator fails with.
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
    let (mut asked, mut passages) = (Vec::new(), Vec::new());
    for question in &reworded {
        match answers(question) {
            Ok((all, misplaced)) => {
                let span =
                    |one: &&Answer| one.answer_start..one.answer_start + one.text.chars().count();
                asked.push((question, misplaced));
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
    let kept = asked.into_iter().zip(carried).filter_map(|((question, misplaced), carried)| {
        let (passage, answers) = report.take(carried, misplaced)?;
        Some(Question { context: passage.into(), answers, ..question.clone() })
    });
    let dataset = Dataset {
        path: PathBuf::from(format!("translation of {} into {to}", source.path.display())),
        version: source.version.clone(),
        questions: kept.collect(),
    };
    dataset.check_answers()?;
    let questions = Dataset { questions: reworded, ..source.clone() };
    Ok(Translated { language: to, dataset, questions, report })
}

/// The questions whose wording has a translation: new wording, the source's passage and answers.
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
