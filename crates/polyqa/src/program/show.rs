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

/// Maximum number of other places that are named for an answer.
const NAMED_PLACES: usize = 3;

/// Formats the question, the best answer with the sentence that contains the answer, and the other
/// distinct answers, at most `max_texts` in all. Without answers, the reason `no_answers` is given.
/// "No answer" is listed last if the threshold accepts an answer although "no answer" is more
/// probable.
pub fn format_answers(result: &Answers, no_answers: &str, max_texts: usize) -> String {
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
    for (rank, answer) in unique.take(max_texts).enumerate() {
        let prefix = match (rank, &no_answer) {
            (0, None) => " ",
            (0, Some(_)) => "  perhaps",
            _ => "  or",
        };
        let _ = writeln!(
            text,
            "{prefix} {}  ({:.0} %, {}{})",
            highlight(&answer.text),
            100.0 * answer.total_probability,
            format_place(&answer.document, answer.page),
            format_other_places(answer)
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

/// Returns the document and page of a place.
fn format_place(document: &str, page: Option<usize>) -> String {
    let page = page.map_or_else(String::new, |page| format!(", page {page}"));
    format!("{}{page}", one_line(document))
}

/// Returns the documents and pages that also have the answer's text or, if there are no others, the
/// number of places.
fn format_other_places(answer: &Answer) -> String {
    let mut seen = HashSet::from([format_place(&answer.document, answer.page)]);
    let places = answer.places.iter().map(|place| format_place(&place.document, place.page));
    let others: Vec<String> = places.filter(|place| seen.insert(place.clone())).collect();
    match (answer.places.len(), others.len()) {
        (0 | 1, _) => String::new(),
        (count, 0) => format!(", {count} places"),
        (_, count) if count > NAMED_PLACES => {
            format!("; also {}; …", others[..NAMED_PLACES].join("; "))
        }
        _ => format!("; also {}", others.join("; ")),
    }
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
        let place = Place { document: document.clone(), start: 0, end: 4, page: None, probability };
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
        let format = |answers| format_answers(&answers, NO_WORDS, 5);
        let accepted = format(lima(0.18, 0.82, false));
        assert_eq!(accepted, "Which city?\n  [Lima]  (18 %, peru.txt)\n  or no answer (82 %)\n\n");
        assert_eq!(format(lima(0.6, 0.4, false)), "Which city?\n  [Lima]  (60 %, peru.txt)\n\n");
        let rejected = format(lima(0.18, 0.82, true));
        let expected = "Which city?\n  no answer (82 %)\n  perhaps [Lima]  (18 %, peru.txt)\n\n";
        assert_eq!(rejected, expected);
    }

    #[test]
    fn other_documents_and_pages_of_an_answer_are_named() {
        let mut answers = lima(0.5, 0.1, false);
        let best = answers.answers[0].clone();
        let place = |document: &str, page| Place {
            document: document.into(),
            page,
            ..best.places[0].clone()
        };
        let mut line_with = |places: Vec<Place>| {
            answers.answers[0].places = places;
            let text = format_answers(&answers, NO_WORDS, 5);
            text.lines().nth(1).unwrap().to_owned()
        };
        let own = best.places[0].clone();
        assert_eq!(line_with(vec![own.clone()]), "  [Lima]  (50 %, peru.txt)");
        let twice = vec![own.clone(), own.clone()];
        assert_eq!(line_with(twice), "  [Lima]  (50 %, peru.txt, 2 places)");
        let others = [place("a.pdf", Some(2)), place("a.pdf", Some(2)), place("b.txt", None)];
        let line = line_with([vec![own.clone()], others.to_vec()].concat());
        assert_eq!(line, "  [Lima]  (50 %, peru.txt; also a.pdf, page 2; b.txt)");
        let many = (1..=4).map(|page| place("a.pdf", Some(page))).collect();
        let line = line_with(many);
        assert_eq!(
            line,
            "  [Lima]  (50 %, peru.txt; also a.pdf, page 1; a.pdf, page 2; a.pdf, page 3; …)"
        );
        // Only distinct texts count.
        answers.answers.push(best);
        answers.answers.push(Answer { text: "Cusco".to_owned(), ..answers.answers[0].clone() });
        assert_eq!(format_answers(&answers, NO_WORDS, 2).matches(" %, peru.txt").count(), 2);
        assert_eq!(format_answers(&answers, NO_WORDS, 1).matches("Cusco").count(), 0);
    }
}
