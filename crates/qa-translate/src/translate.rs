//! A data set in another language, every answer found again (mixMRC + LAKM, section 3.1).
use std::path::PathBuf;

use mlqa_eval::{Answer, Dataset, Language, Question};
use serde::{Deserialize, Serialize};

use crate::checked::{NoAnswer, first_answer};
use crate::markers::{Marked, MarkerFault, Recovered, mark};
use crate::search::{SearchConfig, SearchFault, search};
use crate::{Error, Translations, Translator};

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
    /// Question, passage and answer in the language, for the questions whose answer was found; ids,
    /// titles and order are the source's.
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
    /// Answers found by their markers.
    pub by_markers: usize,
    /// Answers found by searching them.
    pub by_search: usize,
    /// Answers that stood in data translated already; see [`parallel`](crate::parallel()).
    pub given: usize,
    /// Questions left out, by reason.
    pub discarded: Discarded,
    /// Markers that could not be read back, by fault; the search may have found the answer all the
    /// same.
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
    /// Passages with a marked answer.
    MarkedPassages,
    /// Passages without markers, for answers that are searched.
    Passages,
    /// Answers alone.
    Answers,
}

/// Translates `source`, in the language `from`, into `to`; `progress` is called with the stage,
/// texts done and texts in all.
///
/// Each question is translated, and its passage with the first answer marked ([`mark`]). Where the
/// markers do not come back ([`Marked::recover`]), answer and passage are translated apart and the
/// one is searched in the other ([`search`]). What cannot be aligned is left out and counted.
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
    progress: impl FnMut(Stage, usize, usize),
) -> Result<Translated, Error> {
    if from == to {
        let problem = "the data is in this language already".into();
        return Err(Error::Language { language: to, problem });
    }
    let report = TranslateReport { source: source.questions.len(), ..Default::default() };
    let mut work = Work { translator, from, to, progress, report };
    let reworded = work.translate_questions(source)?;
    let marked = work.mark_answers(&reworded)?;
    let (mut aligned, lost) = work.translate_marked(&marked)?;
    match config.fall_back {
        true => aligned.extend(work.search_lost(&reworded, &lost, &config.search)?),
        false => work.report.discarded.lost_markers += lost.len(),
    }

    aligned.sort_by_key(|one| one.question);
    let kept = aligned.into_iter().filter_map(|Aligned { question, passage, answer }| {
        let question = reworded.get(question)?.clone();
        Some(Question { context: passage.into(), answers: vec![answer], ..question })
    });
    let dataset = Dataset {
        path: PathBuf::from(format!("translation of {} into {to}", source.path.display())),
        version: source.version.clone(),
        questions: kept.collect(),
    };
    dataset.check_answers()?;
    let report = work.report;
    let questions = Dataset { questions: reworded, ..source.clone() };
    Ok(Translated { language: to, dataset, questions, report })
}

/// A passage with its answer marked; `question` is its index among the reworded ones.
struct MarkedAnswer<'a> {
    question: usize,
    answer: &'a Answer,
    marked: Marked,
}

/// A translated passage with its answer.
struct Aligned {
    question: usize,
    passage: String,
    answer: Answer,
}

/// A translator with its languages, and the counts of what it has done.
struct Work<'a, P> {
    translator: &'a mut dyn Translator,
    from: Language,
    to: Language,
    progress: P,
    report: TranslateReport,
}

