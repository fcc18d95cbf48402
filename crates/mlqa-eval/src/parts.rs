//! A question file split into parts that threads read in parallel.
//!
//! It is split between two articles of its list `data`. The place is guessed from a few bytes; the
//! reader of a part verifies that it holds whole articles of that list and nothing else.
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::ops::Range;
use std::path::Path;

use memchr::memmem;

use crate::questions::Part;

/// Files below this are read as one.
const LEAST: u64 = 1 << 20;
/// How far an article may be from where a part should begin.
const NEAR: u64 = 1 << 19;
const BUFFER: usize = 1 << 16;

/// Where a file is cut into about `count` parts of equal size; one part where no place to cut is
/// found, nothing where the file is not plain JSON.
pub(crate) fn ranges(path: &Path, count: u64) -> io::Result<Vec<Range<u64>>> {
    ranges_from(LEAST, path, count)
}

fn ranges_from(least: u64, path: &Path, count: u64) -> io::Result<Vec<Range<u64>>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut first = [0];
    // A byte order mark, gzip and the like are for the usual reader.
    if length < least || file.read(&mut first)? == 0 || first.first() != Some(&b'{') {
        return Ok(Vec::new());
    }
    let mut ranges = Vec::new();
    let mut from = 0;
    for k in 1..count {
        let about = length / count * k;
        if about > from
            && let Some(cut) = article_after(&mut file, about)?
        {
            ranges.push(from..cut);
            from = cut;
        }
    }
    ranges.push(from..length);
    Ok(ranges)
}

/// Where an article seems to begin, at `from` or soon after it.
fn article_after(file: &mut File, from: u64) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    let mut searched = 0;
    while searched < NEAR {
        file.by_ref().take(BUFFER as u64).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == searched {
            return Ok(None);
        }
        searched = bytes.len() as u64;
        let keys = memmem::find_iter(&bytes, b"\"paragraphs\"");
        if let Some(cut) = keys.filter_map(|at| object_of(bytes.get(..at)?)).next() {
            return Ok(Some(from + cut as u64));
        }
    }
    Ok(None)
}

/// Where the object begins in which a key comes after `before`; only a title may come before it.
fn object_of(before: &[u8]) -> Option<usize> {
    let brace = memchr::memrchr(b'{', before)?;
    let within = before.get(brace + 1..)?.trim_ascii();
    let list = before.get(..brace)?.trim_ascii_end();
    let first = within.is_empty() || within.starts_with(b"\"title\"") && within.ends_with(b",");
    (first && list.ends_with(b",")).then_some(brace)
}

/// The bytes of a part.
pub(crate) fn open(path: &Path, range: &Range<u64>) -> io::Result<Take<File>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(range.start))?;
    Ok(file.take(range.end - range.start))
}

/// Which part of a file of `length` bytes a range is.
pub(crate) fn part(range: &Range<u64>, length: u64) -> Part {
    Part { first: range.start == 0, last: range.end == length }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;
    use crate::questions::Questions;

    type Found = Vec<(String, Vec<String>)>;

    fn add(found: &mut Found, golds: &Questions) {
        let answers = |question| golds.answers(question).map(str::to_owned).collect();
        let questions = golds.questions.iter();
        found.extend(questions.map(|question| (golds.id(question).to_owned(), answers(question))));
    }

    /// What the parts of a text hold, and how many there are; `None` where they are not taken.
    fn by_parts(text: &str, count: u64) -> Option<(Found, usize)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        std::fs::write(&path, text).unwrap();
        let ranges = ranges_from(0, &path, count).unwrap();
        let length = text.len() as u64;
        let mut found = Found::new();
        for range in &ranges {
            let golds =
                Questions::read(open(&path, range).unwrap(), part(range, length)).unwrap()?;
            add(&mut found, &golds);
        }
        Some((found, ranges.len()))
    }

    fn whole(text: &str) -> Option<Found> {
        let mut found = Found::new();
        add(&mut found, &Questions::read(text.as_bytes(), Part::WHOLE).unwrap()?);
        Some(found)
    }

    fn article(k: usize, title: &str) -> String {
        let qa = |n| {
            format!(
                r#"{{"id": "{k}-{n}", "question": "{{\"paragraphs\"", "answers": [{{"text": "a {n}", "answer_start": 1}}]}}"#
            )
        };
        let context = r#"}, {\"title\": \"\", \"paragraphs\": [\\"#;
        format!(
            r#"{{{title}"paragraphs": [{{"context": "{context}", "qas": [{}, {}]}}]}}"#,
            qa(0),
            qa(1)
        )
    }

    fn articles(count: usize, title: &str) -> String {
        (0..count).map(|k| article(k, title)).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn parts_hold_what_the_file_holds() {
        for title in ["", r#""title": "", "#, r#""title": "{\", , ", "#] {
            for end in ["", r#", "version": "1.0""#, r#", "more": [{"paragraphs": 1}, null]"#] {
                let text = format!(r#"{{"x": [null], "data": [{}]{end}}}"#, articles(12, title));
                let expected = whole(&text).unwrap();
                assert_eq!(expected.len(), 24);
                for count in 1..9 {
                    let (found, parts) = by_parts(&text, count).unwrap();
                    assert_eq!(found, expected, "{count}");
                    // A brace in a title hides where its article begins.
                    let seen = if title.contains('{') { 1 } else { count };
                    assert_eq!(parts as u64, seen, "{title}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_list_of_articles_is_not_taken() {
        let list = articles(12, "");
        for text in [
            format!(r#"{{"data": [{}], "other": [{list}]}}"#, article(99, "")),
            format!(r#"{{"other": [{list}], "data": [{}]}}"#, article(99, "")),
            format!(r#"{{"data": [[{list}]]}}"#),
            format!(r#"{{"data": [{list}, null]}}"#),
            format!(r#"{{"data": [null, {list}]}}"#),
            format!(r#"{{"data": [{list}]"#),
            format!(r#"{{"data": [{list}]}}]}}"#),
            format!(r#"{{"data": [{list},, {list}]}}"#),
            format!(r#"{{"data": [{list}, ], [{list}]}}"#),
        ] {
            for count in 1..9 {
                match by_parts(&text, count) {
                    Some((found, _)) => assert_eq!(Some(found), whole(&text), "{count} {text}"),
                    None => assert!(count > 1 || whole(&text).is_none(), "{text}"),
                }
            }
        }
    }

    #[test]
    fn small_and_other_files_are_left_to_the_usual_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        for (text, least) in [("{}", LEAST), ("\u{feff}{}", 0), ("", 0)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(ranges_from(least, &path, 4).unwrap(), [], "{text}");
        }
    }
}
