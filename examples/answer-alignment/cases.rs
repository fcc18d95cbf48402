//! Spans whose places in the translation are known: XQuAD's answers, the entities of Universal NER.
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use mlqa_eval::{Dataset, Language, Normalization, Predictions, Question, score};
use qa_translate::SpanTask;
use transfer_eval::ner::{Scheme, Sentence, entities, read_ner};

use crate::placements::Case;

/// Questions of each language, evenly from all.
const QUESTIONS: usize = 200;

/// Cases of each language that the encoder scores, evenly from those, of XQuAD and of entities.
const SCORED: [usize; 2] = [100, 300];

/// The answers of a translated data set.
///
/// # Errors
/// If a question has no source or no answer.
pub fn answers(english: &Dataset, target: &Dataset, language: Language) -> Result<Vec<Case>> {
    let sources: BTreeMap<&str, &Question> =
        english.questions.iter().map(|one| (one.id.as_str(), one)).collect();
    let first = |one: &Question| -> Result<Range<usize>> {
        let answer = one.answers.first().with_context(|| format!("question {}", one.id))?;
        Ok(answer.answer_start..answer.answer_start + answer.text.chars().count())
    };
    let case = |question: &Question| -> Result<Case> {
        let source = sources.get(question.id.as_str()).context("id")?;
        Ok(Case {
            id: question.id.clone(),
            task: task(language, &source.context, first(source)?, &question.context)?,
            gold: vec![first(question)?],
            cluster: question.title.to_string(),
            scored: false,
        })
    };
    let [scored, _] = SCORED;
    let questions = evenly(target.questions.len(), QUESTIONS);
    let cases = questions.filter_map(|at| target.questions.get(at)).map(case);
    Ok(some_scored(cases.collect::<Result<_>>()?, scored))
}

/// MLQA's F1 of a part of the passage as an answer, 0 to 1.
///
/// # Errors
/// If the question is not in `target`.
pub fn f1(target: &Dataset, language: Language, case: &Case, span: &Range<usize>) -> Result<f64> {
    let question = target.questions.iter().find(|one| one.id == case.id).context("id")?;
    let text = case.task.target.chars().skip(span.start).take(span.len()).collect();
    let alone =
        Dataset { questions: vec![question.clone()], path: target.path.clone(), version: None };
    let predictions = Predictions([(case.id.clone(), text)].into());
    Ok(score(&alone, &predictions, Normalization::Mlqa(language))?.f1 / 100.0)
}

/// The English entities of Universal NER's PUD whose sentence in the other language has one of
/// their type; each of these is right. `pud` has the sentences with the ids that translations
/// share.
///
/// # Errors
/// If a file cannot be read.
pub fn pud_entities(folder: &Path, pud: &Path, language: Language) -> Result<Vec<Case>> {
    let read = |language| read_ner(folder.join(format!("{language}_pud.test.iob2.gz")), None);
    let (english, translated) = (read(Language::EN)?, read(language)?);
    let named = |language, sentences| names(&pud.join(format!("{language}.tsv")), sentences);
    // German has other texts where it contracts words, and the ids and order of English; Chinese
    // has its own ids, and from the middle on another order.
    let ids = |all: &[Sentence]| -> Vec<Option<String>> {
        all.iter().map(|one| one.id.clone()).collect()
    };
    let (sources, targets) = match ids(&english) == ids(&translated) {
        true => (ids(&english), ids(&translated)),
        false => (named(Language::EN, &english)?, named(language, &translated)?),
    };
    let targets: BTreeMap<String, &Sentence> =
        targets.into_iter().zip(&translated).filter_map(|(id, one)| Some((id?, one))).collect();
    let mut cases = Vec::new();
    for (number, (source, id)) in english.iter().zip(sources).enumerate() {
        let Some(target) = id.and_then(|id| targets.get(&id)) else { continue };
        let (source_text, sources) = spans(source, " ");
        let (target_text, targets) = spans(target, if language == Language::ZH { "" } else { " " });
        let share = |start: usize, text: &str| start as f64 / text.chars().count().max(1) as f64;
        for (kind, span) in sources {
            let mut gold: Vec<Range<usize>> = targets
                .iter()
                .filter(|(other, _)| *other == kind)
                .map(|(_, span)| span.clone())
                .collect();
            let at = share(span.start, &source_text);
            let apart = |span: &Range<usize>| (share(span.start, &target_text) - at).abs();
            gold.sort_by(|one, other| apart(one).total_cmp(&apart(other)));
            if gold.is_empty() {
                continue;
            }
            cases.push(Case {
                id: format!("{number}:{}", span.start),
                task: task(language, &source_text, span, &target_text)?,
                gold,
                cluster: number.to_string(),
                scored: false,
            });
        }
    }
    let [_, scored] = SCORED;
    Ok(some_scored(cases, scored))
}

/// The id in a file of `id<TAB>text` lines of each sentence, by its text without white space.
fn names(path: &Path, sentences: &[Sentence]) -> Result<Vec<Option<String>>> {
    let tight = |text: &str| text.split_whitespace().collect::<String>();
    let lines = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = lines.lines().filter_map(|line| line.split_once('\t'));
    let ids: BTreeMap<String, &str> = lines.map(|(id, text)| (tight(text), id)).collect();
    let id = |one: &Sentence| ids.get(&tight(&one.words.concat())).map(ToString::to_string);
    Ok(sentences.iter().map(id).collect())
}

/// A sentence's text, and its entities in code points with their types, in order.
fn spans<'s>(sentence: &'s Sentence, space: &str) -> (String, Vec<(&'s str, Range<usize>)>) {
    let gap = space.chars().count();
    let mut words: Vec<Range<usize>> = Vec::with_capacity(sentence.words.len());
    for word in &sentence.words {
        let start = words.last().map_or(0, |last| last.end + gap);
        words.push(start..start + word.chars().count());
    }
    let mut all: Vec<(&str, Range<usize>)> = entities(&sentence.tags, Scheme::default())
        .into_iter()
        .filter_map(|one| Some((one.kind, words.get(one.start)?.start..words.get(one.end)?.end)))
        .collect();
    all.sort_by_key(|(_, span)| span.start);
    (sentence.words.join(space), all)
}

fn task(to: Language, source: &str, span: Range<usize>, target: &str) -> Result<SpanTask> {
    let (source, target) = (source.to_owned(), target.to_owned());
    let mut task = SpanTask { from: Language::EN, to, source, span, target, answer: None };
    // No translator is at hand: names and numbers are found as they stand.
    task.answer = Some(task.text()?);
    Ok(task)
}

/// `most` numbers below `count`, or all.
fn evenly(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let most = most.min(count);
    (0..most).map(move |k| k * count / most)
}

fn some_scored(mut cases: Vec<Case>, most: usize) -> Vec<Case> {
    for at in evenly(cases.len(), most) {
        if let Some(case) = cases.get_mut(at) {
            case.scored = true;
        }
    }
    cases
}
