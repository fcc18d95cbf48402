//! The questions of a language pair, and the subset that an answer file includes.
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use mlqa_eval::{Dataset, Error, Predictions, TypedDataset};

use crate::ReportRun;
use crate::collect::OfPair;
use crate::input::{AnswerFile, Pair};
use crate::samples::{Places, Sample, Samples, same_words};

/// The questions of a pair that have a gold answer.
pub(crate) struct Questions {
    pub dataset: Dataset,
    pub types: BTreeMap<String, String>,
    pub without_gold: usize,
    /// For each file of samples, the question id of each line.
    samples: HashMap<PathBuf, Vec<String>>,
    /// Question ids that occur only in files of samples.
    added: HashSet<String>,
}

impl Questions {
    /// Collects the questions of a pair's answer files: those of question files, which must be
    /// equal, and those contained in samples.
    pub fn of(files: &OfPair<'_>) -> Result<Self, Error> {
        let mut found: Option<TypedDataset> = None;
        let all = || files.iter().flatten();
        for file in all().filter(|file| !file.has_own_questions()) {
            let path = &file.questions;
            if found.as_ref().is_some_and(|known| known.dataset.path == *path) {
                continue;
            }
            let typed = TypedDataset::read_any(path)?;
            match &found {
                // Run folders may have separate question files, which must be equal.
                Some(TypedDataset { dataset: first, .. })
                    if first.questions != typed.dataset.questions =>
                {
                    let message = format!(
                        "the questions differ from {}; expected the same questions for all runs",
                        first.path.display()
                    );
                    return Err(Error::Content { path: path.clone(), message });
                }
                Some(_) => {}
                None => found = Some(typed),
            }
        }
        let first = all().next().map_or_else(PathBuf::new, |file| file.questions.clone());
        let TypedDataset { dataset, types } = found.unwrap_or_else(|| TypedDataset {
            dataset: Dataset { path: first, version: None, questions: Vec::new() },
            types: BTreeMap::new(),
        });
        let (samples, added) = (HashMap::new(), HashSet::new());
        let mut questions = Self { dataset, types, without_gold: 0, samples, added };
        let of_samples = all().filter_map(|file| Some((file, file.samples.as_deref()?)));
        let mut places: Option<Places> = None;
        for (file, samples) in of_samples {
            let places = places.get_or_insert_with(|| Places::of(&questions.dataset));
            questions.add(file, samples, places)?;
        }
        let all = &mut questions.dataset.questions;
        let before = all.len();
        all.retain(|question| !question.answers.is_empty());
        questions.without_gold = before - all.len();
        match all.is_empty() {
            true => Err(Error::NoQuestions { path: questions.dataset.path }),
            false => Ok(questions),
        }
    }

    /// Adds new questions of samples, if the samples may add questions.
    fn add(
        &mut self,
        file: &AnswerFile,
        samples: &Samples,
        places: &mut Places,
    ) -> Result<(), Error> {
        let all = &mut self.dataset.questions;
        let wrong = |sample: &Sample, message: String| Error::Content {
            path: samples.path.clone(),
            message: format!("line {}: question `{}` {message}", sample.line, sample.question.id),
        };
        let mut ids = Vec::with_capacity(samples.all.len());
        for sample in &samples.all {
            let place = places.find(sample);
            match place.and_then(|place| all.get(place)) {
                Some(known) if same_words(known, &sample.question) => ids.push(known.id.clone()),
                Some(_) => {
                    let other = self.dataset.path.display();
                    let message = format!("has another text or context than in {other}");
                    return Err(wrong(sample, message));
                }
                None if file.has_own_questions() => {
                    places.insert(&sample.question, all.len());
                    ids.push(sample.question.id.clone());
                    self.added.insert(sample.question.id.clone());
                    all.push(sample.question.clone());
                }
                None => {
                    let other = self.dataset.path.display();
                    return Err(wrong(sample, format!("is not in {other}")));
                }
            }
        }
        self.samples.insert(samples.path.clone(), ids);
        Ok(())
    }

