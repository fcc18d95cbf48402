//! The types that the keys of questions may have, for files in SQuAD's form and for rows.
//!
//! | key | also accepted |
//! |---|---|
//! | `id` | integers |
//! | `version` | numbers, null |
//! | `title` | null |
//! | `answers` | null (the question is not annotated), lists `text` and `answer_start` |
//! | `answer_start` | whole floats and text (`8.0`, `"8"`); -1 and null: the answer has no offset |
//! | `is_impossible` | 0 and 1, null |
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

use super::squad::{Answer, Extra};

/// Deserialises an id; integers become text.
pub(crate) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    from.deserialize_any(Text { numbers: Numbers::Integers, expected: "a text or a whole number" })
}

/// An id; integers become text.
#[derive(Deserialize)]
pub(crate) struct Id(#[serde(deserialize_with = "id")] pub String);

/// Deserialises the version of a file; numbers become text.
pub(crate) fn version<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Version>::deserialize(from)?.map(|Version(text)| text))
}

struct Version(String);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Text { numbers: Numbers::All, expected: "a text or a number" };
        from.deserialize_any(text).map(Self)
    }
}

/// Deserialises a title; null becomes an empty text.
pub(crate) fn title<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    Ok(Option::<Arc<str>>::deserialize(from)?.unwrap_or_else(|| "".into()))
}

/// Numbers that are accepted in place of a text.
enum Numbers {
    Integers,
    All,
}

struct Text {
    numbers: Numbers,
    expected: &'static str,
}

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        match self.numbers {
            // The format of `Debug` has a fraction: 1.0, as in the file.
            Numbers::All => Ok(format!("{number:?}")),
            Numbers::Integers => Err(E::invalid_type(Unexpected::Float(number), &self)),
        }
    }
}

/// Deserialises an offset; -1 and null are `None`. Files from pandas or CSV may have floats without
/// a fraction, or text, instead of integers.
pub(crate) fn offset<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    struct Offset;
    impl Visitor<'_> for Offset {
        type Value = Option<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 0, or -1 for an answer without an offset")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<usize>, E> {
            Ok(None)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Option<usize>, E> {
            let offset = value.try_into();
            offset.map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Option<usize>, E> {
            if value == -1 {
                return Ok(None);
            }
            let offset = value.try_into();
            offset.map(Some).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<Option<usize>, E> {
            // Rust displays 8.0 as `8`, so only floats without a fraction can be parsed as
            // integers.
            let offset = parse_offset(&value.to_string());
            offset.ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<Option<usize>, E> {
            let offset = parse_offset(value.strip_suffix(".0").unwrap_or(value));
            offset.ok_or_else(|| E::invalid_value(Unexpected::Str(value), &self))
        }
    }
    from.deserialize_any(Offset)
}

fn parse_offset(text: &str) -> Option<Option<usize>> {
    if text == "-1" { Some(None) } else { text.parse().ok().map(Some) }
}

/// Serialises an offset; `None` becomes -1.
// serde's `serialize_with` requires a reference.
#[allow(clippy::ref_option)]
pub(crate) fn write_offset<S: Serializer>(
    offset: &Option<usize>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match *offset {
        Some(offset) => to.serialize_u64(offset as u64),
        None => to.serialize_i64(-1),
    }
}

/// Deserialises the answers of a question: a list of objects, or an object of lists `text` and
/// `answer_start`; null is `None`.
pub(crate) fn answers<'de, D, A>(from: D) -> Result<Option<Vec<A>>, D::Error>
where
    D: Deserializer<'de>,
    A: Deserialize<'de> + FromText,
{
    struct Answers<A>(PhantomData<A>);
    impl<'de, A: Deserialize<'de> + FromText> Visitor<'de> for Answers<A> {
        type Value = Option<Vec<A>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("lists `text` and `answer_start`, or a list of objects with both")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<L: SeqAccess<'de>>(self, mut list: L) -> Result<Self::Value, L::Error> {
            let answers = std::iter::from_fn(|| list.next_element().transpose());
            answers.collect::<Result<_, _>>().map(Some)
        }

        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
            let lists = AnswerLists::deserialize(de::value::MapAccessDeserializer::new(map))?;
            lists.into_answers().map(Some).map_err(de::Error::custom)
        }
    }
    from.deserialize_any(Answers(PhantomData))
}

/// An answer that can be created from a text and an offset.
pub(crate) trait FromText {
    fn from_text(text: String, answer_start: Option<usize>) -> Self;
}

impl FromText for Answer {
    fn from_text(text: String, answer_start: Option<usize>) -> Self {
        Self { text, answer_start, extra: Extra::default() }
    }
}

impl FromText for crate::Answer {
    fn from_text(text: String, answer_start: Option<usize>) -> Self {
        Self { text, answer_start }
    }
}

/// The answers of a row in the format of SQuAD on the Hugging Face Hub.
#[derive(Deserialize)]
struct AnswerLists {
    text: Vec<String>,
    answer_start: Vec<Offset>,
}

#[derive(Deserialize)]
struct Offset(#[serde(deserialize_with = "offset")] Option<usize>);

impl AnswerLists {
    fn into_answers<A: FromText>(self) -> Result<Vec<A>, String> {
        let (text_count, start_count) = (self.text.len(), self.answer_start.len());
        if text_count != start_count {
            return Err(format!(
                "`text` has {text_count} values, `answer_start` has {start_count}"
            ));
        }
        let answers = self.text.into_iter().zip(self.answer_start);
        Ok(answers.map(|(text, Offset(start))| A::from_text(text, start)).collect())
    }
}

/// The value of the key `is_impossible`.
pub(crate) struct IsImpossible(pub bool);

impl<'de> Deserialize<'de> for IsImpossible {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Flag;
        impl Visitor<'_> for Flag {
            type Value = IsImpossible;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<IsImpossible, E> {
                Ok(IsImpossible(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<IsImpossible, E> {
                match value {
                    0 | 1 => Ok(IsImpossible(value == 1)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<IsImpossible, E> {
                Err(E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<IsImpossible, E> {
                // pandas writes a column of booleans with missing values as floats.
                match value {
                    0.0 => Ok(IsImpossible(false)),
                    1.0 => Ok(IsImpossible(true)),
                    _ => Err(E::invalid_value(Unexpected::Float(value), &self)),
                }
            }
        }
        from.deserialize_any(Flag)
    }
}

/// Returns whether a text is one JSON value, apart from white space.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
