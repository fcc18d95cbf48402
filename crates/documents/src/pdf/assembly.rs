//! Joins the lines of pages to paragraphs.
use std::collections::{HashMap, HashSet};

use super::layout::Line;
use crate::PAGE_BREAK;
use crate::characters::is_wide;

/// Minimum distance of lines, relative to the usual one, that separates paragraphs.
const PARAGRAPH_DISTANCE: f32 = 1.3;

/// Maximum ratio of the font sizes of two lines of a paragraph.
const MAX_SIZE_RATIO: f32 = 1.15;

/// Number of pages on which a header or footer recurs.
const MIN_REPEATED: usize = 3;

/// Distance in points within which headers of different pages have the same place.
const SAME_PLACE: f32 = 4.0;

/// Returns the text of all pages; each page ends with a page break.
pub fn text(mut pages: Vec<Vec<Line>>) -> String {
    // A header and a page number can be two lines.
    for _ in 0..2 {
        drop_repeated(&mut pages);
    }
    let words = words(&pages);
    let mut text = String::new();
    for lines in &pages {
        let page = page_text(lines, &words);
        if !text.is_empty() && !page.is_empty() && is_continued(&text, &page) {
            // The paragraph continues on this page.
            let content = text.trim_end_matches(|char: char| char.is_whitespace()).len();
            let breaks = text[content..].matches(PAGE_BREAK).count();
            text.truncate(content);
            text.push(' ');
            text.extend(std::iter::repeat_n(PAGE_BREAK, breaks));
        }
        text.push_str(&page);
        if !page.is_empty() {
            text.push_str("\n\n");
        }
        text.push(PAGE_BREAK);
    }
    text.retain(|char| char != '\u{ad}');
    text
}

/// Returns whether a page starts within a sentence of the page before it.
fn is_continued(before: &str, page: &str) -> bool {
    let last = before.trim_end().chars().next_back();
    let is_open =
        last.is_some_and(|last| last.is_alphanumeric() || matches!(last, ',' | '،' | '、' | '，'));
    // Scripts without upper case have no sign of a new sentence.
    is_open
        && page.chars().next().is_some_and(|first| first.is_alphabetic() && !first.is_uppercase())
}

/// Removes lines at the top and at the bottom that recur on several pages, apart from digits.
fn drop_repeated(pages: &mut [Vec<Line>]) {
    let mut counts: HashMap<(String, i32), usize> = HashMap::new();
    let keys: Vec<Vec<Option<(String, i32)>>> =
        pages.iter().map(|lines| outer_keys(lines)).collect();
    for page in &keys {
        let distinct: HashSet<_> = page.iter().flatten().collect();
        for key in distinct {
            *counts.entry(key.clone()).or_default() += 1;
        }
    }
    for (lines, keys) in pages.iter_mut().zip(keys) {
        let mut keys = keys.into_iter();
        lines.retain(|_| {
            let key = keys.next().expect("each line has a place");
            key.is_none_or(|key| counts[&key] < MIN_REPEATED)
        });
    }
}

/// Returns the text without digits and the height of the lines that may be headers or footers: the
/// first, last, topmost and bottommost lines.
fn outer_keys(lines: &[Line]) -> Vec<Option<(String, i32)>> {
    let height = |index: &usize| lines[*index].origin.y;
    let by_height = |a: &usize, b: &usize| height(a).total_cmp(&height(b));
    let outer = [
        Some(0),
        lines.len().checked_sub(1),
        (0..lines.len()).min_by(by_height),
        (0..lines.len()).max_by(by_height),
    ];
    let key = |(index, line): (usize, &Line)| {
        let mask = |char: char| if char.is_numeric() { '#' } else { char };
        let mut masked: Vec<char> = line.text.chars().map(mask).collect();
        masked.dedup_by(|a, b| *a == '#' && *b == '#');
        let place = (line.origin.y / SAME_PLACE).round() as i32;
        outer.contains(&Some(index)).then(|| (masked.into_iter().collect(), place))
    };
    lines.iter().enumerate().map(key).collect()
}

/// Returns the words of a file, in lower case, without those that a line end divides.
fn words(pages: &[Vec<Line>]) -> HashSet<String> {
    let mut words = HashSet::new();
    let mut is_divided = false;
    for line in pages.iter().flatten() {
        let mut text = match is_divided {
            true => line.text.trim_start_matches(char::is_alphanumeric),
            false => &line.text,
        };
        let hyphens = ['-', '\u{ad}', '\u{2010}'];
        is_divided = text.ends_with(hyphens);
        if is_divided {
            text = text.trim_end_matches(hyphens).trim_end_matches(char::is_alphanumeric);
        }
        let parts = text.split(|char: char| !char.is_alphanumeric());
        words.extend(parts.filter(|word| !word.is_empty()).map(str::to_lowercase));
    }
    words
}

