//! The questions of a file: ids and gold answers, all that scoring needs, or all their texts.
//!
//! Texts are copied into one buffer as the file is read. A file that this reader refuses is read by
//! [`squad::File`](crate::squad), whose errors say what is wrong.
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use crate::json_tokens::{Refused, Taken, Tokens};

/// The questions of a file, or of a part of it.
#[derive(Default)]
pub(crate) struct Questions {
    /// The file's version, if it has one.
    pub version: Option<String>,
    pub questions: Vec<Question>,
    /// Whether titles, contexts and questions are kept.
    all: bool,
    /// What is kept, one after the other.
    text: String,
    answers: Vec<Answer>,
    scratch: String,
}

/// A question: where its texts lie, and its answers among all.
#[derive(Default)]
pub(crate) struct Question {
    title: Range<usize>,
    context: Range<usize>,
    id: Range<usize>,
    question: Range<usize>,
    answers: Range<usize>,
}

struct Answer {
    text: Range<usize>,
    start: usize,
}

/// A text that neighbours share.
#[derive(Default)]
struct Shared {
    range: Range<usize>,
    text: Arc<str>,
}

impl Shared {
    fn of(&mut self, all: &str, range: &Range<usize>) -> Arc<str> {
        if self.range != *range {
            let text = Arc::from(all.get(range.clone()).unwrap_or_default());
            *self = Self { range: range.clone(), text };
        }
        Arc::clone(&self.text)
    }
}

/// Which part of a file is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// It begins with the file; else with an article of the list `data`.
    pub first: bool,
    /// It ends with the file; else between two articles of that list.
    pub last: bool,
}

impl Part {
    /// The whole file.
    pub const WHOLE: Self = Self { first: true, last: true };
}

/// Which keys of an object were read; each may come once.
#[derive(Default)]
struct SeenKeys(u8);

impl SeenKeys {
    fn add(&mut self, key: usize) -> Taken<()> {
        let before = self.0;
        self.0 |= 1 << key;
        (self.0 != before).then_some(()).ok_or(Refused)
    }

    fn has(&self, key: usize) -> bool {
        self.0 >> key & 1 == 1
    }
}

impl Questions {
    /// Ids and answers of a part of a file; `None` where that is no plain question file, or was not
    /// cut between two articles.
    ///
    /// # Errors
    /// If `source` cannot be read.
    pub fn read(source: impl Read, part: Part) -> io::Result<Option<Self>> {
        let mut questions = Self::default();
        let mut tokens = Tokens::new(source);
        match (questions.file(&mut tokens, part), tokens.failed) {
            (Ok(()), _) => Ok(Some(questions)),
            (Err(Refused), None) => Ok(None),
            (Err(Refused), Some(error)) => Err(error),
        }
    }

    /// All texts of a file; `None` where it is no plain question file.
    pub fn all(text: &str) -> Option<Self> {
        let kept = String::with_capacity(text.len());
        let mut questions = Self { all: true, text: kept, ..Self::default() };
        let taken = questions.file(&mut Tokens::new(text.as_bytes()), Part::WHOLE);
        taken.is_ok().then_some(questions)
    }

    /// The questions with all their texts, where these were kept.
    pub fn to_questions(&self) -> Vec<crate::Question> {
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        let mut title = Shared::default();
        let mut context = Shared::default();
        let answer = |one: &Answer| crate::Answer {
            text: text(&one.text).to_owned(),
            answer_start: one.start,
        };
        let question = |one: &Question| crate::Question {
            id: text(&one.id).to_owned(),
            question: text(&one.question).to_owned(),
            context: context.of(&self.text, &one.context),
            answers: self.answers_of(one).iter().map(answer).collect(),
            title: title.of(&self.text, &one.title),
        };
        self.questions.iter().map(question).collect()
    }

    fn answers_of(&self, question: &Question) -> &[Answer] {
        self.answers.get(question.answers.clone()).unwrap_or_default()
    }

    /// A question's id.
    pub fn id(&self, question: &Question) -> &str {
        self.text.get(question.id.clone()).unwrap_or_default()
    }

