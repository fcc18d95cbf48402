//! Puts the glyphs of a page into lines.
use unicode_bidi::{BidiInfo, Level};

use super::characters::{clean, is_mark, is_right_to_left};
use super::content::Glyph;
use super::geometry::Vector;
use crate::characters::is_wide;

/// Minimum shift across the line, in font sizes, at which a glyph starts a new line. Superscripts
/// are shifted by less.
const LINE_SHIFT: f32 = 0.5;

/// Minimum gap in font sizes that is a space.
const SPACE: f32 = 0.15;

/// Minimum gap between two characters of a script without spaces that is a space.
const WIDE_SPACE: f32 = 0.8;

/// Minimum gap that separates cells of a table.
const CELL_GAP: f32 = 2.0;

/// Maximum distance of a mark from its letter.
const MARK_SHIFT: f32 = 0.25;

/// Maximum distance to the left of a glyph from the glyph before it in the same line.
const MAX_BACK: f32 = 1.5;

/// A line of a page.
#[derive(Clone, Debug)]
pub struct Line {
    /// The text in reading order.
    pub text: String,
    /// Position of the baseline at the left end.
    pub origin: Vector,
    /// Length on the page.
    pub length: f32,
    pub direction: Vector,
    /// The largest font size.
    pub size: f32,
    pub is_right_to_left: bool,
}

/// Returns the lines in the order of the content stream, which is the order of columns in most
/// files. Blank lines are dropped.
pub fn lines(glyphs: Vec<Glyph>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut current: Vec<Glyph> = Vec::new();
    let mut has_right_to_left = false;
    for mut glyph in glyphs {
        glyph.text = clean(&glyph.text).into();
        if glyph.text.is_empty() {
            continue;
        }
        let is_rtl = glyph.text.chars().any(is_right_to_left);
        if let Some(last) = current.last() {
            let size = last.size.max(glyph.size);
            let shift = (glyph.start - last.start).across(last.direction).abs();
            let gap = (glyph.start - last.end).along(last.direction);
            let is_parallel = glyph.direction.along(last.direction) > 0.9;
            if gap < -SPACE * size && is_parallel && is_repeated(&current, &glyph) {
                continue;
            }
            let is_back = gap < -MAX_BACK * size && !is_rtl && !has_right_to_left;
            if !is_parallel || shift > LINE_SHIFT * size || is_back {
                lines.extend(to_line(std::mem::take(&mut current), has_right_to_left));
                has_right_to_left = false;
            }
        }
        has_right_to_left |= is_rtl;
        current.push(glyph);
    }
    lines.extend(to_line(current, has_right_to_left));
    lines
}

/// Returns whether the line has the same glyph in the same place: some programs draw bold text and
/// shadows by drawing the text twice.
fn is_repeated(line: &[Glyph], glyph: &Glyph) -> bool {
    line.iter().any(|other| {
        other.text == glyph.text && (other.start - glyph.start).length() < 0.15 * glyph.size
    })
}

/// A glyph of a line: its text and its interval along the line.
struct Placed<'a> {
    text: &'a str,
    start: f32,
    end: f32,
    /// Middle of the outline of a mark, or of the interval.
    middle: f32,
    size: f32,
}

fn to_line(glyphs: Vec<Glyph>, is_right_to_left: bool) -> Option<Line> {
    let first = glyphs.first()?;
    let (origin, direction) = (first.start, first.direction);
    let mut placed: Vec<Placed<'_>> = glyphs
        .iter()
        .map(|glyph| {
            let along = |place: Vector| (place - origin).along(direction);
            let [a, b] = [glyph.start, glyph.end].map(along);
            let middle = glyph.middle.map_or((a + b) / 2.0, along);
            Placed { text: &glyph.text, start: a.min(b), end: a.max(b), middle, size: glyph.size }
        })
        .collect();
    let text = match is_right_to_left {
        true => right_to_left(&mut placed),
        false => left_to_right(&placed),
    };
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let is_visible = |one: &&Placed<'_>| !one.text.trim().is_empty();
    let left = placed.iter().filter(is_visible).map(|one| one.start).fold(f32::INFINITY, f32::min);
    let right = placed.iter().filter(is_visible).map(|one| one.end).fold(left, f32::max);
    Some(Line {
        text: text.to_owned(),
        origin: Vector { x: origin.x + left * direction.x, y: origin.y + left * direction.y },
        length: right - left,
        direction,
        size: placed.iter().filter(is_visible).map(|one| one.size).fold(0.0, f32::max),
        is_right_to_left,
    })
}