/// What separates two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Word,
    Line,
    Paragraph,
}

fn page_text(lines: &[Line], words: &HashSet<String>) -> String {
    let distance = usual_distance(lines);
    let mut text = String::new();
    let mut last: Option<&Line> = None;
    for line in lines {
        match last.map(|last| separator(lines, last, line, distance)) {
            None => text.push_str(&line.text),
            Some(Break::Paragraph) => text.extend(["\n\n", &line.text]),
            Some(Break::Line) => text.extend(["\n", &line.text]),
            Some(Break::Word) => join(&mut text, &line.text, words),
        }
        last = Some(line);
    }
    text
}

/// Returns the usual distance of two lines of a page, relative to the font size.
fn usual_distance(lines: &[Line]) -> f32 {
    let mut distances: Vec<f32> = lines
        .windows(2)
        .map(|pair| -(pair[1].origin - pair[0].origin).across(pair[0].direction) / pair[0].size)
        .filter(|distance| (0.5..3.0).contains(distance))
        .collect();
    distances.sort_by(f32::total_cmp);
    // The lower quartile: many pages have as many gaps between paragraphs as within them.
    distances.get(distances.len() / 4).copied().unwrap_or(1.2) // no two lines
}

fn separator(lines: &[Line], last: &Line, line: &Line, usual_distance: f32) -> Break {
    let offset = line.origin - last.origin;
    let (distance, indent) = (-offset.across(last.direction), offset.along(last.direction));
    let (small, large) = (last.size.min(line.size), last.size.max(line.size));
    let is_parallel = line.direction.along(last.direction) > 0.9;
    let has_cells = last.text.contains('\t') || line.text.contains('\t');
    let is_end = ends_sentence(&last.text);
    let is_beside = indent > last.length || indent + line.length < 0.0;
    match () {
        () if !is_parallel || large > MAX_SIZE_RATIO * small => Break::Paragraph,
        () if distance > PARAGRAPH_DISTANCE * usual_distance * large => Break::Paragraph,
        () if has_cells || starts_item(&line.text) => Break::Line,
        // Parts of the same line, or a note in the margin.
        () if distance.abs() < 0.5 * large => Break::Line,
        // The next column.
        () if distance < 0.0 => {
            if is_end {
                Break::Paragraph
            } else {
                Break::Word
            }
        }
        () if is_beside => Break::Paragraph,
        () if is_end
            && (is_short(lines, last) || (!line.is_right_to_left && indent > 0.8 * large)) =>
        {
            Break::Paragraph
        }
        () => Break::Word,
    }
}

/// Returns whether a line is much shorter than the lines of its column.
fn is_short(lines: &[Line], line: &Line) -> bool {
    let is_in_column = |other: &&Line| {
        let offset = (other.origin - line.origin).along(line.direction).abs();
        line.is_right_to_left || offset < 2.0 * line.size
    };
    let longest = lines.iter().filter(is_in_column).map(|other| other.length).fold(0.0, f32::max);
    line.length < 0.85 * longest
}

/// Returns whether a text ends with the punctuation of a sentence.
fn ends_sentence(text: &str) -> bool {
    let is_closing = |char: char| char.is_whitespace() || "\"'”’»)]』」）".contains(char);
    let last = text.trim_end_matches(is_closing).chars().next_back();
    last.is_some_and(|last| ".!?:。！？：؟۔।॥…".contains(last))
}

/// Returns whether a line starts with the sign of a list item.
fn starts_item(text: &str) -> bool {
    let mut chars = text.chars();
    matches!(chars.next(), Some('•' | '◦' | '▪' | '‣' | '∗' | '●' | '–'))
        && chars.next().is_none_or(char::is_whitespace)
}

