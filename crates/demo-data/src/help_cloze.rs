//! Cloze questions across languages: a marked term is taken out of a paragraph, and its translation
//! is sought in the paragraph's translation.
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use mlqa_eval::{Answer, Dataset, Language, Question};
use serde_json::{Value, json};

use crate::corpus::is_held_out;
use crate::documents::{self, MarkedSpan, Paragraph};
use crate::parallel::pairs;
use crate::stand_in::{Files, StandIn, json_of};

/// What stands in a question for the term.
const GAP: &str = "___";

/// Terms of menus and dialogues, which are translated; `literal` and the like mostly are not.
const KINDS: [&str; 2] = ["emph", "menuitem"];

/// Where the paragraphs lie, and which become questions.
#[derive(Clone, Debug, clap::Args)]
pub struct HelpCloze {
    /// Folder of `demo-data documents`, such as corpus/text of `cargo xtask corpus`
    #[arg(long, value_name = "DIR")]
    pub documents: PathBuf,
    /// English, and the languages that it is translated to
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', default_value = "en,de,es,vi,zh")]
    pub languages: Vec<Language>,
    /// English paragraphs below so many code points give no question
    #[arg(long, default_value_t = 60)]
    pub shortest: usize,
    /// Test on one in so many pages, by the hash of `demo-data text --held-out-one-in`: those that
    /// this holds out are tested where its number is a multiple of this one
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..))]
    pub test_one_in: u64,
}

impl HelpCloze {
    /// The questions of a language about its own paragraphs whose terms pair off with those of the
    /// English one: as many, in the same order of kinds.
    fn questions(
        &self,
        language: Language,
        english: &HashMap<String, Paragraph>,
    ) -> Result<Vec<Question>> {
        let mut all = Vec::new();
        for paragraph in documents::read(&self.documents, language.as_str())? {
            let Some(original) = english.get(&paragraph.id) else { continue };
            let (ours, theirs) = (terms(&paragraph), terms(original));
            let kinds = |terms: &[&MarkedSpan]| -> Vec<String> {
                terms.iter().map(|term| term.kind.clone()).collect()
            };
            if original.text.chars().count() < self.shortest || kinds(&ours) != kinds(&theirs) {
                continue;
            }
            let text: Vec<char> = paragraph.text.chars().collect();
            for (number, term) in ours.into_iter().enumerate() {
                let part = |range: Range<usize>| {
                    text.get(range).unwrap_or_default().iter().collect::<String>()
                };
                let answer = part(term.start..term.end);
                let (before, after) = (part(0..term.start), part(term.end..text.len()));
                // A term that is half of the paragraph leaves no question.
                if !answer.contains(char::is_alphabetic) || 2 * answer.len() > paragraph.text.len()
                {
                    continue;
                }
                all.push(Question {
                    id: format!("{}/{number}", paragraph.id),
                    question: format!("{before}{GAP}{after}"),
                    context: paragraph.text.as_str().into(),
                    answers: vec![Answer { text: answer, answer_start: term.start }],
                    title: paragraph.page().into(),
                });
            }
        }
        Ok(all)
    }
}

/// The spans of the kinds that are asked for, in their order.
fn terms(paragraph: &Paragraph) -> Vec<&MarkedSpan> {
    paragraph.spans.iter().filter(|span| KINDS.contains(&span.kind.as_str())).collect()
}

impl StandIn for HelpCloze {
    const COMMAND: &'static str = "demo-data help-cloze";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// `train-context-xx-question-xx.json` of each language, and `test-context-xx-question-yy.json`
    /// of each two; a question has one id in all languages.
    fn make(&self) -> Result<(Files, Value)> {
        let english = documents::read(&self.documents, "en")?;
        let folder = self.documents.display();
        ensure!(!english.is_empty(), "--documents {folder}: no paragraph in en.jsonl.gz");
        let english = english.into_iter().map(|one| (one.id.clone(), one)).collect();
        let (mut train, mut test) = (BTreeMap::new(), BTreeMap::new());
        let mut counts = BTreeMap::new();
        for &language in &self.languages {
            let all = self.questions(language, &english)?;
            let is_test = |question: &Question| is_held_out(&question.title, self.test_one_in);
            let (of_test, of_train): (Vec<_>, Vec<_>) = all.into_iter().partition(is_test);
            let both = !of_test.is_empty() && !of_train.is_empty();
            ensure!(both, "--languages {language}: no term to train on or to test in {folder}");
            counts.insert(language.to_string(), json!([of_train.len(), of_test.len()]));
            for (sets, questions) in [(&mut train, of_train), (&mut test, of_test)] {
                let path = format!("{language}.jsonl.gz").into();
                let set = Dataset { path, version: Some("1.1".into()), questions };
                set.check_answers()?;
                sets.insert(language, set);
            }
        }
        let mut files = pairs("test", &test)?;
        for (language, set) in &train {
            let name = format!("train-context-{language}-question-{language}.json");
            files.push((name, json_of(set)?));
        }
        Ok((files, json!({ "train, test": counts })))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_term_is_asked_for_in_one_language_and_found_in_another() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/libreoffice-help");
        let languages = ["en", "de", "zh"].map(|code| code.parse().unwrap()).into();
        let cloze =
            HelpCloze { documents: folder.clone(), languages, shortest: 60, test_one_in: 3 };
        let (files, _) = cloze.make().unwrap();
        let files: BTreeMap<String, String> = files.into_iter().collect();
        assert_eq!(files.len(), 3 + 9);
        let out = tempfile::tempdir().unwrap();
        let read = |name: &str| {
            let path = out.path().join(name);
            std::fs::write(&path, &files[&format!("{name}.json")]).unwrap();
            let set = Dataset::read(&path).unwrap();
            set.check_answers().unwrap();
            set.questions
        };
        let mixed = read("test-context-de-question-en");
        let [english, german] =
            ["en", "de"].map(|code| read(&format!("test-context-{code}-question-{code}")));
        assert!(mixed.len() > 5, "{}", mixed.len());
        for one in &mixed {
            let same = |all: &[Question]| all.iter().find(|other| other.id == one.id).cloned();
            let (asked, answered) = (same(&english).unwrap(), same(&german).unwrap());
            assert_eq!(one.question, asked.question);
            assert_eq!((&one.context, &one.answers), (&answered.context, &answered.answers));
            let whole = asked.question.replacen(GAP, &asked.answers[0].text, 1);
            assert_eq!(whole, *asked.context);
        }
        // No page is both trained on and tested.
        let trained = read("train-context-en-question-en");
        assert!(trained.iter().all(|one| english.iter().all(|other| other.title != one.title)));
        let none = HelpCloze { documents: out.path().to_owned(), ..cloze };
        assert!(none.make().unwrap_err().to_string().contains("no paragraph in en.jsonl.gz"));
    }
}
