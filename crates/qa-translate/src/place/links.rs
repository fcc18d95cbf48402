//! Placement of spans by word alignments in files.
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use mlqa_eval::Dataset;

use super::units::word_ranges;
use crate::project::{ProjectionConfig, project_links};
use crate::{Error, PlaceError, PlaceSpans, Placed, SpanTask};

/// Texts and their translations, to be aligned by a program such as eflomal, fast_align or
/// awesome-align.
///
/// ```
/// use mlqa_eval::Dataset;
/// use qa_translate::ParallelTexts;
///
/// let english = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let german = Dataset::read("../../data/xquad/xquad.de.json")?;
/// let texts = ParallelTexts::of(&english, &german);
/// // 240 passages and 1,187 distinct questions.
/// assert_eq!(texts.len(), 1427);
/// assert!(texts.to_lines().starts_with("The Panthers defense gave up just 308 points , "));
/// # Ok::<(), qa_translate::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParallelTexts {
    pairs: Vec<(String, String)>,
}

impl ParallelTexts {
    /// Returns the distinct pairs of passages of questions with equal ids, in order, and then the
    /// distinct pairs of questions. Pairs with a blank text are skipped.
    pub fn of(source: &Dataset, target: &Dataset) -> Self {
        let by_id: HashMap<&str, _> =
            target.questions.iter().map(|question| (question.id.as_str(), question)).collect();
        let questions = source.questions.iter();
        let paired: Vec<_> = questions
            .filter_map(|question| Some((question, *by_id.get(question.id.as_str())?)))
            .collect();
        let passages = paired.iter().map(|(a, b)| (&*a.context, &*b.context));
        let questions = paired.iter().map(|(a, b)| (a.question.as_str(), b.question.as_str()));
        let mut seen = std::collections::HashSet::new();
        let pairs = passages
            .chain(questions)
            .filter(|(a, b)| !a.trim().is_empty() && !b.trim().is_empty())
            .filter(|pair| seen.insert(*pair))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        Self { pairs }
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Returns whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns one line per pair: the words of the source ([`word_ranges`](crate::word_ranges())),
    /// `|||` and the words of the translation, separated by spaces.
    pub fn to_lines(&self) -> String {
        let mut lines = String::new();
        for (source, target) in &self.pairs {
            lines.push_str(&words(source).join(" "));
            lines.push_str(" ||| ");
            lines.push_str(&words(target).join(" "));
            lines.push('\n');
        }
        lines
    }

    /// Reads a file with one line per pair, in order: links `i-j` of word i of the source and word j
    /// of the translation, from 0, separated by white space.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Alignment`] with the line of an invalid link, and for another number
    /// of lines than pairs.
    pub fn read_alignments(&self, path: impl AsRef<Path>) -> Result<ByLinks, Error> {
        let path = path.as_ref();
        let text = atomic_file::read_to_string(path)?;
        let error = |line: usize, expected: String, got: String| Error::Alignment {
            path: path.to_owned(),
            line,
            expected,
            got,
        };
        let mut links = LinksByTexts::with_capacity(self.pairs.len());
        let lines: Vec<&str> = text.lines().collect();
        for (index, ((source, target), line)) in self.pairs.iter().zip(&lines).enumerate() {
            let (rows, columns) = (word_ranges(source).len(), word_ranges(target).len());
            let parse = |link: &str| {
                let (i, j) = link.split_once('-')?;
                let (i, j) = (i.parse().ok()?, j.parse().ok()?);
                (i < rows && j < columns).then_some((i, j))
            };
            let mut line_links: Vec<(usize, usize)> = Vec::new();
            for link in line.split_whitespace() {
                line_links.push(parse(link).ok_or_else(|| {
                    let expected = format!(
                        "links i-j with i below {rows} and j below {columns}, the numbers of words"
                    );
                    error(index + 1, expected, format!("{link:?}"))
                })?);
            }
            links.insert((source.clone(), target.clone()), line_links);
        }
        match lines.len() == self.pairs.len() {
            true => Ok(ByLinks { links: Arc::new(links), config: ProjectionConfig::default() }),
            false => {
                let expected = format!("{} lines, one per pair of texts", self.pairs.len());
                Err(error(
                    lines.len().min(self.pairs.len()) + 1,
                    expected,
                    format!("{} lines", lines.len()),
                ))
            }
        }
    }
}

/// Returns the words of a text.
fn words(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    word_ranges(text).into_iter().map(|range| characters[range].iter().collect()).collect()
}

/// Links of words by text and translation.
type LinksByTexts = HashMap<(String, String), Vec<(usize, usize)>>;

/// Places spans by the word alignment of passage and translation ([`project_links`]). All links of a
/// word are used. A text without an alignment is an error.
#[derive(Clone, Debug)]
pub struct ByLinks {
    links: Arc<LinksByTexts>,
    /// Projection options; [`ProjectionConfig::min_similarity`] is ignored.
    pub config: ProjectionConfig,
}

impl ByLinks {
    fn place_span(&self, task: &SpanTask, links: &[(usize, usize)]) -> Option<Range<usize>> {
        let source_words = word_ranges(&task.source);
        let overlaps =
            |word: &Range<usize>| word.start < task.span.end && task.span.start < word.end;
        let first = source_words.iter().position(overlaps)?;
        let last = source_words.iter().rposition(overlaps)?;
        let range = project_links(links, first..last + 1, self.config.max_gap)?;
        let target_words = word_ranges(&task.target);
        Some(target_words[range.start].start..target_words[range.end - 1].end)
    }
}

impl PlaceSpans for ByLinks {
    fn name(&self) -> &'static str {
        "alignment file"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
        let place_task = |task: &SpanTask| {
            task.text()?;
            let key = (task.source.clone(), task.target.clone());
            let links = self.links.get(&key).ok_or_else(|| Error::Projection {
                name: "links",
                expected: "an alignment of each text".into(),
                got: format!("none of {:?}", task.source.chars().take(80).collect::<String>()),
            })?;
            let span = self
                .place_span(task, links)
                .filter(|span| super::slice(&task.target, span).is_some());
            let placed =
                |span| Placed { span, score: 1.0, method: self.name(), runners_up: Vec::new() };
            Ok(span.map(placed).ok_or(PlaceError::NotFound))
        };
        tasks.iter().map(place_task).collect()
    }
}
