//! Ids and gold answers of a question file, as they lie in its text: all that scoring looks at.
//!
//! Objects are written down as they come, so that nothing is allocated for each question. Whatever
//! this does not take is given to [`squad::File`](crate::squad), whose errors say what is wrong.
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::borrowed::Text;

/// Ids and gold answers alone.
#[derive(Default)]
pub(crate) struct Golds<'a> {
    /// The file's version, if it has one.
    pub version: Option<Text<'a>>,
    /// Id and the range of its answers.
    pub questions: Vec<(Cow<'a, str>, Range<usize>)>,
    answers: Vec<Cow<'a, str>>,
    /// Whether `null` stands for articles that another part of the file has.
    cut: bool,
}

impl<'a> Golds<'a> {
    /// Of a file's text; `None` where it is no question file.
    pub fn parse(text: &'a str) -> Option<Self> {
        Self::parse_part(text, true)
    }

    /// Of a part of one, whose articles end in `null` if it is not the `last`.
    pub fn parse_part(text: &'a str, last: bool) -> Option<Self> {
        let mut golds = Self::default();
        let mut parser = serde_json::Deserializer::from_str(text);
        object::<File, _>(&mut golds, &mut parser).ok()?;
        parser.end().ok()?;
        (golds.cut != last).then_some(golds)
    }

    /// The gold answers of a question.
    pub fn of(&self, range: &Range<usize>) -> impl Iterator<Item = &str> {
        self.answers.get(range.clone()).unwrap_or_default().iter().map(|answer| &**answer)
    }
}

/// Keys that are looked at, at any place.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Version,
    Data,
    Title,
    Paragraphs,
    Context,
    Qas,
    Id,
    Question,
    Answers,
    Text,
    AnswerStart,
    #[serde(other)]
    Other,
}

/// An object that is written down.
trait Record<'a>: Default {
    /// Keys that may come once, and whether they must come.
    const KEYS: &'static [(Key, bool)];
    /// Whether `null` may be the last of a list of them.
    const NULL: bool = false;

    /// Takes the value of one of these keys.
    fn value<A: MapAccess<'a>>(
        &mut self,
        key: Key,
        golds: &mut Golds<'a>,
        map: &mut A,
    ) -> Result<(), A::Error>;

    /// The object is complete.
    fn end(self, _: &mut Golds<'a>) {}
}

#[derive(Default)]
struct File;

impl<'a> Record<'a> for File {
    const KEYS: &'static [(Key, bool)] = &[(Key::Version, false), (Key::Data, true)];

    fn value<A: MapAccess<'a>>(
        &mut self,
        key: Key,
        golds: &mut Golds<'a>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            Key::Version => golds.version = map.next_value()?,
            _ => map.next_value_seed(List::<Article>::of(golds))?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Article;

impl<'a> Record<'a> for Article {
    const KEYS: &'static [(Key, bool)] = &[(Key::Title, false), (Key::Paragraphs, true)];
    const NULL: bool = true;

    fn value<A: MapAccess<'a>>(
        &mut self,
        key: Key,
        golds: &mut Golds<'a>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            Key::Title => map.next_value().map(|Text(_)| ()),
            _ => map.next_value_seed(List::<Paragraph>::of(golds)),
        }
    }
}

#[derive(Default)]
struct Paragraph;

impl<'a> Record<'a> for Paragraph {
    const KEYS: &'static [(Key, bool)] = &[(Key::Context, true), (Key::Qas, true)];

    fn value<A: MapAccess<'a>>(
        &mut self,
        key: Key,
        golds: &mut Golds<'a>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            Key::Context => map.next_value().map(|Text(_)| ()),
            _ => map.next_value_seed(List::<Qa<'a>>::of(golds)),
        }
    }
}

#[derive(Default)]
struct Qa<'a> {
    id: Cow<'a, str>,
    answers: Range<usize>,
}

impl<'a> Record<'a> for Qa<'a> {
    const KEYS: &'static [(Key, bool)] =
        &[(Key::Id, true), (Key::Question, true), (Key::Answers, false)];

    fn value<A: MapAccess<'a>>(
        &mut self,
        key: Key,
        golds: &mut Golds<'a>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            Key::Id => self.id = map.next_value::<Text<'a>>()?.0,
            Key::Question => map.next_value().map(|Text(_)| ())?,
            _ => {
                let from = golds.answers.len();
                map.next_value_seed(List::<Answer>::of(golds))?;
                self.answers = from..golds.answers.len();
            }
        }
        Ok(())
    }

    fn end(self, golds: &mut Golds<'a>) {
        golds.questions.push((self.id, self.answers));
    }
}

#[derive(Default)]
struct Answer;

impl<'a> Record<'a> for Answer {
    const KEYS: &'static [(Key, bool)] = &[(Key::Text, true), (Key::AnswerStart, true)];

