//! The page of `mlqa-eval report` in Chromium: what its script makes of it, on a wide screen and on
//! a phone.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// Debian's name, and others'.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The browser, or a line that says that the test is skipped.
fn chromium() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let mut places = NAMES.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no chromium in PATH, so no page was looked at");
    }
    found
}

/// A page after its script has run, as HTML.
fn dom(browser: &Path, page: &Path, hash: &str, width: u32) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
    command.arg("--disable-dev-shm-usage");
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--window-size={width},900"));
    command.args(["--virtual-time-budget=5000", "--dump-dom"]);
    command.arg(format!("file://{}{hash}", page.display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const HOSTILE: &str = "</script><script>document.title='taken'</script><img src=x \
                       onerror=\"document.title='taken'\">\u{202e}";

/// A page with Arabic, Chinese and hostile questions, answered by two runs.
fn page(folder: &Path) -> PathBuf {
    let rows = [
        ("ar", "كم عددها؟", "في البيت أربعة كتب.", "أربعة", 9),
        ("zh", "它在哪里？", "𝔸图书馆在北京市中心。", "北京", 5),
        (HOSTILE, HOSTILE, HOSTILE, "taken", 33),
        ("long", "Where?", "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", "Llan", 0),
    ];
    let paragraph = |(id, question, context, answer, start): (&str, &str, &str, &str, usize)| {
        let answers = json!([{ "text": answer, "answer_start": start }]);
        json!({ "context": context, "qas": [{ "id": id, "question": question, "answers": answers }] })
    };
    let paragraphs: Vec<_> = rows.into_iter().map(paragraph).collect();
    let data = json!({ "version": "1.0", "data": [{ "title": "", "paragraphs": paragraphs }] });
    let write = |name: &str, value: serde_json::Value| {
        let path = folder.join(name);
        fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    };
    let data = write("data.json", data);
    let first = write("first.json", json!({ "ar": "البيت", "zh": "北京市", "long": "Llan" }));
    let second = write("second.json", json!({ "ar": "أربعة", "zh": "市", HOSTILE: HOSTILE }));
    let out = folder.join("report.html");
    let program = Command::new(env!("CARGO_BIN_EXE_mlqa-eval"))
        .args(["report", &first, &second, "--data", &data, "--language", "ar", "--samples", "50"])
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stderr));
    out
}

#[test]
fn the_questions_are_found_and_marked() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path());
    let all = dom(&browser, &page, "#browse?outcome=all", 1280);
    assert!(all.contains("data-found=\"4\""), "the script did not run:\n{all}");
    assert_eq!(all.matches("<article ").count(), 4);
    // The second run is shown; its answer and the gold one are told apart, past a pair of UTF-16
    // units.
    let marks = "在<mark class=\"gold\">北京</mark><mark class=\"pred\">市</mark>中心";
    assert!(all.contains(marks), "{all}");
    assert!(all.contains("<mark class=\"gold pred\">أربعة</mark>"));
    assert!(all.contains("<p class=\"asked\" dir=\"auto\" lang=\"ar\">"));
    // Hostile text is text, and what acts unseen is written out.
    assert!(all.contains("<title>Cross-lingual question answering</title>"));
    assert!(!all.contains("<img") && all.contains("<span class=\"unseen\">U+202E</span>"));

    let found = |hash: &str| {
        let dom = dom(&browser, &page, hash, 1280);
        let (_, rest) = dom.split_once("data-found=\"").unwrap();
        rest.split_once('"').unwrap().0.parse::<usize>().unwrap()
    };
    assert_eq!(found("#browse?run=0&outcome=wrong"), 3);
    assert_eq!(found("#browse?run=0&outcome=unanswered"), 1);
    assert_eq!(found("#browse?run=1&outcome=better"), 1);
    assert_eq!(found("#browse?run=1&outcome=all&text=%E5%8C%97%E4%BA%AC"), 1);
}

#[test]
fn a_phone_need_not_scroll_sideways() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path());
    // A copy in a frame of a phone's width, without the policy, that says by how much it is too
    // wide.
    let html = fs::read_to_string(&page).unwrap();
    let (before, rest) = html.split_once("<meta http-equiv").unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    let measure = "<script>{const page=document.documentElement;\
                   parent.postMessage(page.scrollWidth-page.clientWidth,'*')}</script>";
    let copy = format!("{before}{}", rest.replace("</body>", &format!("{measure}</body>")));
    fs::write(folder.path().join("copy.html"), copy).unwrap();
    let frame = "<!doctype html><body><script>addEventListener('message',(event)=>{\
                 document.body.dataset.wide=event.data})</script>\
                 <iframe style=\"width:390px;height:800px;border:0\" \
                 src=\"copy.html#browse?outcome=all\"></iframe>";
    let outer = folder.path().join("frame.html");
    fs::write(&outer, frame).unwrap();
    let dom = dom(&browser, &outer, "", 1280);
    assert!(dom.contains("data-wide=\"0\""), "{dom}");
}
