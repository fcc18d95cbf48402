//! Removes parts of a language model's reply that are not the translation.
//!
//! A part is removed only if the source text has no such part, so that, for example, a quoted
//! source text keeps its quotation marks.
use std::sync::LazyLock;

use mlqa_eval::Language;
use regex::Regex;
use serde_json::Value;

use super::chat_rules::{
    END_TOKENS, ENGLISH_OPENINGS, FINAL_MESSAGES, HTML, INTRODUCTIONS, NOTES, OTHER_MESSAGES,
    QUOTES, REASONING, START_TOKENS, TAGS, TRANSLATION_STEMS,
};
use super::refusal::is_refusal;
use super::report::{Rejection, RemovedPart};

/// Maximum number of code points of an introduction.
const MAX_INTRODUCTION: usize = 100;

/// Returns the translation of `source` into `to` in a reply, and the kinds of removed parts.
pub(super) fn clean(
    source: &str,
    reply: &str,
    to: Language,
) -> Result<(String, Vec<RemovedPart>), Rejection> {
    let mut removed = Vec::new();
    let mut text = trim(reply).to_owned();
    let mut note_removal = |part: RemovedPart| {
        if !removed.contains(&part) {
            removed.push(part);
        }
    };
    if let Some(rest) = without_reasoning(source, &text)? {
        text = rest;
        note_removal(RemovedPart::Reasoning);
    }
    // The parts may be nested in any order, for example a fence within tags.
    let rules: [(RemovedPart, Rule); 6] = [
        (RemovedPart::TemplateToken, without_template_token),
        (RemovedPart::Introduction, without_introduction),
        (RemovedPart::Note, without_note),
        (RemovedPart::Wrapper, without_wrapper),
        (RemovedPart::QuotationMarks, without_quotation_marks),
        (RemovedPart::Introduction, without_opening_line),
    ];
    let context = Context { source: trim(source), to };
    loop {
        if let Some(value) = json_value(context.source, &text) {
            text = trim(&value).to_owned();
            note_removal(RemovedPart::Wrapper);
        }
        let mut results =
            rules.iter().filter_map(|&(part, rule)| Some((part, rule(&context, &text)?)));
        let Some((part, rest)) = results.next() else { break };
        text = trim(rest).to_owned();
        note_removal(part);
    }
    let has_letters = |text: &str| text.chars().any(char::is_alphanumeric);
    if (text.is_empty() && !context.source.is_empty())
        || (has_letters(context.source) && !has_letters(&text))
    {
        return Err(Rejection::Blank);
    }
    if is_refusal(context.source, &text, to) {
        return Err(Rejection::Refused);
    }
    if count_lines(&text) > count_lines(context.source) {
        return Err(Rejection::ExtraLines);
    }
    Ok((text, removed))
}

/// The source text and the target language.
struct Context<'a> {
    source: &'a str,
    to: Language,
}

/// A rule returns the rest of the text, which is shorter, or `None` if it does not apply.
type Rule = for<'t> fn(&Context<'_>, &'t str) -> Option<&'t str>;

/// Removes white space, zero-width spaces and byte order marks at both ends.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
    })
}

/// Returns the text without reasoning, or `None` if it has no reasoning.
fn without_reasoning(source: &str, text: &str) -> Result<Option<String>, Rejection> {
    let source = source.to_ascii_lowercase();
    let lower = text.to_ascii_lowercase();
    for (marker, start) in FINAL_MESSAGES {
        if lower.starts_with(start)
            && !source.contains(marker)
            && let Some(index) = lower.rfind(marker)
        {
            return Ok(Some(trim(&text[index + marker.len()..]).to_owned()));
        }
    }
    if OTHER_MESSAGES.iter().any(|marker| lower.contains(marker) && !source.contains(marker)) {
        return Err(Rejection::UnfinishedReasoning);
    }
    let mut rest = text.to_owned();
    while let Some(after) = without_tagged_block(&source, &rest)? {
        rest = trim(after).to_owned();
    }
    for (open, close) in REASONING {
        if source.contains(open) || source.contains(close) {
            continue;
        }
        let lower = rest.to_ascii_lowercase();
        // Some chat templates contain the opening delimiter, so that replies lack it.
        let (start, end) = match (lower.find(open), lower.rfind(close)) {
            (None, None) => continue,
            (Some(_), None) => return Err(Rejection::UnfinishedReasoning),
            (Some(start), Some(end)) if end < start => return Err(Rejection::UnfinishedReasoning),
            (start, Some(end)) => (start.unwrap_or(0), end + close.len()),
        };
        rest.replace_range(start..end, "");
    }
    Ok((rest != text).then(|| trim(&rest).to_owned()))
}