impl<P: FnMut(Stage, usize, usize)> Work<'_, P> {
    /// The questions whose wording has a translation: new wording, the source's passage and
    /// answers.
    fn translate_questions(&mut self, source: &Dataset) -> Result<Vec<Question>, Error> {
        let wordings: Vec<&str> =
            source.questions.iter().map(|one| one.question.as_str()).collect();
        let translations = self.run(Stage::Questions, &wordings)?;
        let mut reworded = Vec::with_capacity(source.questions.len());
        for (question, wording) in source.questions.iter().zip(translations) {
            match wording {
                Some(wording) => reworded.push(Question { question: wording, ..question.clone() }),
                None => self.report.discarded.untranslated_question += 1,
            }
        }
        Ok(reworded)
    }

    /// Marks the first answer of each question in its passage.
    fn mark_answers<'q>(
        &mut self,
        questions: &'q [Question],
    ) -> Result<Vec<MarkedAnswer<'q>>, Error> {
        let mut all = Vec::with_capacity(questions.len());
        for (index, question) in questions.iter().enumerate() {
            match first_answer(question) {
                Ok(answer) => {
                    let length = answer.text.chars().count();
                    let marked = mark(&question.context, answer.answer_start, length)?;
                    self.report.further_answers += question.answers.len() - 1;
                    all.push(MarkedAnswer { question: index, answer, marked });
                }
                Err(NoAnswer::None) => self.report.discarded.no_answer += 1,
                Err(NoAnswer::Misplaced) => self.report.discarded.misplaced_answer += 1,
            }
        }
        Ok(all)
    }

    /// Translates marked passages and reads the markers back; also returns those that lost them.
    fn translate_marked<'m, 'q>(
        &mut self,
        all: &'m [MarkedAnswer<'q>],
    ) -> Result<(Vec<Aligned>, Vec<&'m MarkedAnswer<'q>>), Error> {
        let texts: Vec<&str> = all.iter().map(|one| one.marked.text.as_str()).collect();
        let translations = self.run(Stage::MarkedPassages, &texts)?;
        let (mut aligned, mut lost) = (Vec::with_capacity(all.len()), Vec::new());
        for (one, translation) in all.iter().zip(translations) {
            let Some(translation) = translation else {
                self.report.discarded.untranslated_passage += 1;
                continue;
            };
            match one.marked.recover(&translation) {
                Ok(Recovered { passage, answer }) => {
                    self.report.by_markers += 1;
                    aligned.push(Aligned { question: one.question, passage, answer });
                }
                Err(fault) => {
                    self.report.faults.count(fault);
                    lost.push(one);
                }
            }
        }
        Ok((aligned, lost))
    }

    /// Translates passages and answers apart and searches the one in the other.
    fn search_lost(
        &mut self,
        questions: &[Question],
        lost: &[&MarkedAnswer<'_>],
        config: &SearchConfig,
    ) -> Result<Vec<Aligned>, Error> {
        let passage = |index: usize| questions.get(index).map_or("", |one| &one.context);
        let passages: Vec<&str> = lost.iter().map(|one| passage(one.question)).collect();
        let answers: Vec<&str> = lost.iter().map(|one| one.answer.text.as_str()).collect();
        let translated_passages = self.run(Stage::Passages, &passages)?;
        let translated_answers = self.run(Stage::Answers, &answers)?;
        let translations = translated_passages.into_iter().zip(translated_answers);
        let discarded = &mut self.report.discarded;
        let mut aligned = Vec::with_capacity(lost.len());
        for ((&&MarkedAnswer { question, answer, .. }, source), translation) in
            lost.iter().zip(passages).zip(translations)
        {
            let (passage, wanted) = match translation {
                (Some(passage), Some(wanted)) => (passage, wanted),
                (None, _) => {
                    discarded.untranslated_passage += 1;
                    continue;
                }
                (Some(_), None) => {
                    discarded.untranslated_answer += 1;
                    continue;
                }
            };
            let position = answer.answer_start as f64 / source.chars().count().max(1) as f64;
            match search(&passage, &wanted, position, config) {
                Ok(answer) => {
                    self.report.by_search += 1;
                    aligned.push(Aligned { question, passage, answer });
                }
                Err(SearchFault::NotFound) => discarded.answer_not_found += 1,
                Err(SearchFault::Ambiguous) => discarded.answer_ambiguous += 1,
            }
        }
        Ok(aligned)
    }

    /// Translates in batches; a blank translation is none.
    fn run(&mut self, stage: Stage, texts: &[&str]) -> Translations {
        let mut all = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.translator.batch_size().max(1)) {
            (self.progress)(stage, all.len(), texts.len());
            let translated = self.translator.translate(batch, self.from, self.to)?;
            if translated.len() != batch.len() {
                let (expected, got) = (batch.len(), translated.len());
                return Err(Error::Count { expected, got });
            }
            let blank = |text: &String| !text.trim().is_empty();
            all.extend(translated.into_iter().map(|text| text.filter(blank)));
        }
        (self.progress)(stage, texts.len(), texts.len());
        Ok(all)
    }
}
