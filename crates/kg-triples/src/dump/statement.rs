//! One N-Triples statement. What Wikidata writes is read in place; everything else goes to oxttl,
//! which also says what is wrong.
use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};
use oxttl::NTriplesParser;
use oxttl::ntriples::SliceNTriplesParser;

/// Subject and object of a statement, borrowed where it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// `None` for a blank node.
    pub(super) subject: Option<Cow<'a, str>>,
    pub(super) object: Object<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object<'a> {
    Iri(Cow<'a, str>),
    Blank,
    Literal {
        text: Text<'a>,
        language: Option<Cow<'a, str>>,
    },
    /// A statement about statements.
    Other,
}

/// The text of a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// With escapes, all of which are right.
    Escaped(&'a str),
    Plain(String),
}

impl Text<'_> {
    pub(super) fn plain(self) -> String {
        match self {
            Self::Plain(text) => text,
            Self::Escaped(text) => {
                let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
                while let Some((before, escape)) = rest.split_once('\\') {
                    plain.push_str(before);
                    let Some((character, length)) = escaped(escape) else { break };
                    plain.push(character);
                    rest = escape.get(length..).unwrap_or_default();
                }
                plain.push_str(rest);
                plain
            }
        }
    }
}

/// The character of an escape, and how long that is without its backslash.
fn escaped(escape: &str) -> Option<(char, usize)> {
    let hex = |digits: usize| {
        let digits = escape.get(1..=digits).filter(|d| d.bytes().all(|d| d.is_ascii_hexdigit()))?;
        let number = u32::from_str_radix(digits, 16).ok()?;
        Some((char::from_u32(number)?, 1 + digits.len()))
    };
    match escape.as_bytes().first()? {
        b'u' => hex(4),
        b'U' => hex(8),
        b't' => Some(('\t', 1)),
        b'b' => Some(('\u{8}', 1)),
        b'n' => Some(('\n', 1)),
        b'r' => Some(('\r', 1)),
        b'f' => Some(('\u{c}', 1)),
        b'"' => Some(('"', 1)),
        b'\'' => Some(('\'', 1)),
        b'\\' => Some(('\\', 1)),
        _ => None,
    }
}

/// Reads a line without its end. The error says what is wrong in words.
pub(super) fn read(line: &str) -> Result<Parts<'_>, String> {
    quickly(line).map_or_else(|| carefully(line), Ok)
}

/// By the grammar.
fn carefully(line: &str) -> Result<Parts<'static>, String> {
    let mut reader: SliceNTriplesParser<'_> = NTriplesParser::new().for_slice(line);
    let triple = match reader.next() {
        Some(Ok(triple)) => triple,
        Some(Err(error)) => return Err(error.message().to_owned()),
        None => return Err("not an N-Triples statement".into()),
    };
    let subject = match triple.subject {
        oxrdf::NamedOrBlankNode::NamedNode(node) => Some(Cow::Owned(node.into_string())),
        oxrdf::NamedOrBlankNode::BlankNode(_) => None,
    };
    let object = match triple.object {
        oxrdf::Term::NamedNode(node) => Object::Iri(Cow::Owned(node.into_string())),
        oxrdf::Term::BlankNode(_) => Object::Blank,
        oxrdf::Term::Literal(literal) => {
            let language = literal.language().map(|code| Cow::Owned(code.to_owned()));
            Object::Literal { text: Text::Plain(literal.value().to_owned()), language }
        }
        #[allow(unreachable_patterns)] // only with features of oxrdf that others may turn on
        _ => Object::Other,
    };
    Ok(Parts { subject, object })
}

/// `<subject> <predicate> object .` with single spaces, where all IRIs are plainly valid.
fn quickly(line: &str) -> Option<Parts<'_>> {
    let (subject, rest) = iri(line)?;
    let (_, rest) = iri(rest.strip_prefix(' ')?)?;
    let rest = rest.strip_prefix(' ')?;
    let (object, rest) = match rest.as_bytes().first()? {
        b'<' => {
            let (object, rest) = iri(rest)?;
            (Object::Iri(Cow::Borrowed(object)), rest)
        }
        b'"' => literal(rest)?,
        _ => return None,
    };
    (rest == " .").then_some(Parts { subject: Some(Cow::Borrowed(subject)), object })
}

/// An IRI in brackets, and what follows; `None` unless it is `http` and of ASCII without escapes.
fn iri(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let (iri, rest) = inner.split_at_checked(memchr(b'>', inner.as_bytes())?)?;
    let rest = rest.get(1..)?;
    let after = iri.strip_prefix("http://").or_else(|| iri.strip_prefix("https://"))?;
    let (host, path) = after.split_at_checked(memchr(b'/', after.as_bytes())?)?;
    let of_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let of_path = |byte: &u8| PATH.get(usize::from(*byte)) == Some(&true);
    let (path, fragment) = path.split_once('#').unwrap_or((path, ""));
    let is_plain = !host.is_empty()
        && host.bytes().all(|byte| of_host(&byte))
        && path.bytes().all(|byte| of_path(&byte))
        && fragment.bytes().all(|byte| of_path(&byte));
    is_plain.then_some((iri, rest))
}

/// Characters of paths and fragments that need no escape.
const PATH: [bool; 256] = {
    let mut table = [false; 256];
    let plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/";
    let mut at = 0;
    while at < plain.len() {
        table[plain[at] as usize] = true;
        at += 1;
    }
    table
};

