//! `polyqa answer`.
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use crate::collection_search::{check_retriever, language_mismatch};
use crate::document::row_id;
use crate::{
    Answers, Candidate, Candidates, CollectionSearch, DEFAULT_CANDIDATES, DocumentIndex, Documents,
    PassageSearch, Query, Reader, Retrieval, Retriever, Step, TruncatedQuestion,
};
use anyhow::{Context, Result, bail, ensure};
use atomic_file::Lines;
use cli::TextOutput;
use collection::{Collection, Snapshot};
use mlqa_eval::{Compatible, Dataset, NullOdds, Predictions, write_n_best};
use serde::Deserialize;

use crate::program::index::warn_of_missing_embeddings;
use crate::program::model::{ReaderArgs, RetrieverArgs};
use crate::program::show;

/// Answer questions over documents, or over the contexts of a question file
///
/// A document is a PDF, HTML, Markdown or plain text file, or a row {"id": "…", "text": "…"} of a
/// .jsonl file, of any length. A question is a string, or a row {"id": "…", "question": "…"}. Without
/// documents, --questions must be a SQuAD-style file whose questions have contexts.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Question; may be repeated. Without --question and --questions, questions are read from
    /// standard input, one per line
    #[arg(short, long, value_name = "TEXT", help_heading = "Input")]
    question: Vec<String>,
    /// File of questions: .jsonl rows, or SQuAD-style with contexts if there are no documents
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    questions: Option<PathBuf>,
    /// Documents: PDF, HTML, Markdown, text or .jsonl files; - reads one document from standard
    /// input. Pipes are read once
    #[arg(value_name = "DOCUMENT", help_heading = "Input")]
    texts: Vec<PathBuf>,
    /// File with additional documents, one {"id": "…", "text": "…"} per line
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    documents: Vec<PathBuf>,
    /// Collection made by `polyqa index`, in place of documents; with --retriever, the collection
    /// must have the retriever's embeddings
    #[arg(long, value_name = "DIR", conflicts_with_all = ["texts", "documents", "embeddings", "compatible", "predictions", "n_best", "null_odds"], help_heading = "Input")]
    collection: Option<PathBuf>,
    #[command(flatten)]
    pub reader: ReaderArgs,
    /// Cut windows and select answers like another program
    #[arg(long, value_name = "PROGRAM", value_parser = ["run_qa"], conflicts_with = "window_score", help_heading = "Reader")]
    compatible: Option<String>,
    #[command(flatten)]
    retriever: RetrieverArgs,
    /// File of the retriever's passage embeddings, created or extended: later runs embed only new
    /// passages
    #[arg(long, value_name = "FILE", requires = "retriever", help_heading = "Retrieval")]
    embeddings: Option<PathBuf>,
    /// Number of passages that the retriever and BM25 select per question. With 0, all passages are
    /// read; without a retriever, 0 also disables the retrieval penalty on scores. Without a
    /// retriever, as many passages that seem to be in other languages than the question are read as
    /// well, and all passages if nearly all are in other languages. With --collection, N is at
    /// least 1, and no other passages are read
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CANDIDATES, help_heading = "Retrieval")]
    candidates: usize,
    /// Print one JSON line per question
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Also write the best answers by id, for `polyqa score` (question files only)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["texts", "documents"], requires = "questions", help_heading = "Output")]
    predictions: Option<PathBuf>,
    /// Also write the n best answers per question (question files only)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["texts", "documents"], requires = "questions", help_heading = "Output")]
    n_best: Option<PathBuf>,
    /// Also write null scores by id, for `polyqa score --squad2` (question files only)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["texts", "documents"], requires = "questions", help_heading = "Output")]
    null_odds: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  polyqa answer -q 'Where is Lima?' peru.pdf notes/*.md
  polyqa answer --model deepset/xlm-roberta-base-squad2 -q 'Wo liegt Lima?' --documents docs.jsonl --json
  polyqa answer --model runs/mine/model --retriever intfloat/multilingual-e5-small -q 'Wo liegt Lima?' \\
    --documents docs.jsonl
  polyqa answer --model runs/mine/model --questions dev.json --predictions predictions.json
  polyqa answer --model runs/mine/model --collection library -q 'Wo liegt Lima?'
  curl -s https://example.org/peru.txt | polyqa answer --model runs/mine/model -q Where? -

JSON lines have id, question, null_probability, no_answer, and answers, best first: text, start and
end (code points), start_byte and end_byte (UTF-8), sentence, start_in_sentence, document, page (PDF
files), probability, total_probability and places (the best places with the same text: document,
start, end, page, probability), score. Positions
are those in the text of the document (`polyqa text`). truncated_question has the number of tokens of
a question of which only the first max_tokens were read. Each line is written as a whole, so an
interrupted run leaves only complete lines.";

/// Number of questions of a file that are evaluated together. The progress bar moves after each of
/// these batches.
const QUESTIONS_PER_BATCH: usize = 64;

pub fn run(args: &Args) -> Result<()> {
    args.reader.check()?;
    // Inputs are read before the model is loaded, so that errors in inputs are reported
    // immediately.
    let is_standard_input = |path: &&PathBuf| path.as_path() == Path::new("-");
    let inputs = args.texts.iter().chain(&args.documents).chain(&args.questions);
    ensure!(
        inputs.filter(is_standard_input).count() < 2,
        "- (standard input) may be used only once"
    );
    if let Some(folder) = &args.collection {
        return answer_collection(args, folder);
    }
    let mut documents = Documents::from_files(args.texts.iter().cloned())?;
    for path in &args.documents {
        documents = documents.with_rows(path.clone())?;
    }
    if args.compatible.is_some() {
        documents = documents.without_passages();
    }
    if documents.is_empty() {
        let Some(path) = args.questions.as_deref().filter(|_| args.question.is_empty()) else {
            bail!("no documents: pass files, --documents FILE, or - for standard input");
        };
        let dataset = Dataset::read(path)?;
        let reader = load_reader(args)?;
        warn_of_truncation(&reader, dataset.questions.iter().map(|one| one.question.as_str()))?;
        return answer_contexts(args, &reader, &dataset);
    }
    let from_standard_input = args.question.is_empty() && args.questions.is_none();
    let questions = if from_standard_input { Vec::new() } else { read_questions(args)? };
    let temporary_folder = cli::TemporaryFolder::new("polyqa-answer-")?;
    let index = read_documents(&documents.with_temporary_folder(temporary_folder.path()))?;
    let reader = load_reader(args)?;
    let retriever = args.retriever.load(&reader)?;
    let retriever = retriever.as_ref();
    let index = with_ranking(args, index, retriever)?;
    let max_passages = if args.candidates == 0 { usize::MAX } else { args.candidates };
    let retrieval = Retrieval { search: &index, retriever, max_passages };
    let answer = |questions: &[Query]| -> Result<()> {
        warn_of_truncation(&reader, questions.iter().map(|query| query.text.as_str()))?;
        if retriever.is_none() && args.candidates > 0 {
            warn_of_mismatch(&index, max_passages, questions);
        }
        let passages = max_passages.min(index.passage_count());
        answer_all(args, &reader, questions, &retrieval, passages)
    };
    match from_standard_input {
        true => for_each_line(|question| answer(&[question.into()])),
        false => answer(&questions),
    }
}

/// Reads and indexes documents.
fn read_documents(documents: &Documents) -> Result<DocumentIndex> {
    let bar = cli::spinner("documents");
    let index = DocumentIndex::over_with_callback(documents, &mut |count| -> crate::Result<()> {
        if count.is_multiple_of(1000) {
            bar.set_message(format!("{count} documents"));
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(index)
}

/// Answers questions, of which each has about this number of passages, and prints the answers.
fn answer_all(
    args: &Args,
    reader: &Reader,
    questions: &[Query],
    retrieval: &Retrieval<'_>,
    passages: usize,
) -> Result<()> {
    let bar = cli::progress(questions.len().saturating_mul(passages), "passages");
    reader.answer_all(questions, retrieval, &mut |step| -> Result<()> {
        match step {
            Step::Read(count) => {
                bar.inc(count as u64);
                // Passages in other languages can be read in addition.
                bar.set_length(bar.length().unwrap_or(0).max(bar.position())); // no length yet
                Ok(())
            }
            Step::Answers(results) => {
                bar.suspend(|| results.iter().try_for_each(|answers| print(args, answers)))
            }
        }
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Answers questions over a collection.
fn answer_collection(args: &Args, folder: &Path) -> Result<()> {
    ensure!(args.candidates > 0, "--candidates must be at least 1 with --collection");
    let from_standard_input = args.question.is_empty() && args.questions.is_none();
    let questions = if from_standard_input { Vec::new() } else { read_questions(args)? };
    let collection = Collection::open(folder)?;
    let snapshot = collection.snapshot()?;
    ensure!(
        snapshot.document_count() > 0,
        "{}: the collection has no documents; add documents with `polyqa index --add`",
        folder.display()
    );
    let reader = load_reader(args)?;
    let retriever = args.retriever.load(&reader)?;
    if let Some(retriever) = &retriever {
        check_retriever(folder, &snapshot, retriever)?;
        warn_of_missing_embeddings(&collection, &snapshot)?;
    }
    let answer = |questions: &[Query], snapshot: &Snapshot| -> Result<()> {
        warn_of_truncation(&reader, questions.iter().map(|query| query.text.as_str()))?;
        let retriever = retriever.as_ref();
        let search = CheckedSearch {
            search: CollectionSearch::new(snapshot, retriever),
            has_warned: Cell::new(retriever.is_some()),
        };
        let retrieval = Retrieval { search: &search, retriever, max_passages: args.candidates };
        answer_all(args, &reader, questions, &retrieval, args.candidates)
    };
    match from_standard_input {
        true => for_each_line(|question| answer(&[question.into()], &*collection.snapshot()?)),
        false => answer(&questions, &snapshot),
    }
}

/// A search that prints one warning if the passages selected for a question seem to be in other
/// languages.
struct CheckedSearch<'a> {
    search: CollectionSearch<'a>,
    has_warned: Cell<bool>,
}

impl PassageSearch for CheckedSearch<'_> {
    fn search(
        &self,
        query: &Query,
        vector: Option<&[f32]>,
        max_passages: usize,
    ) -> crate::Result<Candidates<'_>> {
        let candidates = self.search.search(query, vector, max_passages)?;
        if self.has_warned.get() {
            return Ok(candidates);
        }
        let candidates = candidates.collect::<crate::Result<Vec<Candidate>>>()?;
        if let Some([question_language, other_language]) =
            language_mismatch(&query.text, &candidates)
        {
            self.has_warned.set(true);
            cli::print_stderr(&format!(
                "warning: the passages that share words with the question {:?} ({question_language}) are in \
                 other languages such as {other_language}; a --retriever selects passages across languages",
                query.text
            ));
        }
        Ok(Box::new(candidates.into_iter().map(Ok)))
    }
}

/// Adds the retriever's embeddings to an index. If the reader evaluates all passages and scores are
/// not adjusted, the passages are not ranked.
fn with_ranking(
    args: &Args,
    index: DocumentIndex,
    retriever: Option<&Retriever>,
) -> Result<DocumentIndex> {
    let has_penalties = retriever.is_some_and(|retriever| retriever.penalty_weight != 0.0);
    let Some(retriever) = retriever.filter(|_| args.candidates > 0 || has_penalties) else {
        return Ok(if args.candidates == 0 { index.without_ranking() } else { index });
    };
    let bar = cli::progress(index.passage_count(), "embedded passages");
    let mut progress = |count: usize| bar.set_position(count as u64);
    let n_stored = match &args.embeddings {
        Some(path) if path.exists() => retriever.load_embeddings(path)?,
        _ => 0,
    };
    let index = index.with_retriever(retriever, &mut progress)?;
    bar.finish_and_clear();
    if let Some(path) = &args.embeddings
        && retriever.cached_embeddings().len() > n_stored
    {
        retriever.save_embeddings(path)?;
    }
    Ok(index)
}

/// Prints one warning if questions are longer than the reader's maximum.
fn warn_of_truncation<'q>(reader: &Reader, questions: impl Iterator<Item = &'q str>) -> Result<()> {
    let (mut count, mut first) = (0, None);
    for question in questions {
        if let Some(truncated) = reader.truncated_question(question)? {
            count += 1;
            first.get_or_insert((question, truncated));
        }
    }
    let Some((question, TruncatedQuestion { tokens, max_tokens })) = first else { return Ok(()) };
    let beginning: String = question.chars().take(60).collect();
    let others = match count {
        1 => String::new(),
        _ => format!(", and {} other questions are longer than that", count - 1),
    };
    cli::print_stderr(&format!(
        "warning: only the first {max_tokens} of {tokens} tokens of the question {beginning:?}… are read{others}; \
         shorten it"
    ));
    Ok(())
}

/// Prints one warning if there are more passages than candidates, and passages seem to be in other
/// scripts or languages than a question. The warning reports the question for which the most
/// passages are affected.
fn warn_of_mismatch(index: &DocumentIndex, candidates: usize, questions: &[Query]) {
    let passages = index.passage_count();
    if passages <= candidates {
        return;
    }
    let mismatch = questions
        .iter()
        .find_map(|Query { text, .. }| Some((text, index.language_mismatch(text)?)));
    if let Some((question, [question_language, document_language])) = mismatch {
        cli::print_stderr(&format!(
            "warning: the question {question:?} ({question_language}) is not in the documents' language \
             ({document_language}), and BM25 compares words; all {passages} passages are read. A --retriever \
             selects passages across languages"
        ));
        return;
    }
    let others = questions
        .iter()
        .filter_map(|Query { text, .. }| Some((text, index.other_languages(text)?)));
    let unread = others.filter(|(_, others)| others.passages > candidates);
    if let Some((question, others)) = unread.max_by_key(|(_, others)| others.passages) {
        let (count, [question_language, other_language]) = (others.passages, others.names);
        cli::print_stderr(&format!(
            "warning: {count} of {passages} passages are not in the language of the question {question:?} \
             ({question_language}), but in others such as {other_language}; they are read only if they share \
             words with the question. A --retriever selects passages across languages"
        ));
    }
}

/// Calls `answer` with each question on standard input, one per line, until end of file.
fn for_each_line(answer: impl Fn(&str) -> Result<()>) -> Result<()> {
    let (input, is_terminal) = (std::io::stdin(), std::io::stdin().is_terminal());
    loop {
        if is_terminal {
            TextOutput::Stdout.print("question> ").context("cannot write to standard output")?;
        }
        let mut line = Vec::new();
        if input.lock().read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match std::str::from_utf8(&line).map(str::trim) {
            Ok("") => {}
            Ok(question) => answer(question)?,
            Err(_) => cli::print_stderr("skipped a line that is not UTF-8"),
        }
    }
}

/// Loads the reader. It is never dropped, because the process ends after the answers and freeing
/// the tokenizer would take 0.05 seconds.
fn load_reader(args: &Args) -> Result<ManuallyDrop<Reader>> {
    let compatible = args.compatible.is_some().then_some(Compatible::RunQa);
    let reader = args.reader.load(compatible)?.0;
    // Text lists distinct answers, which equal ones may precede. More answers would also change the
    // n-best lists.
    let factor = if args.json || args.n_best.is_some() { 1 } else { 4 };
    let max_answers = args.reader.answers.saturating_mul(factor);
    Ok(ManuallyDrop::new(reader.with_max_answers(max_answers)))
}

/// Answers every question of a file over its context.
fn answer_contexts(args: &Args, reader: &Reader, dataset: &Dataset) -> Result<()> {
    let bar = cli::progress(dataset.questions.len(), "questions");
    let mut n_best = Vec::new();
    let mut texts = Vec::new();
    for batch in dataset.questions.chunks(QUESTIONS_PER_BATCH) {
        for (answers, candidates) in reader.answer_in_contexts(batch)? {
            bar.suspend(|| print(args, &answers))?;
            bar.inc(1);
            // In a file of predictions, an empty text means "no answer". The thresholds that were
            // fitted on mismatched pairs do not apply, so that scores are comparable.
            let best = answers.answers.first().filter(|_| !reader.is_null(&candidates));
            let best_text = best.map_or_else(String::new, |best| best.text.clone());
            texts.push((candidates.id.clone(), best_text));
            n_best.push(candidates);
        }
    }
    bar.finish_and_clear();
    if let Some(path) = &args.predictions {
        Predictions(texts.into_iter().collect()).write(path)?;
    }
    if let Some(path) = &args.n_best {
        write_n_best(path, &n_best)?;
    }
    if let Some(path) = &args.null_odds {
        NullOdds::of(&n_best).write(path)?;
    }
    Ok(())
}

impl Args {
    /// Returns the destination of answers, next to the output files.
    fn text_output(&self) -> TextOutput {
        let files = [&self.predictions, &self.n_best, &self.null_odds];
        TextOutput::next_to(files.into_iter().flatten())
    }
}

/// Prints a question's answers and flushes standard output.
fn print(args: &Args, answers: &Answers) -> Result<()> {
    let no_answers = match args.collection {
        Some(_) => show::NO_COMMON_WORDS,
        None => show::NO_WORDS,
    };
    let text = match args.json {
        true => serde_json::to_string(answers)? + "\n",
        false => show::format_answers(answers, no_answers, args.reader.answers),
    };
    args.text_output().print(&text).context("cannot write to standard output")
}

/// A row of the file --questions.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    id: Option<serde_json::Value>,
    question: String,
}

/// Returns the questions of the command line and of the file, with their ids. Ids in the file must
/// be unique.
fn read_questions(args: &Args) -> Result<Vec<Query>> {
    let mut questions: Vec<Query> = args.question.iter().map(|text| text.trim().into()).collect();
    if let Some(path) = &args.questions {
        questions.extend(read_rows(path)?);
    }
    ensure!(questions.iter().all(|query| !query.text.is_empty()), "a question is empty");
    ensure!(!questions.is_empty(), "no questions: pass --question TEXT or --questions FILE");
    Ok(questions)
}

fn read_rows(path: &Path) -> Result<Vec<Query>> {
    let mut lines = Lines::open(path)?;
    let (mut questions, mut ids) = (Vec::new(), BTreeSet::new());
    while lines.advance()? {
        if lines.bytes().trim_ascii().is_empty() {
            continue;
        }
        let location = || format!("{}: line {}", path.display(), lines.number());
        let row: Row = serde_json::from_slice(lines.bytes()).with_context(|| {
            format!("{}: expected {{\"id\": \"…\", \"question\": \"…\"}} on each line", location())
        })?;
        let id = row_id(row.id);
        if let Some(id) = &id {
            ensure!(ids.insert(id.clone()), "{}: duplicate id {id:?}", location());
        }
        let text = row.question.trim().to_owned();
        ensure!(!text.is_empty(), "{}: the question is empty", location());
        questions.push(Query { id, text });
    }
    Ok(questions)
}