/// Appends the next line of a paragraph, and joins a word that the line end divides.
#[expect(clippy::expect_used, reason = "lines are not empty")]
fn join(text: &mut String, next: &str, words: &HashSet<String>) {
    let first = next.chars().next().expect("a line is not empty");
    match text.chars().next_back() {
        Some('\u{ad}') => drop(text.pop()),
        Some('\u{2010}') if first.is_alphabetic() => drop(text.pop()),
        Some('-') => {
            let before = &text[..text.len() - 1];
            let start = before.trim_end_matches(char::is_alphanumeric).len();
            let first_half = &before[start..];
            let end = next.find(|char: char| !char.is_alphanumeric());
            let second_half = end.map_or(next, |end| &next[..end]);
            let joined = format!("{first_half}{second_half}").to_lowercase();
            let is_dash = first_half.is_empty();
            let is_word = words.contains(&joined) || !words.contains(&second_half.to_lowercase());
            if is_dash && before.ends_with(char::is_whitespace) {
                text.push(' ');
            } else if !is_dash && first.is_lowercase() && is_word {
                text.pop();
            }
        }
        Some(last) if is_wide(last) && is_wide(first) => {}
        Some(_) => text.push(' '),
        None => {}
    }
    text.push_str(next);
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Vector;
    use super::*;

    fn line(x: f32, y: f32, length: f32, text: &str) -> Line {
        Line {
            text: text.to_owned(),
            origin: Vector { x, y },
            length,
            direction: Vector { x: 1.0, y: 0.0 },
            size: 10.0,
            is_right_to_left: false,
        }
    }

    /// The text of one page with lines of the same length.
    fn page(texts: &[&str]) -> String {
        let lines = texts.iter().zip(0u8..);
        let lines = lines.map(|(text, index)| line(0.0, -12.0 * f32::from(index), 100.0, text));
        text(vec![lines.collect()])
    }

    #[test]
    fn lines_of_a_paragraph_are_joined() {
        assert_eq!(page(&["Lima is", "in Peru."]), "Lima is in Peru.\n\n\u{c}");
        assert_eq!(page(&["利马在", "秘鲁。"]), "利马在秘鲁。\n\n\u{c}");
        assert_eq!(
            page(&["Place\tBuilt", "Osterby\t1712"]),
            "Place\tBuilt\nOsterby\t1712\n\n\u{c}"
        );
        assert_eq!(page(&["A list:", "• one", "• two"]), "A list:\n• one\n• two\n\n\u{c}");
        assert_eq!(page(&[]), "\u{c}");
    }

    #[test]
    fn hyphens_at_line_ends_are_removed_from_divided_words() {
        let cases: [(&[&str], &str); 8] = [
            (&["a diffi\u{ad}", "cult word"], "a difficult word"),
            (&["a diffi\u{2010}", "cult word"], "a difficult word"),
            (&["a diffi-", "cult word"], "a difficult word"),
            (&["a well-", "known word, known"], "a well-known word, known"),
            (&["a wellknown, well-", "known word, known"], "a wellknown, wellknown word, known"),
            (&["the Anglo-", "Saxon word"], "the Anglo-Saxon word"),
            (&["pages 10-", "12"], "pages 10-12"),
            (&["a word -", "and another"], "a word - and another"),
        ];
        for (lines, expected) in cases {
            assert_eq!(page(lines).trim_end(), expected);
        }
        assert_eq!(page(&["a soft\u{ad}ly"]).trim_end(), "a softly");
    }

    #[test]
    fn gaps_sizes_and_short_lines_separate_paragraphs() {
        let lines = vec![
            line(0.0, 100.0, 100.0, "one"),
            line(0.0, 88.0, 100.0, "two"),
            line(0.0, 68.0, 100.0, "three"),
            Line { size: 14.0, ..line(0.0, 54.0, 50.0, "Heading") },
            line(0.0, 40.0, 30.0, "Short."),
            line(0.0, 28.0, 100.0, "Next"),
            line(60.0, 100.0, 100.0, "column"),
        ];
        let expected = "one two\n\nthree\n\nHeading\n\nShort.\n\nNext column\n\n\u{c}";
        assert_eq!(text(vec![lines]), expected);
    }

    #[test]
    fn headers_and_page_numbers_are_removed() {
        let page = |number: usize, content: &str| {
            vec![
                line(0.0, 800.0, 50.0, "A Manual"),
                line(0.0, 700.0, 100.0, content),
                line(40.0, 20.0, 5.0, &number.to_string()),
            ]
        };
        let pages = vec![page(9, "The first half of"), page(10, "a sentence."), page(11, "Lima.")];
        assert_eq!(
            text(pages.clone()),
            "The first half of \u{c}a sentence.\n\n\u{c}Lima.\n\n\u{c}"
        );
        // Two pages are not enough.
        assert!(text(pages[..2].to_vec()).contains("A Manual"));
    }
}