    /// Returns the questions of an answer file, and for each question of the pair its index among
    /// them.
    pub fn questions_of(&self, file: &AnswerFile) -> (Cow<'_, Dataset>, Vec<Option<usize>>) {
        let own: Option<HashSet<&str>> = match &file.samples {
            Some(samples) => {
                self.samples.get(&samples.path).map(|ids| ids.iter().map(String::as_str).collect())
            }
            None => None,
        };
        let is_asked = |id: &String| match &own {
            Some(own) => own.contains(id.as_str()),
            None => !self.added.contains(id),
        };
        let mut count = 0;
        let mut next = || {
            count += 1;
            count - 1
        };
        let all = &self.dataset.questions;
        let places: Vec<Option<usize>> =
            all.iter().map(|question| is_asked(&question.id).then(&mut next)).collect();
        if count == all.len() {
            return (Cow::Borrowed(&self.dataset), places);
        }
        let asked = all.iter().filter(|question| is_asked(&question.id)).cloned().collect();
        let Dataset { path, version, .. } = &self.dataset;
        let asked = Dataset { path: path.clone(), version: version.clone(), questions: asked };
        (Cow::Owned(asked), places)
    }

    /// The responses of samples by question id of the pair.
    pub fn responses(&self, samples: &Samples) -> Predictions {
        let ids = self.samples.get(&samples.path).into_iter().flatten();
        let responses = samples.all.iter().map(|sample| sample.response.clone());
        Predictions(ids.cloned().zip(responses).collect())
    }
}

/// Checks that the seeds of a run have answers in common.
pub(crate) fn check_seeds(run: &ReportRun) -> Result<(), Error> {
    let pairs = |seed: &Vec<AnswerFile>| seed.iter().map(|file| file.pair.clone()).collect();
    let mut all = run.seeds.iter().map(pairs);
    let Some(first) = all.next() else { return Ok(()) };
    let common = all.fold(first, |common: BTreeSet<Pair>, own| &common & &own);
    let files: Vec<&AnswerFile> = run.seeds.iter().filter_map(|seed| seed.first()).collect();
    match (common.is_empty(), files.as_slice()) {
        (true, [one, other, ..]) => Err(Error::Content {
            path: other.predictions.clone(),
            message: format!(
                "answers {}, but {} answers {}; comma-separated paths are the seeds of one run and \
                 must answer the same questions",
                other.pair.label(),
                one.predictions.display(),
                one.pair.label()
            ),
        }),
        _ => Ok(()),
    }
}

/// Renames a set of samples to the name of the other runs' set with the same questions, so that
/// they are compared.
pub(crate) fn align_sets(runs: &mut [ReportRun]) -> Result<(), Error> {
    let languages = |file: &AnswerFile| (file.pair.context.0, file.pair.question.0);
    let files = |run: &ReportRun| run.seeds.clone().into_iter().flatten();
    let others: Vec<AnswerFile> =
        runs.iter().flat_map(files).filter(|file| file.samples.is_none()).collect();
    let mut read: HashMap<&Path, Places> = HashMap::new();
    // New name by run and original name.
    let mut names: BTreeMap<(usize, String), String> = BTreeMap::new();
    for (run, file) in
        runs.iter().enumerate().flat_map(|(run, one)| files(one).map(move |file| (run, file)))
    {
        let Some(samples) = &file.samples else { continue };
        let own = (run, file.pair.set.clone());
        for other in others.iter().filter(|other| languages(other) == languages(&file)) {
            let set = &other.pair.set;
            if names.iter().any(|(known, name)| *known == own || known.0 == run && name == set) {
                continue;
            }
            let places = match read.entry(&other.questions) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert(Places::of(&TypedDataset::read_any(&other.questions)?.dataset))
                }
            };
            if samples.all.iter().any(|one| places.find(one).is_some()) {
                names.insert(own.clone(), set.clone());
            }
        }
    }
    for (number, run) in runs.iter_mut().enumerate() {
        let all = run.seeds.iter_mut().flatten();
        for file in all.filter(|file| file.samples.is_some()) {
            // A run without a new name for its set uses the name from another run of samples.
            let set = &mut file.pair.set;
            let own = names.get(&(number, set.clone()));
            let elsewhere =
                || names.iter().find(|((_, name), _)| name == set).map(|(_, name)| name);
            if let Some(name) = own.or_else(elsewhere).cloned() {
                *set = name;
            }
        }
    }
    Ok(())
}
