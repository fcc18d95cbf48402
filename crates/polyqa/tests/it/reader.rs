//! Tests of the reader as a library.
use mlqa_eval::{Compatible, DecodeConfig, Predictions};
use polyqa::{Answer, Answers, Document, DocumentIndex, Query, Reader, Result, Retrieval, Step};
use proptest::prelude::*;
use tasks::question_answering::QaPredictor;
use tch::Device;
use torch_ext::Precision;
use xlmr_model::{Head, Pretrained};

use crate::common::{random_reader, xquad};

fn reader() -> Reader {
    Reader::load(random_reader().path(), Device::Cpu, Precision::F32).unwrap()
}

fn answer_all(
    reader: &Reader,
    questions: &[Query],
    index: &DocumentIndex,
    max_passages: usize,
) -> Vec<Answers> {
    let (mut results, mut count) = (Vec::new(), 0);
    let retrieval = Retrieval { max_passages, ..Retrieval::by_words(index) };
    let mut on_step = |step: Step| -> Result<()> {
        match step {
            Step::Read(passages) => count += passages,
            Step::Answers(answers) => results.extend(answers),
        }
        Ok(())
    };
    reader.answer_all(questions, &retrieval, &mut on_step).unwrap();
    assert_eq!(count, questions.len() * max_passages.min(index.passage_count()));
    results
}

fn document(id: &str, text: &str) -> Document {
    Document { id: id.into(), text: text.into() }
}

/// Returns the documents and offsets of answers.
fn document_offsets(answers: &[Answer]) -> Vec<(String, usize, usize)> {
    answers.iter().map(|answer| (answer.document.to_string(), answer.start, answer.end)).collect()
}

fn check_offsets(text: &str, answers: &[Answer]) {
    let characters: Vec<char> = text.chars().collect();
    for answer in answers {
        let by_code_points: String = characters[answer.start..answer.end].iter().collect();
        assert_eq!(by_code_points, answer.text);
        assert_eq!(&text[answer.start_byte..answer.end_byte], answer.text);
        let sentence: Vec<char> = answer.sentence.chars().collect();
        let length = answer.end - answer.start;
        let in_sentence: String = sentence[answer.start_in_sentence..][..length].iter().collect();
        assert_eq!(in_sentence, answer.text);
        assert!(text.contains(&answer.sentence) && answer.probability <= 1.0);
    }
    for (k, answer) in answers.iter().enumerate() {
        for better in &answers[..k] {
            assert!(answer.end <= better.start || better.end <= answer.start);
            assert!(answer.probability <= better.probability);
        }
    }
}

