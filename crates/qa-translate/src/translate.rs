//! A data set in another language, every answer found again (mixMRC + LAKM, section 3.1).
use std::path::PathBuf;

use mlqa_eval::{Answer, Dataset, Language, Question};
use serde::{Deserialize, Serialize};

use crate::checked::{NoAnswer, first_answer};
use crate::markers::{MarkerFault, mark, recover};
use crate::search::{SearchConfig, SearchFault, search};
use crate::{TranslateError, Translator};

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
    /// Question, passage and answer in the language, for the questions whose answer was found; ids, titles and order
    /// are the source's.
    pub dataset: Dataset,
    /// Questions whose wording alone is in the language: passage and answers are the source's. At least those of
    /// `dataset`.
    pub questions: Dataset,
    /// What became of the source's questions.
    pub report: TranslateReport,
}

/// Counts of one language.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TranslateReport {
    /// Questions of the source.
    pub source: usize,
    /// Answers found by their markers.
    pub by_markers: usize,
    /// Answers found by searching them.
    pub by_search: usize,
    /// Answers that stood in data translated already; see [`parallel`](crate::parallel()).
    pub given: usize,
    /// Questions left out, by reason.
    pub discarded: Discarded,
    /// Markers that could not be read back, by fault; the search may have found the answer all the same.
    pub faults: Faults,
    /// Gold answers beyond a question's first, which are not translated.
    pub further_answers: usize,
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
    fn count(&mut self, fault: MarkerFault) {
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

    /// 1 − kept / source, 0 to 1; 0 for an empty source. The paper's: de 0.0835, es 0.0053 (MLQA); fr 0.0727,
    /// de 0.0934 (MTQA).
    pub fn skip_ratio(&self) -> f64 {
        match self.source {
            0 => 0.0,
            source => 1.0 - self.kept() as f64 / source as f64,
        }
    }
}

/// What is being translated, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Questions.
    Questions,
    /// Passages with a marked answer.
    MarkedPassages,
    /// Passages without markers, for answers that are searched.
    Passages,
    /// Answers alone.
    Answers,
}