/// Returns the white space between two neighbours on a line.
#[expect(clippy::expect_used, reason = "the caller skips empty texts")]
fn space(last: &Placed<'_>, last_char: Option<char>, next: &Placed<'_>) -> &'static str {
    let Some(last_char) = last_char else { return "" };
    let next_char = next.text.chars().next().expect("empty texts are skipped");
    let gap = (next.start - last.end) / last.size.max(next.size);
    let min_space = if is_wide(last_char) && is_wide(next_char) { WIDE_SPACE } else { SPACE };
    match () {
        () if gap > CELL_GAP => "\t",
        () if last_char.is_whitespace() || next_char.is_whitespace() || is_mark(next_char) => "",
        () if gap > min_space => " ",
        () => "",
    }
}

fn left_to_right(glyphs: &[Placed<'_>]) -> String {
    let mut text = String::new();
    let mut last: Option<&Placed<'_>> = None;
    for glyph in glyphs {
        if let Some(last) = last {
            let space = space(last, text.chars().next_back(), glyph);
            push_space(&mut text, space);
        }
        push_text(&mut text, glyph.text);
        // A mark without an advance ends where its letter begins, or somewhere on it.
        let is_on_last =
            last.is_some_and(|last| glyph.end < last.end && glyph.text.chars().all(is_mark));
        if !is_on_last {
            last = Some(glyph);
        }
    }
    text
}

/// Appends white space. A tab takes the place of spaces before it.
fn push_space(text: &mut String, space: &str) {
    if space == "\t" {
        text.truncate(text.trim_end().len());
    }
    if !text.is_empty() {
        text.push_str(space);
    }
}

/// Appends text without doubling spaces.
fn push_text(text: &mut String, added: &str) {
    for char in added.chars() {
        if char != ' ' || !text.ends_with([' ', '\t']) {
            text.push(char);
        }
    }
}

/// Returns the text of a line with letters of a script from right to left. Glyphs are sorted from
/// left to right, because programs write them in different orders, and their characters are then
/// reordered: the algorithm that displays a text in reading order also maps the displayed order back
/// (UAX #9, for a line without embeddings).
fn right_to_left(glyphs: &mut Vec<Placed<'_>>) -> String {
    let (bases, texts) = attach_marks(std::mem::take(glyphs));
    let mut visual = String::new();
    let mut last: Option<&Placed<'_>> = None;
    for (base, text) in bases.iter().zip(&texts) {
        if let Some(last) = last {
            let space = space(last, visual.chars().next_back(), base);
            push_space(&mut visual, space);
        }
        // The letters of a ligature and its marks are in reading order, so they are reversed.
        let is_reversed = text.chars().any(is_right_to_left);
        match is_reversed {
            true => visual.extend(text.chars().rev()),
            false => push_text(&mut visual, text),
        }
        last = Some(base);
    }
    *glyphs = bases;
    reading_order(visual.trim())
}

/// Returns the glyphs that are not marks, sorted from left to right, and their texts with the marks
/// above and below them. `glyphs` is in the order of the content stream.
fn attach_marks<'a>(glyphs: Vec<Placed<'a>>) -> (Vec<Placed<'a>>, Vec<String>) {
    let (mut bases, mut marks) = (Vec::new(), Vec::new());
    for glyph in glyphs {
        match glyph.text.chars().all(is_mark) {
            true => marks.push((glyph, bases.len())),
            false => bases.push((glyph.text.to_owned(), glyph)),
        }
    }
    let is_letter =
        |index: usize| bases.get(index).is_some_and(|(text, _)| !text.trim().is_empty());
    let outside = |index: usize, mark: &Placed<'_>| {
        let base = &bases[index].1;
        (base.start - mark.middle).max(mark.middle - base.end).max(0.0)
    };
    let distance = |index: usize, mark: &Placed<'_>| {
        outside(index, mark) + (bases[index].1.middle - mark.middle).abs() / 1000.0
    };
    // Programs write a mark after its letter (in reading order) or before it (from left to right).
    let before = |number: usize| number.checked_sub(1).filter(|&index| is_letter(index));
    let after = |number: usize| Some(number).filter(|&index| is_letter(index));
    let total_distance = |letter: &dyn Fn(usize) -> Option<usize>| -> f32 {
        let distance = |(mark, number): &(Placed<'_>, usize)| {
            letter(*number).map_or(mark.size, |index| distance(index, mark))
        };
        marks.iter().map(distance).sum()
    };
    let follow = total_distance(&before) <= total_distance(&after);
    let letter_of = |(mark, number): &(Placed<'a>, usize)| {
        let neighbour = if follow { before(*number) } else { after(*number) };
        // A mark that is far from this letter belongs to the one that it is above or below.
        let neighbour = neighbour.filter(|&index| outside(index, mark) < MARK_SHIFT * mark.size);
        let letters = (0..bases.len()).filter(|&index| is_letter(index));
        let nearest = letters.min_by(|&a, &b| distance(a, mark).total_cmp(&distance(b, mark)));
        neighbour.or(nearest)
    };
    let letters: Vec<Option<usize>> = marks.iter().map(letter_of).collect();
    // Marks of one letter that are written from left to right are in the opposite order.
    let mut attached: Vec<_> = letters.into_iter().zip(marks).collect();
    if !follow {
        attached.reverse();
    }
    for (letter, (mark, _)) in attached {
        if let Some(index) = letter {
            bases[index].0.push_str(mark.text);
        }
    }
    bases.sort_by(|(_, a), (_, b)| a.middle.total_cmp(&b.middle));
    let (texts, bases) = bases.into_iter().unzip();
    (bases, texts)
}