#[test]
fn answer_offsets_are_correct_in_every_language() {
    let reader = reader();
    for language in ["en", "de", "es", "ar", "hi", "vi", "zh"] {
        let question = &xquad(language)[0];
        // A window has at most 128 tokens, so each document has several windows.
        let text = question.context.replace(". ", ".\r\n");
        let text = format!("👩‍🚀 e\u{301}\u{323} {text} 🇵🇪\n");
        let result = reader.answer(&question.question, vec![document("d", &text)]).unwrap();
        assert_eq!(result.answers.len(), 5, "{language}");
        check_offsets(&text, &result.answers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn answer_offsets_are_correct_in_any_text(text in "[a-zé́🇵🇪日ह्न ا.\\r\\n\\u{0}-\\u{2ff}]{0,200}") {
        check_offsets(&text, &reader().answer("Where?", vec![document("d", &text)]).unwrap().answers);
    }
}

#[test]
fn joint_and_separate_reading_give_equal_answers() {
    let reader = reader().with_batch_size(7).with_max_answers(4);
    let mut questions = xquad("en");
    questions.truncate(60);
    questions.dedup_by(|question, previous| question.context == previous.context);
    let documents: Vec<Document> =
        questions.iter().map(|qa| document(&qa.id, &qa.context)).collect();
    // The passages are not ranked, because penalties depend on all documents.
    let question = Query::from("Where is it?");
    let answer = |documents: Vec<Document>| {
        let index = DocumentIndex::over(&documents.into()).unwrap().without_ranking();
        let questions = std::slice::from_ref(&question);
        answer_all(&reader, questions, &index, usize::MAX).remove(0).answers
    };
    let mut separate_answers: Vec<Answer> =
        documents.iter().flat_map(|document| answer(vec![document.clone()])).collect();
    separate_answers.sort_by(|a, b| b.score.total_cmp(&a.score));
    separate_answers.truncate(4);
    assert_eq!(document_offsets(&answer(documents.clone())), document_offsets(&separate_answers));

    // Two questions; the words of the second question occur in only one document.
    let name: String = documents[3].text.chars().take(60).collect();
    let index = DocumentIndex::over(&documents.clone().into()).unwrap();
    let two_questions = [question.clone(), Query { id: Some("b".to_owned()), text: name }];
    let results = answer_all(&reader, &two_questions, &index, 1);
    assert_eq!(results.len(), 2);
    assert_eq!(results[1].id.as_deref(), Some("b"));
    assert!(results[1].answers.iter().all(|answer| answer.document == documents[3].id));
}

#[test]
fn compatible_answers_equal_the_predictors_answers() {
    let folder = random_reader();
    let decoding = DecodeConfig { compatible: Some(Compatible::RunQa), ..DecodeConfig::default() };
    let mut reader = Reader::load(folder.path(), Device::Cpu, Precision::F32).unwrap();
    let windows =
        mlqa_eval::WindowConfig { compatible: Some(Compatible::RunQa), ..reader.windows().clone() };
    reader = reader.with_windows(windows.clone()).unwrap().with_decoding(decoding.clone()).unwrap();
    let questions = &xquad("zh")[..20];
    let trained =
        Pretrained::load_trained(folder.path(), Head::Span, Device::Cpu, Precision::F32).unwrap();
    let predictor =
        QaPredictor::new(&trained.model, &trained.tokenizer, &windows).with_decoding(&decoding);
    let expected = Predictions::from(predictor.predict(questions).unwrap().as_slice());
    for (answers, _) in reader.answer_in_contexts(questions).unwrap() {
        let id = answers.id.as_deref().unwrap();
        assert_eq!(Some(answers.answers[0].text.as_str()), expected.get(id));
    }
}

#[test]
fn empty_documents_have_no_answer() {
    let reader = reader();
    for documents in [vec![], vec![document("d", "")], vec![document("d", " \n")]] {
        let result = reader.answer("Where?", documents).unwrap();
        assert!(result.answers.is_empty() && result.no_answer);
    }
    // With a very low threshold, the result is "no answer", regardless of the scores of the
    // answers.
    let with_threshold = reader.with_null_threshold(Some(-1e9));
    let result = with_threshold.answer("Where?", vec![document("d", "It is here.")]).unwrap();
    assert!(!result.answers.is_empty() && result.no_answer);
}

#[test]
fn a_lower_maximum_of_answers_returns_the_first_answers() {
    let load = |max_answers| reader().with_max_answers(max_answers);
    let questions = xquad("en");
    let documents: Vec<Document> = questions
        .iter()
        .step_by(60)
        .map(|question| document(&question.id, &question.context))
        .collect();
    let of_200 = load(200).answer(&questions[0].question, documents.clone()).unwrap();
    assert!(of_200.answers.len() > 60, "{}", of_200.answers.len());
    for count in [1, 3, 5, 20, 60] {
        let of_few = load(count).answer(&questions[0].question, documents.clone()).unwrap();
        assert_eq!(of_few.answers, of_200.answers[..count]);
        assert_eq!(of_few.null_probability, of_200.null_probability);
    }
    // The same holds for answers in contexts, where candidates are limited.
    let in_context = |count| load(count).answer_in_contexts(&questions[..1]).unwrap().remove(0);
    let ((of_many, many), (of_few, few)) = (in_context(30), in_context(3));
    assert_eq!(of_few.answers, of_many.answers[..3]);
    assert_eq!((few.candidates.len(), many.candidates.len()), (20, 30));
    let total: f64 = few.candidates.iter().map(|candidate| candidate.probability).sum();
    assert!((total - 1.0).abs() < 1e-9);
}

#[test]
fn a_long_question_is_read_up_to_half_a_window() {
    let reader = reader();
    let limit = reader.windows().max_question_length;
    assert_eq!(limit, reader.windows().max_length / 2);
    let question = |words: usize| format!("{}Where is Lima?", "word ".repeat(words));
    assert_eq!(reader.truncated_question(&question(3)).unwrap(), None);
    let truncated = reader.truncated_question(&question(200)).unwrap().unwrap();
    assert!(truncated.max_tokens == limit && truncated.tokens > 200, "{truncated:?}");
    let answers = reader.answer(&question(200), vec![document("d", "Lima is in Peru.")]).unwrap();
    assert_eq!(answers.truncated_question, Some(truncated));
    let answers = reader.answer(&question(3), vec![document("d", "Lima is in Peru.")]).unwrap();
    assert!(!serde_json::to_string(&answers).unwrap().contains("truncated"));
}
