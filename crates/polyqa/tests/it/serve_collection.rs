//! Tests of the HTTP service over a collection.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use testkit::Browser;

use crate::common::polyqa;
use crate::serve::Service;

#[test]
fn questions_without_documents_are_answered_from_the_collection() {
    let program = polyqa();
    program.write("docs.jsonl", "{\"id\": \"peru\", \"text\": \"Lima liegt in Peru.\"}\n");
    program.expect_success("index docs.jsonl --out library");
    let service = Service::start_in(program, "--collection library");
    let client = service.client();
    assert_eq!(client.health()["documents"], 1);
    let documents = |question: &str| {
        let reply = client.post(&json!({"question": question}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let answers = reply.body["results"][0]["answers"].as_array().unwrap().clone();
        let mut ids: Vec<String> =
            answers.iter().map(|answer| answer["document"].as_str().unwrap().to_owned()).collect();
        ids.dedup();
        ids
    };
    assert_eq!(documents("Wo liegt Lima?"), ["peru"]);
    assert!(documents("Quito").is_empty());
    // A request may still bring its own documents.
    let reply = client.post(&json!({"question": "Wo?", "text": "Quito"}));
    assert_eq!(reply.body["results"][0]["answers"][0]["document"], "0");
    // Changes are visible without a restart, while requests are answered.
    let is_done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let requests = scope.spawn(|| {
            let client = service.client();
            let mut count = 0;
            while !is_done.load(Ordering::Relaxed) {
                let reply = client.post(&json!({"question": "Wo liegt Lima?"}));
                assert_eq!(reply.status, 200, "{}", reply.body);
                count += 1;
            }
            count
        });
        for k in 0..5 {
            let row = json!({"id": format!("q{k}"), "text": format!("Quito {k}")});
            service.program.write("new.jsonl", row.to_string());
            service.program.expect_success("index --add new.jsonl --out library");
            assert_eq!(client.health()["documents"], 2 + k);
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(requests.join().unwrap() > 0);
    });
    assert_eq!(documents("Quito 3")[0], "q3");
    let ids = ["peru", "q0", "q1", "q2", "q3", "q4"];
    let removals = ids.map(|id| format!("--remove {id}")).join(" ");
    service.program.expect_success(&format!("index {removals} --out library"));
    let reply = client.post(&json!({"question": "Wo liegt Lima?"}));
    assert_eq!((reply.status, &reply.body["error"]["code"]), (422, &json!("empty")));
    assert_eq!(client.health()["documents"], 0);
}

#[test]
fn the_web_page_searches_the_collection_if_there_is_no_text() {
    let Some(browser) = Browser::find() else { return };
    let program = polyqa();
    let row = |id: &str, text: &str| json!({"id": id, "text": text}).to_string() + "\n";
    let rows = row("peru & <b>", "Lima liegt in Peru.") + &row("other", "Quito liegt hoch.");
    program.write("docs.jsonl", rows);
    program.expect_success("index docs.jsonl --out library");
    let service = Service::start_in(program, "--collection library");
    let load =
        |fragment: &str| browser.load_dom(&format!("http://{}/#{fragment}", service.address), 390);
    let dom = load("question=Lima%3F");
    assert!(dom.contains("Text (if empty, 2 documents are searched)"), "{dom}");
    assert!(dom.contains(" · peru &amp; &lt;b&gt;</div>"), "{dom}");
    assert!(dom.contains("<div id=\"whole\" hidden="), "{dom}");
    // A text is used in place of the collection.
    let dom = load("question=Lima%3F&text=Lima%20in%20Peru");
    assert!(dom.contains("<div id=\"whole\">") && !dom.contains(" · "), "{dom}");
}

#[test]
fn no_request_is_lost_while_documents_change() {
    const CLIENTS: usize = 8;
    let n_requests = if testkit::is_long() { 10_000 } else { 200 };
    let program = polyqa();
    let row = |id: &str, text: &str| json!({"id": id, "text": text}).to_string() + "\n";
    program.write("docs.jsonl", row("peru", "Lima liegt in Peru.") + &row("town0", "Quito 0"));
    program.expect_success("index docs.jsonl --out library");
    let library = program.path_of("library");
    let service = Service::start_in(program, "--collection library");
    let started = AtomicUsize::new(0);
    let ask = || {
        let client = service.client();
        let mut answered = 0;
        while started.fetch_add(1, Ordering::Relaxed) < n_requests {
            let reply = client.post(&json!({"questions": ["Peru?", "Quito?"]}));
            assert_eq!(reply.status, 200, "{}", reply.body);
            let documents = [0, 1].map(|index| {
                let answers = reply.body["results"][index]["answers"].as_array().unwrap();
                let mut ids: Vec<&str> =
                    answers.iter().map(|answer| answer["document"].as_str().unwrap()).collect();
                ids.dedup();
                ids
            });
            assert_eq!(documents[0], ["peru"]);
            // Each state has one document with this word.
            assert!(
                documents[1].len() == 1 && documents[1][0].starts_with("town"),
                "{documents:?}"
            );
            answered += 1;
        }
        answered
    };
    thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| scope.spawn(ask));
        let mut changes = 0;
        while started.load(Ordering::Relaxed) < n_requests {
            let mut writer = collection::Writer::open(&library).unwrap();
            writer.remove(&format!("town{changes}")).unwrap();
            changes += 1;
            let (id, text) = (format!("town{changes}").into(), format!("Quito {changes}").into());
            let passages = Vec::new();
            writer.add(&collection::Document { id, text, passages }).unwrap();
            writer.finish().unwrap();
        }
        let answered: usize = clients.map(|client| client.join().unwrap()).into_iter().sum();
        assert_eq!(answered, n_requests);
        assert!(changes > 0);
    });
}
