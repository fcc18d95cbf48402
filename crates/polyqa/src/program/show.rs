//! Plain-text output of answers.
use std::collections::HashSet;
use std::fmt::Write;
use std::io::IsTerminal;

use crate::{Answer, Answers};
use atomic_file::one_line;

/// The reason that a question over documents has no answers.
pub const NO_WORDS: &str = "the documents contain no words";

/// The reason that a question over a collection has no answers.
pub const NO_COMMON_WORDS: &str = "no passage shares words with the question";

/// Formats the question, the best answer with the sentence that contains the answer, and the other
/// distinct answers. Without answers, the reason `no_answers` is given. "No answer" is listed last if
/// the threshold accepts an answer although "no answer" is more probable.
pub fn format_answers(result: &Answers, no_answers: &str) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", one_line(&result.question));
    let no_answer = match result.answers.first() {
        None => Some(format!("no answer: {no_answers}")),
        Some(_) if result.no_answer => {
            Some(format!("no answer ({:.0} %)", 100.0 * result.null_probability))
        }
        Some(_) => None,
    };
    if let Some(message) = &no_answer {
        let _ = writeln!(text, "  {message}");
    }
    let mut texts = HashSet::new();
    let unique = result.answers.iter().filter(|answer| texts.insert(answer.text.to_lowercase()));
    for (rank, answer) in unique.enumerate() {
        let prefix = match (rank, &no_answer) {
            (0, None) => " ",
            (0, Some(_)) => "  perhaps",
            _ => "  or",
        };
        let Answer { total_probability, document, page, places, .. } = answer;
        let others = match places.len() - 1 {
            0 => String::new(),
            1 => " and another place".to_owned(),
            count => format!(" and {count} other places"),
        };
        let page = page.map_or_else(String::new, |page| format!(", page {page}"));
        let _ = writeln!(
            text,
            "{prefix} {}  ({:.0} %, {}{page}{others})",
            highlight(&answer.text),
            100.0 * total_probability,
            one_line(document)
        );
        // If the answer is the whole sentence, the sentence is not repeated.
        if rank == 0 && answer.sentence != answer.text {
            let _ = writeln!(text, "    {}", highlight_in_sentence(answer));
        }
    }
    if let (None, Some(best)) = (&no_answer, result.answers.first())
        && result.null_probability > best.total_probability
    {
        let _ = writeln!(text, "  or no answer ({:.0} %)", 100.0 * result.null_probability);
    }
    text.push('\n');
    text
}

/// Returns the sentence with the answer highlighted.
fn highlight_in_sentence(answer: &Answer) -> String {
    let sentence = &answer.sentence;
    let mut starts = sentence.char_indices().map(|(byte, _)| byte).chain([sentence.len()]);
    let start = starts.nth(answer.start_in_sentence).expect("an answer begins in its sentence");
    let end = start + (answer.end_byte - answer.start_byte);
    let text_between = |from: usize, to: usize| one_line(&answer.sentence[from..to]).into_owned();
    let (before, after) = (text_between(0, start), text_between(end, answer.sentence.len()));
    format!("{before}{}{after}", highlight(&text_between(start, end)))
}

/// Formats text in bold on a terminal, in brackets elsewhere.
fn highlight(text: &str) -> String {
    let text = one_line(text);
    let is_bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if is_bold { format!("\u{1b}[1m{text}\u{1b}[0m") } else { format!("[{text}]") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    /// The answer "Lima" with a probability, and the probability of "no answer".
    fn lima(probability: f64, null_probability: f64, no_answer: bool) -> Answers {
        let document: std::sync::Arc<str> = "peru.txt".into();
        let place = Place { document: document.clone(), start: 0, end: 4, probability };
        let answer = Answer {
            text: "Lima".to_owned(),
            start: 0,
            end: 4,
            start_byte: 0,
            end_byte: 4,
            sentence: "Lima".to_owned(),
            start_in_sentence: 0,
            document,
            page: None,
            probability,
            total_probability: probability,
            places: vec![place],
            score: 1.0,
        };
        let question = "Which city?".to_owned();
        let answers = vec![answer];
        Answers {
            id: None,
            question,
            answers,
            null_probability,
            truncated_question: None,
            no_answer,
        }
    }

    #[test]
    fn no_answer_is_listed_if_it_is_more_probable_than_the_best_answer() {
        let format = |answers| format_answers(&answers, NO_WORDS);
        let accepted = format(lima(0.18, 0.82, false));
        assert_eq!(accepted, "Which city?\n  [Lima]  (18 %, peru.txt)\n  or no answer (82 %)\n\n");
        assert_eq!(format(lima(0.6, 0.4, false)), "Which city?\n  [Lima]  (60 %, peru.txt)\n\n");
        let rejected = format(lima(0.18, 0.82, true));
        let expected = "Which city?\n  no answer (82 %)\n  perhaps [Lima]  (18 %, peru.txt)\n\n";
        assert_eq!(rejected, expected);
    }
}
