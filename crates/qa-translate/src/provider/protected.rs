//! Parts of a text that a translator must not touch: taken out before, put back after, checked.
use std::ops::Range;
use std::sync::OnceLock;

use mlqa_eval::Language;
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{Error, Translations, Translator};

/// A kind of part that stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protect {
    /// Between backticks, one or three.
    Code,
    /// LaTeX between dollars, `\(` and `\)`, `\[` and `\]`.
    Math,
    /// Web and e-mail addresses.
    Addresses,
    /// `{name}`, `${name}`, `%s`, `%(name)d`, `%1$s`.
    Placeholders,
    /// Of HTML and XML.
    Tags,
    /// Around answers, as [`mark`](crate::mark) and [`mark_spans`](crate::mark_spans) have them.
    Markers,
}

impl Protect {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Code, Self::Math, Self::Addresses, Self::Placeholders, Self::Tags, Self::Markers];

    fn pattern(self) -> &'static str {
        match self {
            Self::Code => r"(?s)```.+?```|`[^`\n]+`",
            Self::Math => r"(?s)\$\$.+?\$\$|\$[^\s$](?:[^$\n]*[^\s$])?\$|\\\(.+?\\\)|\\\[.+?\\\]",
            Self::Addresses => {
                r#"https?://[^\s<>"]*[^\s<>".,;:!?)\]}]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"#
            }
            Self::Placeholders => {
                r"\$?\{\{?[\w.]+\}?\}|%\([\w.]+\)[sdifg]|%(?:\d+\$)?(?:\.\d+)?[sdifg]\b"
            }
            Self::Tags => r"</?[A-Za-z][^<>]*>|<!--.*?-->",
            Self::Markers => r"\(\[+(?:\d+:)?|\]+\)",
        }
    }

    fn expression(self) -> Option<&'static Regex> {
        static COMPILED: OnceLock<Vec<(Protect, Regex)>> = OnceLock::new();
        let all = COMPILED.get_or_init(|| {
            let compile = |kind: Self| Some((kind, Regex::new(kind.pattern()).ok()?));
            Self::ALL.into_iter().filter_map(compile).collect()
        });
        all.iter().find(|(kind, _)| *kind == self).map(|(_, expression)| expression)
    }
}

/// What to do with a translation that does not hold each protected part once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// Translate what is between the parts piece by piece.
    #[default]
    Segments,
    /// No translation.
    Reject,
}

/// What is protected.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtectConfig {
    /// Kinds of parts.
    pub kinds: Vec<Protect>,
    /// Names and terms, as they are written.
    pub names: Vec<String>,
    /// What to do where one is lost or doubled.
    pub on_fault: OnFault,
}

impl Default for ProtectConfig {
    fn default() -> Self {
        Self { kinds: Protect::ALL.to_vec(), names: Vec::new(), on_fault: OnFault::Segments }
    }
}

/// Counts of texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProtectReport {
    /// With a protected part.
    pub protected: usize,
    /// Whose translation lost a part.
    pub lost: usize,
    /// Whose translation had one twice, or one that was never there.
    pub doubled: usize,
    /// Whose parts came back in another order, which is none of these faults.
    pub reordered: usize,
    /// Translated piece by piece.
    pub by_segments: usize,
    /// Without translation for a fault.
    pub rejected: usize,
}

/// Another translator that sees `⟦0⟧`, `⟦1⟧`, … in place of the parts that must stay as they are.
/// A translation has each of them byte for byte, in whatever order, or there is none.
#[derive(Clone, Debug)]
pub struct Protected<T> {
    /// Who translates.
    pub inner: T,
    /// What is protected.
    pub config: ProtectConfig,
    /// What happened so far.
    pub report: ProtectReport,
}

impl<T: Translator> Protected<T> {
    /// Around another translator.
    pub fn new(inner: T, config: ProtectConfig) -> Self {
        Self { inner, config, report: ProtectReport::default() }
    }

    /// Parts of `text` in bytes, in order; of two that overlap the first, of two that begin alike
    /// the longer one.
    fn parts(&self, text: &str) -> Vec<Range<usize>> {
        let expressions = self.config.kinds.iter().filter_map(|kind| kind.expression());
        let mut all: Vec<Range<usize>> =
            expressions.flat_map(|one| one.find_iter(text).map(|found| found.range())).collect();
        for name in self.config.names.iter().filter(|name| !name.is_empty()) {
            all.extend(text.match_indices(name.as_str()).map(|(at, _)| at..at + name.len()));
        }
        all.sort_by_key(|part| (part.start, std::cmp::Reverse(part.end)));
        let mut end = 0;
        all.retain(|part| {
            let apart = part.start >= end;
            end = if apart { part.end } else { end };
            apart
        });
        all
    }

