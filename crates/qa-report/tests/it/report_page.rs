//! Tests the script of the page and its layout on wide screens and phones in Chromium.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::Browser;

use super::report::{questions, report, write};

/// Returns the HTML of a page after its script has run.
fn dom(browser: &Browser, page: &Path, hash: &str, width: u32) -> String {
    browser.load_dom(&format!("file://{}{hash}", page.display()), width)
}

const HOSTILE: &str = "</script><script>document.title='taken'</script><img src=x \
                       onerror=\"document.title='taken'\">\u{202e}";

/// Writes the report page of `runs`; `rows` are (id, question, context, answer).
fn write_page(folder: &Path, rows: &[(&str, &str, &str, &str)], runs: &[Value]) -> PathBuf {
    let data = folder.join("data.json");
    write(&data, &questions(rows));
    let run_argument = |(name, run): (&str, &Value)| {
        let path = folder.join(format!("{name}.json"));
        write(&path, run);
        format!("the-{name}-of-the-runs-in-this-test={}", path.display())
    };
    let mut args: Vec<String> =
        ["first", "second"].into_iter().zip(runs).map(run_argument).collect();
    let out = folder.join("report.html");
    args.extend(["--data".into(), data.display().to_string()]);
    args.extend(["--out".into(), out.display().to_string()]);
    args.extend(["--language", "ar"].map(str::to_owned));
    report(&args.iter().map(String::as_str).collect::<Vec<_>>());
    out
}

/// Writes a page with Arabic, Chinese and hostile questions and two runs.
fn write_example_page(folder: &Path) -> PathBuf {
    let rows = [
        ("ar", "كم عددها؟", "في البيت أربعة كتب.", "أربعة"),
        ("zh", "它在哪里？", "𝔸图书馆在北京市中心。", "北京"),
        (HOSTILE, HOSTILE, HOSTILE, "taken"),
        ("long", "Where?", "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", "Llan"),
    ];
    let first = json!({ "ar": "البيت", "zh": "北京市", "long": "Llan" });
    let second = json!({ "ar": "أربعة", "zh": "市", HOSTILE: HOSTILE });
    write_page(folder, &rows, &[first, second])
}

/// Evaluates a JavaScript expression in the page, which is shown in a frame of the given width.
fn evaluate(browser: &Browser, page: &Path, width: u32, expression: &str) -> Value {
    // The copy has no content security policy, because the policy allows only the page's script.
    let html = fs::read_to_string(page).unwrap();
    let (before, rest) = html.split_once("<meta http-equiv").unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    let measure_script = format!(
        "<script>setTimeout(()=>parent.postMessage(JSON.stringify({expression}),'*'),500)</script>"
    );
    let copy = format!("{before}{}", rest.replace("</body>", &format!("{measure_script}</body>")));
    let folder = page.parent().unwrap();
    fs::write(folder.join("copy.html"), copy).unwrap();
    let frame = format!(
        "<!doctype html><body><script>addEventListener('message',(event)=>{{\
         document.body.append('measured:'+event.data+':end')}})</script>\
         <iframe style=\"width:{width}px;height:800px;border:0\" \
         src=\"copy.html#browse?outcome=all\"></iframe>"
    );
    let frame_page = folder.join("frame.html");
    fs::write(&frame_page, frame).unwrap();
    let dom = dom(browser, &frame_page, "", 1600);
    let (_, rest) = dom.split_once("</script>").unwrap();
    let result = rest.split_once("measured:").and_then(|(_, rest)| rest.split_once(":end"));
    assert!(result.is_some(), "nothing measured:\n{dom}");
    serde_json::from_str(result.unwrap().0).unwrap()
}

#[test]
fn questions_are_filtered_and_marked() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = write_example_page(folder.path());
    let html = dom(&browser, &page, "#browse?outcome=all", 1280);
    assert!(html.contains("data-found=\"4\""), "the script did not run:\n{html}");
    assert_eq!(html.matches("<article ").count(), 4);
    // By default, the page marks the answers of the last run, here the second. The marks of the
    // run's answer and of the gold answer are at the correct positions after a surrogate pair.
    let marks = "在<mark class=\"gold\">北京</mark><mark class=\"pred\">市</mark>中心";
    assert!(html.contains(marks), "{html}");
    assert!(html.contains("<mark class=\"gold pred\">أربعة</mark>"));
    assert!(html.contains("<p class=\"question\" dir=\"auto\" lang=\"ar\">"));
    // Hostile input is shown as text, and invisible control characters are shown as code points.
    assert!(html.contains("<title>Answers to Arabic questions about Arabic texts</title>"));
    assert!(!html.contains("<img") && html.contains("<span class=\"control\">U+202E</span>"));

    let found_count = |hash: &str| {
        let dom = dom(&browser, &page, hash, 1280);
        let (_, rest) = dom.split_once("data-found=\"").unwrap();
        rest.split_once('"').unwrap().0.parse::<usize>().unwrap()
    };
    assert_eq!(found_count("#browse?run=0&outcome=wrong"), 3);
    assert_eq!(found_count("#browse?run=0&outcome=unanswered"), 1);
    assert_eq!(found_count("#browse?run=1&outcome=better"), 1);
    assert_eq!(found_count("#browse?run=1&outcome=all&text=%E5%8C%97%E4%BA%AC"), 1);
}

#[test]
fn page_fits_on_a_phone() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = write_example_page(folder.path());
    let root_element = "document.documentElement";
    let overflow = format!("{root_element}.scrollWidth-{root_element}.clientWidth");
    assert_eq!(evaluate(&browser, &page, 390, &overflow), 0);
}

#[test]
fn answers_have_the_direction_of_their_context() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    // An Arabic text that begins with a foreign name.
    let context = "BBC قالت إن بين 18–20 كتابا في البيت.";
    let rows = [("years", "كم؟", context, "18–20")];
    let page = write_page(folder.path(), &rows, &[json!({ "years": "18–20" })]);
    // The expression returns three values: whether 18 is left of 20 in the context, in the gold
    // answer, and in the run's answer.
    let order_script = "[...document.querySelectorAll('.context mark,td.answer bdi')].map((one)=>{\
                 const text=one.firstChild,left=(from,to)=>{const range=document.createRange();\
                 range.setStart(text,from);range.setEnd(text,to);\
                 return range.getBoundingClientRect().left};return left(0,2)<left(3,5)})";
    assert_eq!(evaluate(&browser, &page, 1000, order_script), json!([false, false, false]));
    let direction_script = "getComputedStyle(document.querySelector('.context')).direction";
    assert_eq!(evaluate(&browser, &page, 1000, direction_script), "rtl");
}