fn reading_order(visual: &str) -> String {
    let count =
        |is_counted: fn(char) -> bool| visual.chars().filter(|&char| is_counted(char)).count();
    let is_left_to_right =
        |char: char| unicode_bidi::bidi_class(char) == unicode_bidi::BidiClass::L;
    let level = match count(is_right_to_left) >= count(is_left_to_right) {
        true => Level::rtl(),
        false => Level::ltr(),
    };
    let info = BidiInfo::new(visual, Some(level));
    let paragraphs = info.paragraphs.iter();
    paragraphs.map(|paragraph| info.reorder_line(paragraph, paragraph.range.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Glyphs of the size 10 at these positions, each 5 wide for each character.
    fn glyphs(texts: &[(f32, f32, &str)]) -> Vec<Glyph> {
        let glyph = |&(x, y, text): &(f32, f32, &str)| Glyph {
            text: text.into(),
            start: Vector { x, y },
            end: Vector { x: x + 5.0 * text.chars().count() as f32, y },
            middle: None,
            direction: Vector { x: 1.0, y: 0.0 },
            size: 10.0,
        };
        texts.iter().map(glyph).collect()
    }

    fn texts(of: &[(f32, f32, &str)]) -> Vec<String> {
        lines(glyphs(of)).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn gaps_are_spaces_and_shifts_are_lines() {
        assert_eq!(texts(&[(0.0, 0.0, "Li"), (10.5, 0.0, "ma"), (22.5, 0.0, "is")]), ["Lima is"]);
        assert_eq!(texts(&[(0.0, 0.0, "x"), (5.0, 4.0, "2"), (10.0, 0.0, "y")]), ["x2y"]);
        assert_eq!(
            texts(&[(0.0, 20.0, "one"), (0.0, 8.0, "two"), (0.0, 20.0, "three")]),
            ["one", "two", "three"]
        );
        assert_eq!(texts(&[(0.0, 0.0, "Place "), (60.0, 0.0, "Built")]), ["Place\tBuilt"]);
        assert_eq!(texts(&[(0.0, 0.0, "利"), (9.0, 0.0, "马")]), ["利马"]);
        assert_eq!(texts(&[(0.0, 0.0, " "), (0.0, 50.0, "")]), [""; 0]);
    }

    #[test]
    fn a_mark_does_not_move_the_end_of_its_letter() {
        // The vowel sign ends at 1, its letter and the gap at 5.
        let drawn = [(0.0, 0.0, "क"), (-4.0, 0.0, "\u{947}"), (5.0, 0.0, "व"), (12.0, 0.0, "ळ")];
        assert_eq!(texts(&drawn), ["के\u{935} ळ"]);
    }

    #[test]
    fn a_text_that_is_drawn_twice_is_read_once() {
        let drawn =
            [(0.0, 0.0, "a"), (5.0, 0.0, "b"), (0.3, 0.0, "a"), (5.3, 0.0, "b"), (10.3, 0.0, "c")];
        assert_eq!(texts(&drawn), ["abc"]);
    }

    #[test]
    fn right_to_left_lines_are_in_reading_order() {
        let expected = ["في سنة 1893 (لا)"];
        // As displayed: from left to right, the ligature of lam and alef is one glyph.
        let displayed = [
            (0.0, 0.0, "("),
            (5.0, 0.0, "\u{fefb}"),
            (10.0, 0.0, ")"),
            (20.0, 0.0, "1"),
            (25.0, 0.0, "8"),
            (30.0, 0.0, "9"),
            (35.0, 0.0, "3"),
            (45.0, 0.0, "ة"),
            (50.0, 0.0, "ن"),
            (55.0, 0.0, "س"),
            (65.0, 0.0, "ي"),
            (70.0, 0.0, "ف"),
        ];
        // The brackets are mirrored glyphs.
        let mirrored = displayed.map(|(x, y, text)| match text {
            "(" => (x, y, ")"),
            ")" => (x, y, "("),
            _ => (x, y, text),
        });
        assert_eq!(texts(&mirrored), expected);
        // Other programs write the glyphs in reading order.
        let mut reading = mirrored;
        reading.reverse();
        assert_eq!(texts(&reading), expected);
    }

    #[test]
    fn marks_belong_to_the_letter_at_their_place() {
        // The vowel mark is written before or after its letter, at the letter's place.
        let before = [(0.0, 0.0, "ب"), (7.0, 1.0, "\u{64e}"), (5.0, 0.0, "ك")];
        let after = [(0.0, 0.0, "ب"), (5.0, 0.0, "ك"), (7.0, 1.0, "\u{64e}")];
        assert_eq!(texts(&before), ["ك\u{64e}ب"]);
        assert_eq!(texts(&after), ["ك\u{64e}ب"]);
    }

    #[test]
    fn marks_beside_their_letters_belong_to_their_neighbours_in_the_file() {
        // Letters are 5 wide, and the first of two marks is half a unit beside its letter. In reading
        // order, marks follow their letters; from left to right, they precede them.
        let reading = [
            (10.0, 0.0, "ك"),
            (6.0, 0.0, "\u{64e}"),
            (5.0, 0.0, "ب"),
            (7.0, 0.0, "\u{651}"),
            (7.5, 0.0, "\u{650}"),
        ];
        let expected = "ك\u{64e}ب\u{651}\u{650}";
        // Marks are 5 wide here, so that their middles are 2.5 to the right.
        let shifted = reading.map(|(x, y, text)| match text {
            "ك" | "ب" => (x, y, text),
            _ => (x - 2.5 + 3.5 * f32::from(text == "\u{64e}"), y, text),
        });
        assert_eq!(texts(&shifted), [expected]);
        let mut left_to_right = shifted;
        left_to_right.reverse();
        assert_eq!(texts(&left_to_right), [expected]);
    }
}