#[expect(clippy::expect_used, reason = "the patterns are constants with an escaped name")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

/// Removes a block of tags from the start, such as `<plan>…</plan>`. Blocks with names of
/// translations and of HTML elements are not removed. Returns `None` if there is no such block.
/// `source` is in lower case.
fn without_tagged_block<'t>(source: &str, text: &'t str) -> Result<Option<&'t str>, Rejection> {
    static OPENING: LazyLock<Regex> =
        LazyLock::new(|| compile(r"^(?:<|&lt;)\s*(\p{L}[\p{L}\p{N}_:-]*)\s*(?:>|&gt;)"));
    let Some(opening) = OPENING.captures(text) else { return Ok(None) };
    let name = opening[1].to_lowercase();
    let is_known = TAGS.contains(&name.as_str()) || HTML.contains(&name.as_str());
    // Blocks whose closing delimiter has another name are in the list of reasoning delimiters.
    let is_listed = REASONING
        .iter()
        .any(|(open, close)| *open == format!("<{name}>") && *close != format!("</{name}>"));
    if is_known || is_listed || source.contains(&format!("<{name}")) {
        return Ok(None);
    }
    let closing = format!(r"(?i)(?:<|&lt;)\s*/\s*{}\s*(?:>|&gt;)", regex::escape(&opening[1]));
    match compile(&closing).find_iter(text).last() {
        Some(end) => Ok(Some(&text[end.end()..])),
        None => Err(Rejection::UnfinishedReasoning),
    }
}

fn without_template_token<'t>(context: &Context<'_>, text: &'t str) -> Option<&'t str> {
    let source = context.source.to_ascii_lowercase();
    let lower = text.to_ascii_lowercase();
    // Some models continue with another turn of the conversation after the end.
    let end_tokens = END_TOKENS.iter().filter(|token| !source.contains(**token));
    if let Some((start, token)) =
        end_tokens.filter_map(|token| Some((lower.find(token)?, token))).min()
    {
        return Some(if start == 0 { &text[token.len()..] } else { &text[..start] });
    }
    let mut start_tokens = START_TOKENS.iter().filter(|token| !source.starts_with(**token));
    let token = start_tokens.find(|token| lower.starts_with(**token))?;
    Some(&text[token.len()..])
}

/// Removes a code fence or tags around the text.
fn without_wrapper<'t>(context: &Context<'_>, text: &'t str) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix("```")
        && !context.source.starts_with("```")
    {
        let inner = rest.rfind("```").map_or(rest, |end| &rest[..end]);
        // The first line may contain the name of a format.
        return Some(match inner.split_once('\n') {
            Some((name, content)) if name.trim().chars().all(|c| c.is_ascii_alphanumeric()) => {
                content
            }
            _ => inner,
        });
    }
    let lower = text.to_ascii_lowercase();
    TAGS.iter().find_map(|tag| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        if context.source.to_ascii_lowercase().contains(&open) || !lower.starts_with(&open) {
            return None;
        }
        // Text after the closing tag is not part of the translation.
        let end = lower.rfind(&close).unwrap_or(text.len());
        Some(&text[open.len()..end])
    })
}

