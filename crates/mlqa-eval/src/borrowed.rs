//! Question files as they lie in their text: nothing is copied that has no escapes,
//! and further keys are passed over. For what only looks at a file; [`squad::File`](crate::squad)
//! keeps everything.
//!
//! Whatever these readers do not take is given to the others, whose errors say what is wrong, so
//! that there is one wording.
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Default for Text<'_> {
    fn default() -> Self {
        Self(Cow::Borrowed(""))
    }
}

/// A question file, whose articles are collected in `C`.
#[derive(Deserialize)]
#[serde(bound = "'de: 'a, C: Collect<'de> + Default")]
pub(crate) struct File<'a, C> {
    #[serde(borrow, default)]
    pub version: Option<Text<'a>>,
    pub data: Articles<C>,
}

/// What becomes of the articles, one after the other: a whole file of them would take several
/// times the memory of its text.
pub(crate) trait Collect<'a> {
    /// Adds an article.
    fn add(&mut self, article: Article<'a>);
}

/// The articles of a file.
pub(crate) struct Articles<C>(pub C);

impl<'de, C: Collect<'de> + Default> Deserialize<'de> for Articles<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<C>(PhantomData<C>);
        impl<'de, C: Collect<'de> + Default> Visitor<'de> for List<C> {
            type Value = C;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of articles")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut articles: A) -> Result<C, A::Error> {
                let mut all = C::default();
                while let Some(Record(article)) = articles.next_element()? {
                    all.add(article);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_seq(List(PhantomData)).map(Self)
    }
}

#[derive(Deserialize)]
pub(crate) struct Article<'a> {
    #[serde(borrow, default)]
    pub title: Text<'a>,
    #[serde(borrow)]
    pub paragraphs: Vec<Record<Paragraph<'a>>>,
}

#[derive(Deserialize)]
pub(crate) struct Paragraph<'a> {
    #[serde(borrow)]
    pub context: Text<'a>,
    #[serde(borrow)]
    pub qas: Vec<Record<Qa<'a>>>,
}

#[derive(Deserialize)]
pub(crate) struct Qa<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub question: Text<'a>,
    #[serde(borrow, default)]
    pub answers: Vec<Record<Answer<'a>>>,
}

#[derive(Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(borrow)]
    pub text: Cow<'a, str>,
    pub answer_start: usize,
}

impl<'a, C: Collect<'a> + Default> File<'a, C> {
    /// A file's text; `None` where it is no question file.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok().map(|Record(file)| file)
    }
}

/// An object. The derived reader of a struct would also take a list of its fields.
pub(crate) struct Record<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Record<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(MapOnly(deserializer, PhantomData)).map(Self)
    }
}

struct MapOnly<'de, D>(D, PhantomData<&'de ()>);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for MapOnly<'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;

    const FILE: &str = r#"{"x": [1], "data": [{"paragraphs": [{"qas": [{"id": "q\u00e9", "more": {},
        "question": "What\u003f", "answers": [{"text": "a", "answer_start": 0, "n": 1.5}]},
        {"id": "r", "question": ""}], "context": "a \"b\""}]}], "version": "1.0"}"#;

    /// The articles as they are.
    #[derive(Default)]
    struct Kept<'a>(Vec<Article<'a>>);

    impl<'a> Collect<'a> for Kept<'a> {
        fn add(&mut self, article: Article<'a>) {
            self.0.push(article);
        }
    }

    #[test]
    fn texts_are_borrowed_and_escapes_decoded() {
        let File::<Kept<'_>> { version, data: Articles(Kept(articles)) } =
            File::parse(FILE).unwrap();
        assert_eq!(version.unwrap().0, "1.0");
        assert_eq!(articles[0].title.0, "");
        let Record(paragraph) = &articles[0].paragraphs[0];
        assert_eq!(paragraph.context.0, "a \"b\"");
        let [Record(one), Record(other)] = paragraph.qas.as_slice() else { unreachable!() };
        assert_eq!((&*one.id, &*one.question.0), ("q\u{e9}", "What?"));
        assert!(matches!(&one.answers[0].0.text, Cow::Borrowed("a")));
        assert_eq!((&*other.id, other.answers.len()), ("r", 0));
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
        ] {
            let text = FILE.replace(from, to);
            assert_ne!(text, FILE, "{from}");
            assert!(File::<Kept<'_>>::parse(&text).is_none(), "{to}");
            assert!(crate::squad::File::parse(&text, "x").is_err(), "{to}");
        }
    }
}
