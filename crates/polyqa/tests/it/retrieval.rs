//! Tests of the first stage of retrieval: BM25, the retriever and both together.
use std::fmt::Write;

use polyqa::{Document, DocumentIndex, Documents, Ranking, Retriever};
use serde_json::Value;
use tch::Device;
use testkit::{Program, RunOutput};
use torch_ext::Precision;
use xlmr_model::Head;

use crate::common::{copy_model, polyqa, random_encoder, run_with_input, write_model, xquad};

fn articles(language: &str, count: usize) -> (Vec<Document>, Vec<String>) {
    let mut questions = xquad(language);
    questions.dedup_by(|question, previous| question.context == previous.context);
    questions.truncate(count);
    let document = |(index, text)| Document { id: format!("{index}").into(), text };
    let texts = questions.iter().map(|question| question.context.clone());
    (
        texts.enumerate().map(document).collect(),
        questions.into_iter().map(|qa| qa.question).collect(),
    )
}

fn embedded(documents: &[Document], retriever: &Retriever) -> DocumentIndex {
    let index = DocumentIndex::over(&documents.to_vec().into()).unwrap();
    index.with_retriever(retriever, &mut |_| {}).unwrap()
}

fn dense_rank(
    documents: &[Document],
    retriever: &Retriever,
    questions: &[&str],
) -> Vec<Vec<usize>> {
    embedded(documents, retriever).rank(questions, Ranking::Dense(retriever)).unwrap()
}

#[test]
fn added_documents_and_threads_do_not_change_the_order() {
    let folder = random_encoder();
    let (documents, questions) = articles("en", 30);
    let (other_documents, _) = articles("zh", 30);
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let load = || Retriever::load(folder.path(), Device::Cpu, Precision::F32).unwrap();
    let dense_rank = |documents: &[Document]| dense_rank(documents, &load(), &questions);
    let threads = tch::get_num_threads();
    tch::set_num_threads(1);
    let expected_order = dense_rank(&documents);
    tch::set_num_threads(3);
    assert_eq!(dense_rank(&documents), expected_order);
    tch::set_num_threads(threads);
    assert!(expected_order.iter().all(|ranked| ranked.len() == documents.len()));

    // The documents are mixed with other documents before, between and after them.
    let mut mixed = other_documents[..10].to_vec();
    for (document, other) in documents.iter().zip(&other_documents) {
        mixed.extend([document.clone(), other.clone()]);
    }
    for (ranked, expected_order) in dense_rank(&mixed).iter().zip(&expected_order) {
        let original = ranked.iter().filter(|&&k| k >= 10 && k % 2 == 0).map(|&k| (k - 10) / 2);
        assert_eq!(original.collect::<Vec<_>>(), *expected_order);
    }
}

#[test]
fn embeddings_are_cached_by_content() {
    let folder = random_encoder();
    let retriever = Retriever::load(folder.path(), Device::Cpu, Precision::F32).unwrap();
    let (mut documents, questions) = articles("de", 4);
    documents.push(Document { id: "copy".into(), ..documents[1].clone() });
    documents.push(Document { id: "empty".into(), text: " \n".into() });
    let question = questions[0].as_str();
    let rankings = dense_rank(&documents, &retriever, &[question, question]);
    assert_eq!(rankings[0], rankings[1]);
    // Equal documents are ranked by their index, and a blank document is omitted.
    let index = rankings[0].iter().position(|&k| k == 1).unwrap();
    assert_eq!((rankings[0].get(index + 1), rankings[0].len()), (Some(&4), 5));
    assert_eq!(dense_rank(&documents, &retriever, &[question])[0], rankings[0]);
    let hybrid = embedded(&documents, &retriever)
        .rank(&[question, "…"], Ranking::Hybrid(&retriever))
        .unwrap();
    assert_eq!(hybrid[0].len(), 5);
    assert_eq!(hybrid[1], dense_rank(&documents, &retriever, &["…"])[0]);
}