    fn value<A: MapAccess<'a>>(
        &mut self,
        key: Key,
        golds: &mut Golds<'a>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            Key::Text => golds.answers.push(map.next_value::<Text<'a>>()?.0),
            _ => map.next_value::<usize>().map(|_| ())?,
        }
        Ok(())
    }
}

fn object<'a, T: Record<'a>, D: Deserializer<'a>>(
    golds: &mut Golds<'a>,
    deserializer: D,
) -> Result<(), D::Error> {
    struct Object<'g, 'a, T>(&'g mut Golds<'a>, PhantomData<T>);
    impl<'a, T: Record<'a>> Visitor<'a> for Object<'_, 'a, T> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
            let (mut record, mut seen) = (T::default(), 0_u8);
            while let Some(key) = map.next_key::<Key>()? {
                let Some(k) = T::KEYS.iter().position(|&(known, _)| known == key) else {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                };
                if seen >> k & 1 == 1 {
                    return Err(A::Error::custom("a key comes twice"));
                }
                seen |= 1 << k;
                record.value(key, self.0, &mut map)?;
            }
            let missing = |(k, &(_, needed)): (usize, &(Key, bool))| needed && seen >> k & 1 == 0;
            if T::KEYS.iter().enumerate().any(missing) {
                return Err(A::Error::custom("a key is missing"));
            }
            record.end(self.0);
            Ok(())
        }
    }
    deserializer.deserialize_map(Object::<T>(golds, PhantomData))
}

/// A list of objects.
struct List<'g, 'a, T>(&'g mut Golds<'a>, PhantomData<T>);

impl<'g, 'a, T> List<'g, 'a, T> {
    fn of(golds: &'g mut Golds<'a>) -> Self {
        Self(golds, PhantomData)
    }
}

impl<'a, T: Record<'a>> DeserializeSeed<'a> for List<'_, 'a, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a, T: Record<'a>> Visitor<'a> for List<'_, 'a, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Element::<T>(&mut *self.0, PhantomData))?.is_some() {
            if T::NULL && self.0.cut {
                return match list.next_element::<IgnoredAny>()? {
                    None => Ok(()),
                    Some(_) => Err(A::Error::custom("an element is null")),
                };
            }
        }
        Ok(())
    }
}

/// An object or, where it may be, `null`.
struct Element<'g, 'a, T>(&'g mut Golds<'a>, PhantomData<T>);

impl<'a, T: Record<'a>> DeserializeSeed<'a> for Element<'_, 'a, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        match T::NULL {
            true => deserializer.deserialize_option(self),
            false => object::<T, D>(self.0, deserializer),
        }
    }
}

impl<'a, T: Record<'a>> Visitor<'a> for Element<'_, 'a, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.0.cut = true;
        Ok(())
    }

    fn visit_some<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        object::<T, D>(self.0, deserializer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;

    const FILE: &str = r#"{"x": [1], "data": [{"paragraphs": [{"qas": [{"id": "q\u00e9", "more": {},
        "question": "What\u003f", "answers": [{"text": "a", "answer_start": 0, "n": 1.5}]},
        {"id": "r", "question": ""}], "context": "a \"b\""}]}], "version": "1.0"}"#;

    #[test]
    fn golds_are_ids_and_answers() {
        let golds = Golds::parse(FILE).unwrap();
        let all: Vec<(&str, Vec<&str>)> =
            golds.questions.iter().map(|(id, range)| (&**id, golds.of(range).collect())).collect();
        assert_eq!(all, [("q\u{e9}", vec!["a"]), ("r", vec![])]);
        assert_eq!(golds.version.unwrap().0, "1.0");
    }

    #[test]
    fn what_is_no_question_file_is_not_taken() {
        for (from, to) in [
            ("\"a \\\"b\\\"\"", "3"),
            ("{\"text\": \"a\", \"answer_start\": 0, \"n\": 1.5}", "[\"a\", 0]"),
            ("\"answer_start\": 0, ", ""),
            ("\"question\": \"\"", "\"question\": null"),
            ("{\"x\"", "[{\"x\""),
            ("\"1.0\"}", "\"1.0\"} x"),
            ("\"context\"", "\"title\""),
            ("\"question\": \"\"", "\"question\": \"\", \"id\": \"s\""),
            ("\"question\": \"\"", "\"question\": \"\", \"answers\": [null]"),
            ("\"question\": \"\"", "\"question\": \"\", \"answers\": null"),
            ("]}], \"version\"", "]}, null], \"version\""),
        ] {
            let text = FILE.replace(from, to);
            assert_ne!(text, FILE, "{from}");
            assert!(Golds::parse(&text).is_none(), "{to}");
            assert!(crate::squad::File::parse(&text, "x").is_err(), "{to}");
        }
    }
}