    /// Translates what is between the parts of each text, all pieces in one call.
    fn by_segments(&mut self, texts: &[Hidden<'_>], from: Language, to: Language) -> Translations {
        let pieces: Vec<&str> = texts.iter().flat_map(|text| text.pieces()).collect();
        let worded: Vec<&str> =
            pieces.iter().map(|piece| piece.trim()).filter(|piece| !piece.is_empty()).collect();
        let translated = ask(&mut self.inner, &worded, from, to)?;
        let mut translated = translated.into_iter();
        let mut all = Vec::with_capacity(texts.len());
        for text in texts {
            let mut whole = Some(String::new());
            let mut parts = text.parts.iter();
            for piece in text.pieces() {
                let (before, after) = (leading(piece), trailing(piece));
                let middle = match piece.trim() {
                    "" => Some(String::new()),
                    _ => translated.next().flatten().map(|text| text.trim().to_owned()),
                };
                let after = if piece.trim().is_empty() { "" } else { after };
                whole = whole.zip(middle).map(|(whole, middle)| {
                    let part = parts.next().and_then(|part| text.text.get(part.clone()));
                    format!("{whole}{before}{middle}{after}{}", part.unwrap_or_default())
                });
            }
            all.push(whole);
        }
        Ok(all)
    }
}

fn leading(text: &str) -> &str {
    text.get(..text.len() - text.trim_start().len()).unwrap_or_default()
}

fn trailing(text: &str) -> &str {
    text.get(text.trim_end().len()..).unwrap_or_default()
}

/// One translation for each text.
fn ask(inner: &mut impl Translator, texts: &[&str], from: Language, to: Language) -> Translations {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let all = inner.translate(texts, from, to)?;
    match all.len() == texts.len() {
        true => Ok(all),
        false => Err(Error::Count { expected: texts.len(), got: all.len() }),
    }
}

/// A text with its parts hidden.
struct Hidden<'a> {
    text: &'a str,
    parts: Vec<Range<usize>>,
    /// Brackets around a number: more than the text has in a row itself.
    level: usize,
}

const OPEN: char = '⟦';
const CLOSE: char = '⟧';

/// Why a translation cannot be put together.
enum Fault {
    Lost,
    Doubled,
}

impl<'a> Hidden<'a> {
    fn new(text: &'a str, parts: Vec<Range<usize>>) -> Self {
        let longest = |bracket: char| {
            text.split(|c| c != bracket).map(|run| run.chars().count()).max().unwrap_or(0)
        };
        Self { text, parts, level: 1 + longest(OPEN).max(longest(CLOSE)) }
    }

    /// What stands before the first part, between two, and after the last.
    fn pieces(&self) -> impl Iterator<Item = &'a str> {
        let text = self.text;
        let starts = std::iter::once(0).chain(self.parts.iter().map(|part| part.end));
        let ends = self.parts.iter().map(|part| part.start).chain([text.len()]);
        starts.zip(ends).map(move |(from, to)| text.get(from..to).unwrap_or_default())
    }

    fn hidden(&self) -> String {
        let bracket = |c: char| c.to_string().repeat(self.level);
        let (open, close) = (bracket(OPEN), bracket(CLOSE));
        let mut hidden = String::new();
        for (number, piece) in self.pieces().enumerate() {
            hidden.push_str(piece);
            if number < self.parts.len() {
                hidden.push_str(&format!("{open}{number}{close}"));
            }
        }
        hidden
    }

    /// A translation with the parts in their places, and whether they are in another order.
    fn restored(&self, translated: &str) -> Result<(String, bool), Fault> {
        let (open, close) =
            (OPEN.to_string().repeat(self.level), CLOSE.to_string().repeat(self.level));
        let (mut whole, mut order, mut rest) = (String::new(), Vec::new(), translated);
        while let Some((before, after)) = rest.split_once(&open) {
            let Some((number, after)) = after.split_once(&close) else { break };
            whole.push_str(before);
            let number = number.trim().parse::<usize>().map_err(|_| Fault::Doubled)?;
            let part = self.parts.get(number).ok_or(Fault::Doubled)?;
            if order.contains(&number) {
                return Err(Fault::Doubled);
            }
            order.push(number);
            whole.push_str(self.text.get(part.clone()).unwrap_or_default());
            rest = after;
        }
        whole.push_str(rest);
        match order.len() == self.parts.len() {
            true => Ok((whole, !order.is_sorted())),
            false => Err(Fault::Lost),
        }
    }
}

impl<T: Translator> Translator for Protected<T> {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let hidden: Vec<Hidden> =
            texts.iter().map(|text| Hidden::new(text, self.parts(text))).collect();
        let asked: Vec<String> = hidden.iter().map(Hidden::hidden).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let translated = ask(&mut self.inner, &asked, from, to)?;
        let (mut all, mut faulty, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (text, translation)) in hidden.into_iter().zip(translated).enumerate() {
            self.report.protected += usize::from(!text.parts.is_empty());
            let restored = translation.as_deref().map(|translation| text.restored(translation));
            all.push(match restored {
                None => None,
                Some(Ok((whole, reordered))) => {
                    self.report.reordered += usize::from(reordered);
                    Some(whole)
                }
                Some(Err(fault)) => {
                    match fault {
                        Fault::Lost => self.report.lost += 1,
                        Fault::Doubled => self.report.doubled += 1,
                    }
                    faulty.push(text);
                    places.push(place);
                    None
                }
            });
        }
        if self.config.on_fault == OnFault::Reject {
            self.report.rejected += faulty.len();
            return Ok(all);
        }
        self.report.by_segments += faulty.len();
        for (place, whole) in places.into_iter().zip(self.by_segments(&faulty, from, to)?) {
            self.report.rejected += usize::from(whole.is_none());
            if let Some(slot) = all.get_mut(place) {
                *slot = whole;
            }
        }
        Ok(all)
    }

    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }
}