#[test]
fn stored_embeddings_are_reused_and_another_encoder_is_rejected() {
    let folder = random_encoder();
    let path = folder.path().join("embeddings.safetensors");
    let load = || Retriever::load(folder.path(), Device::Cpu, Precision::F32).unwrap();
    let (documents, questions) = articles("de", 4);
    let question = [questions[0].as_str()];
    let retriever = load();
    let expected = dense_rank(&documents, &retriever, &question);
    retriever.save_embeddings(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let new_retriever = load();
    // The file contains the embeddings of four paragraphs and of the question.
    assert_eq!(new_retriever.load_embeddings(&path).unwrap(), 5);
    assert_eq!(dense_rank(&documents, &new_retriever, &question), expected);
    new_retriever.save_embeddings(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);

    let load_error = |retriever: &Retriever| {
        let error = retriever.load_embeddings(&path).unwrap_err().to_string();
        assert!(error.contains("embeddings.safetensors"), "{error}");
        error
    };
    let with_prefix = load().with_prefixes(None, Some("passage: ".into()));
    assert!(load_error(&with_prefix).contains("\"passage_prefix\":\"passage: \""));
    let weights = folder.path().join("model.safetensors");
    let mut tensors = torch_ext::read_tensors(&weights).unwrap();
    let norm = |name: &&String| name.ends_with("embeddings.LayerNorm.weight");
    let name = tensors.keys().find(norm).unwrap().clone();
    let weight = tensors[&name].ones_like().cumsum(0, tch::Kind::Float);
    tensors.insert(name, weight);
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    torch_ext::write_tensors(&weights, tensors, &[("format", "pt")]).unwrap();
    assert!(load_error(&load()).contains("another encoder"));
    std::fs::copy(&weights, &path).unwrap();
    assert!(load_error(&load()).contains("not a file of embeddings"));
}

#[test]
fn the_program_extends_a_file_of_embeddings() {
    let program = program_with_encoder();
    let line = "answer --model model --json --retriever encoder --candidates 3 -q Wo?";
    let expected = program.expect_success(&format!("{line} --documents documents.jsonl")).out;
    program.write("few.jsonl", document_rows(5, 20));
    let with_file = |documents: &str| {
        let output =
            program.expect_success(&format!("{line} --documents {documents} --embeddings stored"));
        (output.out, program.read_bytes("stored"))
    };
    let (_, few_stored) = with_file("few.jsonl");
    let (first, stored) = with_file("documents.jsonl");
    let (second, unchanged) = with_file("documents.jsonl");
    assert_eq!((&first, &second), (&expected, &expected));
    assert!(few_stored.len() < stored.len());
    assert_eq!(stored, unchanged);
}

/// Returns the program with a sentence encoder in the folder `encoder`, and 60 documents. One
/// document has the words of the question.
fn program_with_encoder() -> Program {
    let program = polyqa();
    write_model(&program.path_of("encoder"), Head::MaskedLm);
    program.write("documents.jsonl", document_rows(60, 20));
    program
}

fn document_rows(count: usize, sentences: usize) -> String {
    let mut rows = String::new();
    for index in 0..count {
        let text = match index {
            37 => "Lima liegt in Peru.".to_owned(),
            _ => format!("The town number {index} is on the coast of the sea. ").repeat(sentences),
        };
        writeln!(rows, "{}", serde_json::json!({"id": index.to_string(), "text": text})).unwrap();
    }
    rows
}

/// Runs a command line with further arguments, which may contain spaces.
fn run(program: &Program, line: &str, arguments: &[&str]) -> RunOutput {
    let output = testkit::run_command(program.command(line).args(arguments));
    assert_eq!(output.code, Some(0), "{}", output.err);
    output
}

fn answer_documents(line: &str) -> Vec<String> {
    let answers: Value = serde_json::from_str(line).unwrap();
    let answers = answers["answers"].as_array().unwrap();
    answers.iter().map(|answer| answer["document"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_program_selects_documents_with_both_rankings() {
    let program = program_with_encoder();
    let line = "answer --model model --json -n 60 --documents documents.jsonl";
    let run =
        |options: &str| run(&program, &format!("{line} {options}"), &["-q", "Wo liegt Lima?"]);
    // BM25 finds one document; the other documents have no word in common with the question.
    let bm25 = run("");
    assert!(answer_documents(&bm25.out).iter().all(|id| id == "37"), "{}", bm25.out);
    let hybrid = run("--retriever encoder --candidates 3");
    let mut selected = answer_documents(&hybrid.out);
    selected.sort();
    selected.dedup();
    assert!(selected.len() == 3 && selected.contains(&"37".to_owned()), "{selected:?}");
    assert!(!hybrid.err.contains("warning"), "{}", hybrid.err);

    // For a question on standard input, the same passages are selected as for a question in an
    // option.
    let line = format!("{line} --retriever encoder --candidates 3");
    assert_eq!(run_with_input(&program, &line, b"Wo liegt Lima?\n").out, hybrid.out);
}

#[test]
fn questions_in_another_language_cause_one_warning() {
    let program = program_with_encoder();
    let line = "answer --model model --documents documents.jsonl -q";
    let warnings_of = |options: &[&str]| run(&program, line, options).err;
    for (question, names) in
        [("利马在哪里？", "(Chinese)"), ("Was ist die Stadt an der See?", "(de)")]
    {
        let stderr = warnings_of(&[question, "-q", "Где Лима?"]);
        assert_eq!(stderr.matches("warning:").count(), 1, "{stderr}");
        assert!(stderr.contains(names) && stderr.contains("--retriever"), "{stderr}");
    }
    for options in [
        vec!["What is on the coast of the sea?"],
        vec!["利马在哪里？", "--candidates", "0"],
        vec!["利马在哪里？", "--retriever", "encoder"],
    ] {
        let stderr = warnings_of(&options);
        assert!(!stderr.contains("warning"), "{stderr}");
    }
}

#[test]
fn an_invalid_retriever_is_reported_with_its_file() {
    let program = program_with_encoder();
    copy_model(&program, "encoder", "cut");
    program.write("cut/config_sentence_transformers.json", "{");
    let line = "answer --model model -q Wo? --documents documents.jsonl";
    program.expect_only_errors(&[
        (&format!("{line} --retriever cut"), &["cut/config_sentence_transformers.json"]),
        (&format!("{line} --retriever nowhere"), &["nowhere"]),
        (&format!("{line} --query-prefix query:"), &["--retriever"]),
    ]);
}

#[test]
fn memory_is_bounded_for_10_000_documents() {
    let program = program_with_encoder();
    let line = "answer --model model --retriever encoder -q Where? --candidates 1 --documents";
    let [small, large] = [1_000, 10_000].map(|count| {
        program.write("many.jsonl", document_rows(count, 1));
        let mut command = program.command(&format!("{line} many.jsonl"));
        testkit::process::run_measured(&mut command, &program.path_of("out")).unwrap().peak_mib
    });
    // Each document requires 512 B for its embedding and about 1 kB for word counts and ranking.
    assert!(large < small + 40.0, "{small} MiB, {large} MiB");
}

#[test]
fn offsets_include_a_byte_order_mark() {
    let program = polyqa();
    let text = "Lima liegt in Peru. 利马";
    program.write("plain.txt", text);
    program.write("marked.txt", format!("\u{feff}{text}"));
    let run = |file: &str| -> Value {
        let line = format!("answer --model model -n 9 --json -q Wo? {file}");
        serde_json::from_str(&program.expect_success(&line).out).unwrap()
    };
    let (mut plain, marked) = (run("plain.txt"), run("marked.txt"));
    // The answers have the same text; only offsets and the document's name differ.
    for answer in plain["answers"].as_array_mut().unwrap() {
        for (key, mark_length) in [("start", 1), ("end", 1), ("start_byte", 3), ("end_byte", 3)] {
            answer[key] = (answer[key].as_u64().unwrap() + mark_length).into();
        }
        answer["document"] = "marked.txt".into();
        for place in answer["places"].as_array_mut().unwrap() {
            for key in ["start", "end"] {
                place[key] = (place[key].as_u64().unwrap() + 1).into();
            }
            place["document"] = "marked.txt".into();
        }
    }
    assert_eq!(plain, marked);
}

/// Returns the rank of a document with a sentence among 60 other documents, `None` if it shares no
/// word with the question.
fn rank_of(sentence: &str, question: &str) -> Option<usize> {
    let filler = "The train of the station leaves at noon and the bus in the evening.";
    let text = |index: usize| {
        if index == 30 { sentence.to_owned() } else { format!("{filler} ({index})") }
    };
    let document = |index| Document { id: format!("{index}").into(), text: text(index).into() };
    let documents: Documents = (0..61).map(document).collect::<Vec<_>>().into();
    let index = DocumentIndex::over(&documents).unwrap();
    index.rank(&[question], Ranking::Bm25).unwrap()[0].iter().position(|&index| index == 30)
}

#[test]
fn words_are_found_in_other_spellings() {
    for (word, spelling) in [
        ("Gütersloho", "Gu\u{308}tersloho"),
        ("Thạch", "Tha\u{323}ch"),
        ("O'Briandale", "O’Briandale"),
        ("Brandvoort", "Brandvoort’s"),
        ("fluffig", "ﬂuﬀig"),
        ("Steinfeldo", "Stein\u{AD}feldo"),
        ("Steinfeldo", "Stein-\nfeldo"),
        ("Steinfeldo", "Stein\u{200B}feldo"),
        ("Hafenstraße", "HAFENSTRASSE"),
        ("قرطاجنة", "قَرْطَاجَنَّة"),
        ("قرطاجنة", "قرطاجنــة"),
        ("أسامة", "اسامة"),
        ("القنطرة", "والقنطرة"),
        ("क़लम", "\u{958}लम"),
        ("कलम", "क़लम"),
        ("श्री", "श्\u{200D}री"),
        ("KX71", "ＫＸ７１"),
        ("1871", "१८७१"),
        ("batch", "max_batch_size"),
    ] {
        for (asked, written) in [(word, spelling), (spelling, word)] {
            let rank = rank_of(&format!("Zur Mühle gehört {written} ."), &format!("{asked}?"));
            assert_eq!(rank, Some(0), "{written:?} for {asked:?}");
        }
    }
    for (asked, written) in
        [("monte", "mondo"), ("Stürme", "Stämme"), ("มา", "ม้า"), ("कल", "क्ल"), ("fired", "firms")]
    {
        assert_eq!(
            rank_of(&format!("Zur Mühle: {written} ."), asked),
            None,
            "{written} for {asked}"
        );
    }
}