/// A literal, and what follows.
fn literal(text: &str) -> Option<(Object<'_>, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut end = 0;
    loop {
        end += memchr3(b'"', b'\\', b'\r', inner.as_bytes().get(end..)?)?;
        match inner.as_bytes().get(end)? {
            b'"' => break,
            b'\\' => end += 1 + escaped(inner.get(end + 1..)?)?.1,
            _ => return None,
        }
    }
    let (text, rest) = (inner.get(..end)?, inner.get(end + 1..)?);
    let text = Text::Escaped(text);
    match rest.as_bytes().first()? {
        b'@' => {
            let end = memchr(b' ', rest.as_bytes())?;
            let language = rest.get(1..end).filter(|code| is_language(code))?;
            let language = Some(Cow::Borrowed(language));
            Some((Object::Literal { text, language }, rest.get(end..)?))
        }
        b'^' => {
            let (datatype, rest) = iri(rest.strip_prefix("^^")?)?;
            // Literals with a language have other rules.
            let is_plain = !datatype.ends_with("angString");
            is_plain.then_some((Object::Literal { text, language: None }, rest))
        }
        b' ' => Some((Object::Literal { text, language: None }, rest)),
        _ => None,
    }
}

/// Whether a code in small letters is plainly a language tag: `en`, `zh-hans`, `de-at`.
fn is_language(code: &str) -> bool {
    let (language, rest) = match memchr2(b'-', b'_', code.as_bytes()) {
        Some(end) => (code.get(..end), code.get(end + 1..).filter(|_| !code.contains('_'))),
        None => (Some(code), Some("aa")),
    };
    let is_small = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let fits = |text: Option<&str>, lengths: &[usize]| {
        text.is_some_and(|text| lengths.contains(&text.len()) && is_small(text))
    };
    fits(language, &[2, 3]) && fits(rest, &[2, 4])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same with escapes undone, so that both ways compare.
    fn undone(parts: Parts<'_>) -> Parts<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let object = match parts.object {
            Object::Iri(iri) => Object::Iri(owned(iri)),
            Object::Blank => Object::Blank,
            Object::Literal { text, language } => {
                Object::Literal { text: Text::Plain(text.plain()), language: language.map(owned) }
            }
            Object::Other => Object::Other,
        };
        Parts { subject: parts.subject.map(owned), object }
    }

    fn term() -> impl Strategy<Value = String> {
        let iri = prop::sample::select(vec![
            "http://www.wikidata.org/entity/Q42",
            "http://www.w3.org/2000/01/rdf-schema#label",
            "http://commons.wikimedia.org/wiki/Special:FilePath/A%20b.jpg",
            "https://example.org/?a=b#c#d",
            "http://a b/",
            "urn:x",
            "http://x/\u{e9}",
        ]);
        let text = prop::collection::vec(
            prop::sample::select(vec![
                "a",
                "\u{e9}",
                "\\u00e9",
                "\\U0001F600",
                "\\ud800",
                "\\n",
                "\\\"",
                "\\x",
                "\\",
                "\t",
                "'",
            ]),
            0..4,
        );
        let tag = prop::sample::select(vec![
            "",
            "@en",
            "@zh-hans",
            "@zh-Hans",
            "@de_x",
            "@simple",
            "@be-x-old",
            "@e",
            "@",
            "^^<http://www.w3.org/2001/XMLSchema#dateTime>",
            "^^<http://www.w3.org/1999/02/22-rdf-syntax-ns#langString>",
            "^^<x>",
        ]);
        prop_oneof![
            3 => iri.prop_map(|iri| format!("<{iri}>")),
            1 => Just("_:b1".to_owned()),
            3 => (text, tag).prop_map(|(text, tag)| format!("\"{}\"{tag}", text.concat())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn what_is_read_quickly_is_what_the_grammar_says(
            terms in prop::collection::vec(term(), 3),
            space in prop::sample::select(vec![" ", " ", " ", "  ", "\t", ""]),
            end in prop::sample::select(vec![" .", " .", ".", " . x .", " ..", ""]),
            change in prop::option::of((any::<prop::sample::Index>(), any::<char>())),
        ) {
            let mut line = terms.join(space) + end;
            if let Some((at, character)) = change {
                let mut characters: Vec<char> = line.chars().collect();
                *at.get_mut(&mut characters) = character;
                line = characters.into_iter().collect();
            }
            if let Some(quick) = quickly(&line) {
                prop_assert_eq!(Ok(undone(quick)), carefully(&line), "{}", line);
            }
        }
    }

    #[test]
    fn what_wikidata_writes_is_read_quickly() {
        let subject =
            "<http://www.wikidata.org/entity/Q39> <http://www.wikidata.org/prop/direct/P36>";
        for object in [
            "<http://www.wikidata.org/entity/Q70>",
            "\"4 500\"",
            "\"\\u5317\\u4EAC \\\"x\\\"\"@zh-hans",
            "\"+1291-08-01T00:00:00Z\"^^<http://www.w3.org/2001/XMLSchema#dateTime>",
            "\"Point(7 46)\"^^<http://www.opengis.net/ont/geosparql#wktLiteral>",
        ] {
            assert!(quickly(&format!("{subject} {object} .")).is_some(), "{object}");
        }
    }
}
