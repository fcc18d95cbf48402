//! Sentences that hold an answer.
use crate::common::question;
use mlqa_eval::Dataset;
use qa_translate::{EvidencePlace, sentences};
use testkit::Program;

#[test]
fn each_place_of_a_translated_passage() {
    let source = question("a", "Who?", "First it was quiet. Then Ada came. It rained. End.", "Ada");
    let target = question("a", "Wer?", "Erst Ruhe. Dann kam Ada. Regen. Ende. Ada?", "Regen");
    let find = |place: EvidencePlace, target: &mlqa_eval::Question| {
        let span = place.find(&source, target, 1)?;
        Some(target.context.chars().skip(span.start).take(span.len()).collect::<String>())
    };
    assert_eq!(find(EvidencePlace::Gold, &target).as_deref(), Some("Regen."));
    assert_eq!(find(EvidencePlace::Search, &target).as_deref(), Some("Dann kam Ada."));
    // The second of four is the second of five, of two the first, of one the only one.
    assert_eq!(find(EvidencePlace::Order, &target).as_deref(), Some("Dann kam Ada."));
    let of = |text: &str| question("a", "Wer?", text, text.split(' ').next().unwrap());
    assert_eq!(find(EvidencePlace::Order, &of("Eins. Zwei.")).as_deref(), Some("Eins."));
    assert_eq!(find(EvidencePlace::Order, &of("Eins.")).as_deref(), Some("Eins."));
    assert_eq!(find(EvidencePlace::Search, &of("Eins. Zwei.")), None);
    assert_eq!(find(EvidencePlace::SearchOrOrder, &of("Eins. Zwei.")).as_deref(), Some("Eins."));
    let both = find(EvidencePlace::SearchOrOrder, &of("Eins. Zwei. Drei. Nur Ada."));
    assert_eq!(both.as_deref(), Some("Nur Ada."));
    // Random places spread over all sentences, and are the same for a seed.
    let ids = (0..200).map(|k| {
        let target = mlqa_eval::Question { id: k.to_string(), ..target.clone() };
        let place = EvidencePlace::Random.find(&source, &target, 7);
        assert_eq!(place, EvidencePlace::Random.find(&source, &target, 7));
        place.unwrap().start
    });
    let mut starts: Vec<usize> = ids.collect();
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), 5);
}

#[test]
fn xquad_has_a_sentence_for_each_answer_in_each_language() {
    for language in ["ar", "de", "en", "es", "hi", "vi", "zh"] {
        let path = format!("{}/../../data/xquad/xquad.{language}.json", env!("CARGO_MANIFEST_DIR"));
        let data = Dataset::read(path).unwrap();
        let (mut several, mut shorter, mut whole) = (0, 0, 0);
        for one in &data.questions {
            let all = sentences(&one.context);
            several += usize::from(all.len() > 1);
            let span = EvidencePlace::Gold.find(one, one, 0).unwrap();
            assert!(all.contains(&span), "{}", one.id);
            let answer = &one.answers[0];
            assert!((span.start..span.end).contains(&answer.answer_start), "{}", one.id);
            shorter += usize::from(span.len() < one.context.chars().count());
            let marked = EvidencePlace::Gold.mark(one, one, 0).unwrap();
            assert_eq!(marked.answers.len(), 1);
            // A full stop within an answer, as of an abbreviation, is taken for a sentence's.
            whole += usize::from(marked.answers[0].text.contains(&answer.text));
            marked.check_answers("xquad".as_ref()).unwrap();
        }
        // Divided at all: Hindi's danda and Chinese stops, too.
        assert!(several > 1100 && shorter > 1100, "{language}: {several}, {shorter}");
        assert!(whole > 1150, "{language}: {whole} of {}", data.questions.len());
    }
}

#[test]
fn the_program_writes_what_a_tagger_learns_and_is_tested_on() {
    let program = Program::new(env!("CARGO_BIN_EXE_qa-translate"));
    let write = |split: &str, language: &str, rows: Vec<mlqa_eval::Question>| {
        let name = format!("in/{split}-context-{language}-question-{language}.json");
        crate::common::dataset(rows).write(program.at(&name)).unwrap();
    };
    std::fs::create_dir(program.at("in")).unwrap();
    let english =
        || vec![question("a", "Who?", "No. Ada did.", "Ada"), question("b", "x", "y z", "y")];
    let german = || vec![question("a", "Wer?", "Nein. Ada\u{a0}war es.", "Nein")];
    write("train", "en", english());
    write("train", "de", german());
    write("test", "de", german());
    let said = program.done("evidence --questions in --to de --place search --out found").out;
    let [train_en, train_de, test_de] = [("train", "en"), ("train", "de"), ("test", "de")]
        .map(|(split, code)| format!("{split}-context-{code}-question-{code}.json"));
    let lines = [(&train_en, 2, 2), (&train_de, 1, 2)]
        .map(|(name, found, of)| format!("{name}: {found} of {of} questions\n"));
    assert_eq!(said, lines.concat() + "test: 1 files\n");
    let answers = |name: &str| -> Vec<String> {
        let data = Dataset::read(program.at(name)).unwrap();
        data.questions.iter().map(|one| one.answers[0].text.clone()).collect()
    };
    assert_eq!(answers(&format!("found/{train_en}")), ["Ada did.", "y z"]);
    assert_eq!(answers(&format!("found/{train_de}")), ["Ada\u{a0}war es."]);
    // Tests have what stands in the data, in every pair of languages.
    assert_eq!(answers(&format!("found/{test_de}")), ["Nein."]);
    let mixed = crate::common::dataset(german());
    mixed.write(program.at("in/dev-context-de-question-en.json")).unwrap();
    program.done("evidence --questions in --out alone");
    assert_eq!(answers("alone/dev-context-de-question-en.json"), ["Nein."]);
    assert!(!program.at(&format!("alone/{train_de}")).exists());
    program.failed("evidence --questions in --to de --place best --out x", &["--place", "gold"]);
    program.failed("evidence --questions in --to zh --out x", &["train-context-zh"]);
    // Nothing found is no data to train on.
    write("train", "zh", vec![question("a", "x", "y", "y")]);
    program.failed("evidence --questions in --to zh --place search --out x", &["train-context-zh"]);
    assert!(!program.at("x").join("preparation.json").exists());
}