/// Translates `source`, in the language `from`, into `to`; `progress` hears the stage, texts done and texts in all.
///
/// Each question is translated, and its passage with the first answer marked ([`mark`]). Where the markers do not come
/// back ([`recover`]), answer and passage are translated apart and the one is searched in the other ([`search`]). What
/// cannot be aligned is left out and counted. Questions of one paragraph may end with passages that differ, since each
/// was translated with a marker at another place.
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
/// # Ok::<(), qa_translate::TranslateError>(())
/// ```
///
/// # Errors
/// [`TranslateError::Language`] if the languages are the same, and what the translator fails with.
pub fn translate(
    source: &Dataset,
    from: Language,
    to: Language,
    translator: &mut impl Translator,
    config: &TranslateConfig,
    progress: impl FnMut(Stage, usize, usize),
) -> Result<Translated, TranslateError> {
    if from == to {
        let problem = "the data is in this language already".into();
        return Err(TranslateError::Language { language: to, problem });
    }
    let mut report = TranslateReport { source: source.questions.len(), ..Default::default() };
    let mut work = Work { translator, from, to, progress };

    let wordings: Vec<&str> = source.questions.iter().map(|one| one.question.as_str()).collect();
    let wordings = work.run(Stage::Questions, &wordings)?;
    let mut own_words: Vec<Question> = Vec::with_capacity(source.questions.len());
    let mut marked = Vec::with_capacity(source.questions.len());
    for (question, wording) in source.questions.iter().zip(wordings) {
        let Some(wording) = wording else {
            report.discarded.untranslated_question += 1;
            continue;
        };
        let place = own_words.len();
        own_words.push(Question { question: wording, ..question.clone() });
        match first_answer(question) {
            Ok(answer) => {
                let length = answer.text.chars().count();
                let text = mark(&question.context, answer.answer_start, length)?;
                report.further_answers += question.answers.len() - 1;
                marked.push((place, answer, text));
            }
            Err(NoAnswer::None) => report.discarded.no_answer += 1,
            Err(NoAnswer::Misplaced) => report.discarded.misplaced_answer += 1,
        }
    }

    let texts: Vec<&str> = marked.iter().map(|(_, _, marked)| marked.text.as_str()).collect();
    let translations = work.run(Stage::MarkedPassages, &texts)?;
    let mut found: Vec<(usize, String, Answer)> = Vec::with_capacity(marked.len());
    let mut lost: Vec<(usize, &Answer)> = Vec::new();
    for ((place, answer, marked), translation) in marked.iter().zip(translations) {
        let Some(translation) = translation else {
            report.discarded.untranslated_passage += 1;
            continue;
        };
        match recover(&translation, marked.level) {
            Ok(recovered) => {
                report.by_markers += 1;
                found.push((*place, recovered.passage, recovered.answer));
            }
            Err(fault) => {
                report.faults.count(fault);
                lost.push((*place, answer));
            }
        }
    }

    if config.fall_back {
        let passage = |place: usize| own_words.get(place).map_or("", |one| &one.context);
        let passages: Vec<&str> = lost.iter().map(|&(place, _)| passage(place)).collect();
        let answers: Vec<&str> = lost.iter().map(|(_, answer)| answer.text.as_str()).collect();
        let in_passages = work.run(Stage::Passages, &passages)?;
        let in_answers = work.run(Stage::Answers, &answers)?;
        let translations = in_passages.into_iter().zip(in_answers);
        for (((place, answer), original), (text, wanted)) in
            lost.iter().zip(passages).zip(translations)
        {
            let (Some(text), Some(wanted)) = (&text, &wanted) else {
                let untranslated = match text {
                    None => &mut report.discarded.untranslated_passage,
                    Some(_) => &mut report.discarded.untranslated_answer,
                };
                *untranslated += 1;
                continue;
            };
            let position = answer.answer_start as f64 / original.chars().count().max(1) as f64;
            match search(text, wanted, position, &config.search) {
                Ok(answer) => {
                    report.by_search += 1;
                    found.push((*place, text.clone(), answer));
                }
                Err(SearchFault::NotFound) => report.discarded.answer_not_found += 1,
                Err(SearchFault::Ambiguous) => report.discarded.answer_ambiguous += 1,
            }
        }
    } else {
        report.discarded.lost_markers += lost.len();
    }

    found.sort_by_key(|(place, _, _)| *place);
    let kept = found.into_iter().filter_map(|(place, passage, answer)| {
        let own = own_words.get(place)?.clone();
        Some(Question { context: passage.into(), answers: vec![answer], ..own })
    });
    let dataset = Dataset {
        path: PathBuf::from(format!("translation of {} into {to}", source.path.display())),
        version: source.version.clone(),
        questions: kept.collect(),
    };
    dataset.check_answers()?;
    let questions = Dataset { questions: own_words, ..source.clone() };
    Ok(Translated { language: to, dataset, questions, report })
}

/// A translator with its languages.
struct Work<'a, T, P> {
    translator: &'a mut T,
    from: Language,
    to: Language,
    progress: P,
}

impl<T: Translator, P: FnMut(Stage, usize, usize)> Work<'_, T, P> {
    /// Translates in batches; a blank translation is none.
    fn run(&mut self, stage: Stage, texts: &[&str]) -> Result<Vec<Option<String>>, TranslateError> {
        let mut all = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.translator.batch_size().max(1)) {
            (self.progress)(stage, all.len(), texts.len());
            let translated = self.translator.translate(batch, self.from, self.to)?;
            if translated.len() != batch.len() {
                let (expected, got) = (batch.len(), translated.len());
                return Err(TranslateError::Count { expected, got });
            }
            let blank = |text: &String| !text.trim().is_empty();
            all.extend(translated.into_iter().map(|text| text.filter(blank)));
        }
        (self.progress)(stage, texts.len(), texts.len());
        Ok(all)
    }
}
