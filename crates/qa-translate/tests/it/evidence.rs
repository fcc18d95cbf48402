//! Sentences that hold an answer.
use crate::common::question;
use mlqa_eval::Dataset;
use qa_translate::{EvidencePlace, TaggedEvidence, sentences, units, write_evidence};
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
        let (mut several, mut shorter) = (0, 0);
        for one in &data.questions {
            let all = sentences(&one.context);
            several += usize::from(all.len() > 1);
            let span = EvidencePlace::Gold.find(one, one, 0).unwrap();
            assert!(all.contains(&span), "{}", one.id);
            let answer = &one.answers[0];
            assert!((span.start..span.end).contains(&answer.answer_start), "{}", one.id);
            shorter += usize::from(span.len() < one.context.chars().count());
            let tagged = TaggedEvidence::new(&one.question, &one.context, &span);
            let inside = tagged.tags.iter().filter(|&&tag| tag != "O").count();
            assert_eq!(tagged.tags.iter().filter(|&&tag| tag == "B-EVIDENCE").count(), 1);
            assert_eq!(tagged.tags.len(), units(&one.question).len() + units(&one.context).len());
            assert!(inside > 0);
        }
        // Divided at all: Hindi's danda and Chinese stops, too.
        assert!(several > 1100 && shorter > 1100, "{language}: {several}, {shorter}");
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
    let said = program.done("evidence --questions in --to de --out found").out;
    assert_eq!(said, "en: 2 of 2 questions tagged\nde: 1 of 2 questions tagged\n");
    let lines = program.read("found/train.conll");
    assert!(lines.starts_with("Who\tO\n?\tO\nNo\tO\n.\tO\nAda\tB-EVIDENCE\ndid\tI-EVIDENCE\n"));
    assert!(lines.contains("Ada\tB-EVIDENCE\nwar\tI-EVIDENCE\n"));
    assert_eq!(lines.matches("\n\n").count(), 3);
    // Tests have what stands in the data.
    assert!(program.read("found/test.de.conll").contains("Nein\tB-EVIDENCE\n"));
    assert!(!program.at("found/dev.en.conll").exists());
    write("dev", "en", english());
    let said = program.done("evidence --questions in --out alone").out;
    assert_eq!(said, "en: 2 of 2 questions tagged\n");
    assert_eq!(program.read("alone/dev.en.conll"), program.read("alone/train.conll"));
    program.failed("evidence --questions in --to de --place best --out x", &["--place", "gold"]);
    program.failed("evidence --questions in --to zh --out x", &["no train-context-zh"]);
    assert!(!program.at("x").exists());
    assert!(write_evidence(program.at("none.conll"), &[]).is_err());
    assert!(!program.at("none.conll").exists());
}