/// Returns the only text of a JSON object or array, or the text of an object's key that names a
/// translation.
fn json_value(source: &str, text: &str) -> Option<String> {
    if source.starts_with(['{', '[']) || !text.starts_with(['{', '[']) {
        return None;
    }
    let value = match serde_json::from_str(text).ok()? {
        Value::Array(mut values) if values.len() == 1 => values.pop()?,
        Value::Object(object) if object.len() == 1 => object.into_iter().next()?.1,
        Value::Object(mut object) => TAGS.iter().find_map(|tag| object.remove(*tag))?,
        _ => return None,
    };
    if let Value::String(value) = value { Some(value) } else { None }
}

fn count_colons(text: &str) -> usize {
    text.chars().filter(|c| matches!(c, ':' | '：')).count()
}

fn count_lines(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

/// Removes Markdown characters and punctuation at both ends, and returns the text in lower case.
fn plain(text: &str) -> String {
    text.trim_matches(|c: char| c.is_whitespace() || "*_#`>()[]\"'.,;!:：-–—".contains(c))
        .to_lowercase()
}

fn has_translation_stem(lower: &str) -> bool {
    TRANSLATION_STEMS.iter().any(|stem| lower.contains(stem))
}

/// Returns whether a text before a colon introduces a translation.
fn is_introduction(context: &Context<'_>, head: &str) -> bool {
    if head.chars().count() > MAX_INTRODUCTION {
        return false;
    }
    let head = plain(head);
    let language = context.to.name().to_lowercase();
    let is_language = head == language || head == context.to.as_str();
    is_language
        || INTRODUCTIONS.contains(&head.as_str())
        || (has_translation_stem(&head) && !has_translation_stem(&context.source.to_lowercase()))
        || (context.to.base() != "en"
            && ENGLISH_OPENINGS.iter().any(|opening| head.starts_with(opening)))
}

/// Removes an introduction that ends with a colon. The source must have fewer colons.
fn without_introduction<'t>(context: &Context<'_>, text: &'t str) -> Option<&'t str> {
    if count_colons(text) <= count_colons(context.source) {
        return None;
    }
    let (head, rest) = text.split_once([':', '：'])?;
    let is_valid = !head.contains('\n') && is_introduction(context, head);
    // Markdown may close its emphasis after the colon: `**Translation:** …`.
    let rest = rest.trim_start();
    let rest = if head.trim_start().starts_with("**") {
        rest.strip_prefix("**").unwrap_or(rest)
    } else {
        rest
    };
    is_valid.then_some(rest)
}

/// Removes a first line that introduces the translation. The source must have fewer lines.
fn without_opening_line<'t>(context: &Context<'_>, text: &'t str) -> Option<&'t str> {
    if count_lines(text) <= count_lines(context.source) {
        return None;
    }
    let (line, rest) = text.split_once('\n')?;
    is_introduction(context, line).then_some(rest)
}

/// Removes a note after the translation, and everything that follows. The source must have fewer
/// lines.
fn without_note<'t>(context: &Context<'_>, text: &'t str) -> Option<&'t str> {
    if count_lines(text) <= count_lines(context.source) {
        return None;
    }
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let head = line.split_once([':', '：']).map_or(line, |(head, _)| head);
        let is_note = count_colons(line) > 0 && NOTES.contains(&plain(head).as_str());
        let is_rule = matches!(line.trim(), "---" | "***" | "___");
        if offset > 0 && (is_note || is_rule) {
            return Some(&text[..offset]);
        }
        offset += line.len();
    }
    None
}

/// Removes quotation marks around the text.
fn without_quotation_marks<'t>(context: &Context<'_>, text: &'t str) -> Option<&'t str> {
    let is_quoted = |text: &str| {
        QUOTES.iter().any(|(open, close)| text.starts_with(open) && text.ends_with(close))
    };
    if is_quoted(context.source) {
        return None;
    }
    QUOTES.iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(open)?.strip_suffix(close)?;
        (!inner.contains(open) && !inner.contains(close)).then_some(inner)
    })
}