    /// The ids of all questions.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.questions.iter().map(|question| self.id(question))
    }

    /// The gold answers of a question.
    pub fn answers(&self, question: &Question) -> impl Iterator<Item = &str> {
        let text = |answer: &Answer| self.text.get(answer.text.clone()).unwrap_or_default();
        self.answers_of(question).iter().map(text)
    }

    /// A text that scoring skips.
    fn wording(&mut self, tokens: &mut Tokens<impl Read>) -> Taken<Range<usize>> {
        match self.all {
            true => tokens.text(&mut self.text),
            false => tokens.skip_text().map(|()| 0..0),
        }
    }

    fn file(&mut self, tokens: &mut Tokens<impl Read>, part: Part) -> Taken<()> {
        const VERSION: usize = 0;
        const DATA: usize = 1;
        let mut seen = SeenKeys::default();
        if part.first {
            tokens.require(b'{')?;
        } else {
            seen.add(DATA)?;
            if self.articles(tokens, part.last)? {
                return Ok(());
            }
        }
        let mut more = part.first || tokens.takes(b',')?;
        while more {
            match tokens.key(&["version", "data"])? {
                Some(VERSION) => {
                    seen.add(VERSION)?;
                    let mut version = String::new();
                    tokens.text(&mut version)?;
                    self.version = Some(version);
                }
                Some(_) => {
                    seen.add(DATA)?;
                    tokens.require(b'[')?;
                    if !tokens.takes(b']')? && self.articles(tokens, part.last)? {
                        return Ok(());
                    }
                }
                None => tokens.skip_value(&mut self.scratch)?,
            }
            more = tokens.takes(b',')?;
        }
        tokens.require(b'}')?;
        // The end of the file is that of the last part.
        match tokens.peek()? {
            None if part.last && seen.has(DATA) => Ok(()),
            _ => Err(Refused),
        }
    }

    /// Articles to the end of their list; true if a part that is not the last ends before that.
    fn articles(&mut self, tokens: &mut Tokens<impl Read>, last: bool) -> Taken<bool> {
        loop {
            self.article(tokens)?;
            if !tokens.takes(b',')? {
                tokens.require(b']')?;
                return Ok(false);
            }
            if !last && tokens.peek()?.is_none() {
                return Ok(true);
            }
        }
    }

    /// An object: each of these keys comes at most once, and `value` takes the value of the key at
    /// this index; the `required` ones have to come, and others are skipped.
    fn object<R: Read, const N: usize>(
        &mut self,
        tokens: &mut Tokens<R>,
        keys: [&str; N],
        required: &[usize],
        mut value: impl FnMut(&mut Self, &mut Tokens<R>, usize) -> Taken<()>,
    ) -> Taken<()> {
        let mut seen = SeenKeys::default();
        tokens.object(&keys, |tokens, key| {
            let Some(key) = key else { return tokens.skip_value(&mut self.scratch) };
            seen.add(key)?;
            value(self, tokens, key)
        })?;
        required.iter().all(|&key| seen.has(key)).then_some(()).ok_or(Refused)
    }

    fn article(&mut self, tokens: &mut Tokens<impl Read>) -> Taken<()> {
        let mut title = 0..0;
        let from = self.questions.len();
        self.object(tokens, ["title", "paragraphs"], &[1], |all, tokens, key| {
            match key {
                0 => title = all.wording(tokens)?,
                _ => tokens.list(|tokens| all.paragraph(tokens))?,
            }
            Ok(())
        })?;
        self.questions.iter_mut().skip(from).for_each(|one| one.title = title.clone());
        Ok(())
    }

    fn paragraph(&mut self, tokens: &mut Tokens<impl Read>) -> Taken<()> {
        let mut context = 0..0;
        let from = self.questions.len();
        self.object(tokens, ["context", "qas"], &[0, 1], |all, tokens, key| {
            match key {
                0 => context = all.wording(tokens)?,
                _ => tokens.list(|tokens| all.question(tokens))?,
            }
            Ok(())
        })?;
        self.questions.iter_mut().skip(from).for_each(|one| one.context = context.clone());
        Ok(())
    }

    fn question(&mut self, tokens: &mut Tokens<impl Read>) -> Taken<()> {
        let mut question = Question::default();
        self.object(tokens, ["id", "question", "answers"], &[0, 1], |all, tokens, key| {
            match key {
                0 => question.id = tokens.text(&mut all.text)?,
                1 => question.question = all.wording(tokens)?,
                _ => {
                    let from = all.answers.len();
                    tokens.list(|tokens| all.answer(tokens))?;
                    question.answers = from..all.answers.len();
                }
            }
            Ok(())
        })?;
        self.questions.push(question);
        Ok(())
    }

    fn answer(&mut self, tokens: &mut Tokens<impl Read>) -> Taken<()> {
        let mut answer = Answer { text: 0..0, start: 0 };
        self.object(tokens, ["text", "answer_start"], &[0, 1], |all, tokens, key| {
            match key {
                0 => answer.text = tokens.text(&mut all.text)?,
                _ => answer.start = tokens.whole_number()?,
            }
            Ok(())
        })?;
        self.answers.push(answer);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;
    use crate::{Dataset, squad};

    const FILE: &str = r#"{"x": [1], "data": [{"paragraphs": [{"qas": [{"id": "q\u00e9", "more": {},
        "question": "What\u003f", "answers": [{"text": "a", "answer_start": 0, "n": 1.5}]},
        {"id": "r", "question": ""}], "context": "a \"b\""}]}], "version": "1.0"}"#;

    type Found = Vec<(String, Vec<String>)>;

    fn golds(text: &str) -> Option<Found> {
        let golds = Questions::read(text.as_bytes(), Part::WHOLE).unwrap()?;
        let answers = |question| golds.answers(question).map(str::to_owned).collect();
        let questions = golds.questions.iter();
        Some(questions.map(|question| (golds.id(question).to_owned(), answers(question))).collect())
    }

    /// The same by the reader that keeps everything.
    fn everything(text: &str) -> Option<Found> {
        let file = squad::File::parse(text, "x").ok()?;
        let paragraphs = file.data.iter().flat_map(|article| &article.paragraphs);
        let questions = paragraphs.flat_map(|paragraph| &paragraph.qas);
        let answers =
            |qa: &squad::Qa| qa.answers.iter().map(|answer| answer.text.clone()).collect();
        Some(questions.map(|qa| (qa.id.clone(), answers(qa))).collect())
    }

    /// The questions with all their texts.
    fn all(text: &str) -> Option<Vec<crate::Question>> {
        Questions::all(text).map(|questions| questions.to_questions())
    }

    /// The same by the reader that keeps everything.
    fn all_by_squad(text: &str) -> Option<Vec<crate::Question>> {
        let file = squad::File::parse(text, "x").ok()?;
        Some(Dataset::from_squad(file, "x").unwrap().questions)
    }

    #[test]
    fn all_texts_are_decoded() {
        let text = FILE.replace("{\"paragraphs\"", "{\"title\": \"T\\n\", \"paragraphs\"");
        for (text, title) in [(FILE, ""), (&*text, "T\n")] {
            let questions = all(text).unwrap();
            assert_eq!(questions, all_by_squad(text).unwrap());
            let [one, other] = questions.as_slice() else { unreachable!() };
            assert_eq!((&*one.id, &*one.question, &*one.title), ("q\u{e9}", "What?", title));
            assert_eq!((&*one.context, one.answers[0].answer_start), ("a \"b\"", 0));
            assert!(Arc::ptr_eq(&one.context, &other.context));
            assert_eq!((&*other.id, other.answers.len()), ("r", 0));
        }
    }

    #[test]
    fn golds_are_ids_and_answers() {
        let found = golds(FILE).unwrap();
        assert_eq!(found, [("q\u{e9}".to_owned(), vec!["a".to_owned()]), ("r".to_owned(), vec![])]);
        let golds = Questions::read(FILE.as_bytes(), Part::WHOLE).unwrap().unwrap();
        assert_eq!(golds.version.as_deref(), Some("1.0"));
    }

    #[test]
    fn what_is_no_question_file_is_not_taken() {
        for (from, to) in [
            ("\"a \\\"b\\\"\"", "3"),
            ("{\"text\": \"a\", \"answer_start\": 0, \"n\": 1.5}", "[\"a\", 0]"),
            ("\"answer_start\": 0, ", ""),
            ("\"answer_start\": 0, ", "\"answer_start\": -1, "),
            ("\"question\": \"\"", "\"question\": null"),
            ("{\"x\"", "[{\"x\""),
            ("\"1.0\"}", "\"1.0\"} x"),
            ("\"context\"", "\"title\""),
            ("\"question\": \"\"", "\"question\": \"\", \"id\": \"s\""),
            ("\"question\": \"\"", "\"question\": \"\", \"answers\": [null]"),
            ("\"question\": \"\"", "\"question\": \"\", \"answers\": null"),
            ("]}], \"version\"", "]}, null], \"version\""),
            ("\"version\": \"1.0\"", "\"data\": []"),
        ] {
            let text = FILE.replace(from, to);
            assert_ne!(text, FILE, "{from}");
            assert_eq!(golds(&text), None, "{to}");
            assert_eq!(all(&text), None, "{to}");
            assert_eq!(everything(&text), None, "{to}");
        }
    }

    /// At every place something is put in, or takes the place of a byte: what is taken has the same
    /// ids and answers, and is taken by the other reader too, unless the fault lies in a text that
    /// is skipped; where none is, it has the same questions.
    #[test]
    fn what_is_taken_is_what_the_file_holds() {
        let passed = ["What\\u003f\"", "\"r\", \"question\": \"\"", "a \\\"b\\\"\""].map(|text| {
            let end = FILE.find(text).unwrap() + text.len();
            let start = if text.starts_with("\"r") { end - 1 } else { end - text.len() };
            start..end
        });
        let pieces = [
            "",
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "0",
            "-",
            ".",
            "\\u0061",
            "x",
            " ",
            "\n",
            "\u{1}",
            "\u{e9}",
            "null",
            "\"id\": \"s\", ",
        ];
        let (mut taken, mut refused) = (0, 0);
        for at in 0..FILE.len() {
            for (with, drop) in pieces.iter().flat_map(|with| [(with, 0), (with, 1)]) {
                let text = format!("{}{with}{}", &FILE[..at], &FILE[at + drop..]);
                if let Some(found) = all(&text) {
                    assert_eq!(Some(found), all_by_squad(&text), "{text}");
                }
                match (golds(&text), everything(&text)) {
                    (Some(found), Some(wanted)) => {
                        assert_eq!(found, wanted, "{text}");
                        taken += 1;
                    }
                    (None, None) => refused += 1,
                    // Keys and numbers out of the ordinary are for the other reader.
                    (None, Some(_)) => {}
                    (Some(_), None) => {
                        assert!(passed.iter().any(|range| range.contains(&at)), "{text}");
                    }
                }
            }
        }
        assert!(taken > 1500 && refused > 5000, "{taken} {refused}");
    }
}
