//! Tests of the program with tagged sentences.
use crate::common::{Reply, Server};
use serde_json::{Value, json};
use testkit::Program;
use transfer_eval::ner::{Scheme, Sentence, find_entities, read_ner};

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_qa-translate"))
}

/// Returns a reply with each text unchanged.
fn echo(request: &Value) -> Reply {
    Reply::Status(200, json!({ "translatedText": request["q"] }).to_string())
}

/// Returns the entities of a sentence in order, without spaces between words, with their types.
fn entity_texts(sentence: &Sentence) -> Vec<(String, String)> {
    let mut all: Vec<_> = find_entities(&sentence.tags, Scheme::Lenient).into_iter().collect();
    all.sort_by_key(|one| one.start);
    let text = |start: usize, end: usize| sentence.words[start..=end].concat();
    all.into_iter().map(|one| (text(one.start, one.end), one.kind.to_owned())).collect()
}

#[test]
fn an_identical_translation_keeps_every_entity() {
    let program = program();
    let server = Server::start(|_, body| echo(body));
    for (name, from, expected) in [("en_pud", "en", 1075), ("zh_pud", "zh", 1139)] {
        let file = format!("data/uner/{name}.test.iob2.gz");
        let command =
            format!("ner --in {file} --from {from} --to de --server {} --out {name}", server.url);
        let output = program.expect_success(&command).out;
        let start = format!("de: 1000 of 1000 sentences kept, {expected} of {expected} entities");
        assert!(output.starts_with(&start), "{output}");
        let source =
            read_ner(format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR")), None).unwrap();
        let path = program.path_of(&format!("{name}/{name}.test.de.conll"));
        let target = read_ner(path, None).unwrap();
        assert_eq!((source.len(), target.len()), (1000, 1000));
        for (source, target) in source.iter().zip(&target) {
            assert_eq!(entity_texts(target), entity_texts(source));
            assert_eq!(target.words.concat(), source.words.concat());
            assert!(target.tags.iter().all(|tag| tag == "O" || tag[1..].starts_with('-')));
        }
        assert_eq!(target.iter().map(|one| entity_texts(one).len()).sum::<usize>(), expected);
    }
    let manifest: Value = serde_json::from_str(&program.read("en_pud/manifest.json")).unwrap();
    assert_eq!(manifest["program"], "qa-translate ner");
    assert_eq!(manifest["counts"]["de"]["kept"], 1000);
    assert_eq!(manifest["counts"]["de"]["report"]["found"], json!({"markers": 1075}));
}

#[test]
fn a_resumed_run_sends_no_text_twice() {
    let program = program();
    let sentences = (0..5).map(|k| format!("n{k}\tB-LOC\nis\tO\n\n"));
    program.write("a.b.conll", sentences.collect::<String>());
    let server = Server::start(|number, body| match number {
        1 => Reply::Status(500, "down".into()),
        _ => echo(body),
    });
    let command = format!(
        "ner --in a.b.conll --to de,zh --server {} --out out/ --batch-size 2 --attempts 1",
        server.url
    );
    program.expect_error(&command, &["status 500: down"]);
    assert!(!program.path_of("out").exists());
    program.expect_success(&command);
    // Two sentences were translated in the first run.
    let requested = server.requested_texts();
    assert_eq!(requested[2 * 2], ("de".into(), "([n2]) is".into()));
    assert_eq!(requested.len(), 2 * 2 + 3 + 5);
    let first = program.read_bytes("out/a.b.zh.conll");
    // A third run sends no request and replaces the output with equal files.
    program.expect_success(&command);
    assert_eq!(server.requested_texts(), requested);
    assert_eq!(program.read_bytes("out/a.b.zh.conll"), first);
    assert!(program.path_of("out.cache.de.jsonl").exists());
}

#[test]
fn sentences_with_a_lost_entity_are_skipped() {
    let program = program();
    program.write("t.conll", "Ada\tB-PER\nmet\tO\nBo\tB-PER\n\nBern\tB-LOC\n\n");
    let entry = |source: &str, target: &str| {
        json!({"from": "en", "to": "de", "source": source, "target": target}).to_string() + "\n"
    };
    let unmarked = entry("([1:Ada]) met ([2:Bo])", "lost")
        + &entry("Ada met Bo", "Ada traf ihn")
        + &entry("Ada", "Ada")
        + &entry("Bo", "Bo");
    program.write("t.jsonl", unmarked.clone() + &entry("([Bern])", "([Bärn])"));
    let command = "ner --in t.conll --to de --file t.jsonl --out out";
    assert_eq!(
        program.expect_success(command).out,
        "de: 1 of 2 sentences kept, 2 of 3 entities found (1 by markers, 1 by search); entity not \
         in the translation: 1\n"
    );
    assert_eq!(program.read("out/t.de.conll"), "Bärn\tB-LOC\n\n");

    // Errors leave existing files unchanged, and are reported before any request.
    program.write("t.jsonl", unmarked);
    program.expect_error(command, &["([Bern])", "t.jsonl"]);
    program.expect_error(&format!("{command} --missing skip"), &["no sentence was kept for de"]);
    program.write("bad.conll", "Ada\tB-PER\nmet\n");
    program.write("other/file", "mine");
    let server = Server::start(|_, body| echo(body));
    let command_with = |arguments: &str| format!("ner {arguments} --server {}", server.url);
    for (arguments, expected) in [
        ("--in bad.conll --to de --out out", &["bad.conll:2", "1 column"][..]),
        ("--in t.conll --to de --out other", &["other", "was not prepared"]),
        ("--in t.conll --to de,de --out out", &["language de: is listed twice"]),
        ("--in t.conll --to en --out out", &["language en"]),
        ("--in t.conll --out out", &["--to"]),
    ] {
        program.expect_error(&command_with(arguments), expected);
    }
    program.expect_error("ner --in t.conll --to de --out out", &["--file", "--server", "--chat"]);
    assert_eq!(server.request_count(), 0);
    assert_eq!(program.read("out/t.de.conll"), "Bärn\tB-LOC\n\n");
}

#[test]
fn the_untokenised_text_is_translated() {
    let program = program();
    let text = "# sent_id = s1\n# text = Ada can't see Bonn.\n1\tAda\tB-PER\n2\tca\tO\n3\tn't\tO\n\
                4\tsee\tO\n5\tBonn\tB-LOC\n6\t.\tO\n\n\
                # sent_id = s2\n# text = Zum Rhein\n1\tZu\tO\n2\tdem\tO\n3\tRhein\tB-LOC\n";
    program.write("a.iob2", text);
    let server = Server::start(|_, body| echo(body));
    program.expect_success(&format!("ner --in a.iob2 --to de --server {} --out out", server.url));
    let texts: Vec<String> = server.requested_texts().into_iter().map(|(_, text)| text).collect();
    // The words of the second sentence are not in its text.
    assert_eq!(texts, ["([1:Ada]) can't see ([2:Bonn]).", "Zu dem ([Rhein])"]);
}
