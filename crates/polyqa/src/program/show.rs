//! Plain-text output of answers.
use std::collections::HashSet;
use std::fmt::Write;
use std::io::IsTerminal;

use crate::{Answer, Answers};
use atomic_file::one_line;

/// Formats the question, its best answer with the sentence that contains it, and the other distinct
/// answers.
pub fn answers(found: &Answers) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", one_line(&found.question));
    let no_answer = match found.answers.first() {
        None => Some("no answer: the documents contain no words".to_owned()),
        Some(_) if found.no_answer => {
            Some(format!("no answer ({:.0} %)", 100.0 * found.null_probability))
        }
        Some(_) => None,
    };
    if let Some(message) = &no_answer {
        let _ = writeln!(text, "  {message}");
    }
    let mut texts = HashSet::new();
    let distinct = found.answers.iter().filter(|answer| texts.insert(answer.text.to_lowercase()));
    for (rank, answer) in distinct.enumerate() {
        let prefix = match (rank, &no_answer) {
            (0, None) => " ",
            (0, Some(_)) => "  perhaps",
            _ => "  or",
        };
        let Answer { probability, document, .. } = answer;
        let _ = writeln!(
            text,
            "{prefix} {}  ({:.0} %, {})",
            marked(&answer.text),
            100.0 * probability,
            one_line(document)
        );
        // If the answer is the whole sentence, the sentence is not repeated.
        if rank == 0 && answer.sentence != answer.text {
            let _ = writeln!(text, "    {}", in_sentence(answer));
        }
    }
    text.push('\n');
    text
}

/// Returns the sentence with the answer marked.
fn in_sentence(answer: &Answer) -> String {
    let at = |code_point: usize| {
        let mut starts = answer.sentence.char_indices().map(|(byte, _)| byte);
        starts.nth(code_point).unwrap_or(answer.sentence.len())
    };
    let start = at(answer.start_in_sentence);
    let end = (start + answer.text.len()).min(answer.sentence.len());
    let part = |from: usize, to: usize| {
        one_line(answer.sentence.get(from..to).unwrap_or_default()).into_owned()
    };
    let (before, after) = (part(0, start), part(end, answer.sentence.len()));
    format!("{before}{}{after}", marked(&part(start, end)))
}

/// Marks text in bold on a terminal, in brackets elsewhere.
fn marked(text: &str) -> String {
    let text = one_line(text);
    let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if bold { format!("\u{1b}[1m{text}\u{1b}[0m") } else { format!("[{text}]") }
}
