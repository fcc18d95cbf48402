use super::*;

fn text(html: &str) -> String {
    extract(html).unwrap().text
}

#[test]
fn blocks_are_lines_and_cells_are_separated_by_tabs() {
    let html = "<h1>Toll  houses</h1><p>Two\n  lines,<br>and a third.</p>\
                <table><caption>Houses</caption><tr><th>Place<th>Built</tr><tr><td>Osterby<td>1712</table>\
                <ul><li>one<li><p>two</p></ul><dl><dt>Term<dd>Meaning</dl><pre>a\n  b\n\nc</pre>x<sup>2</sup>";
    let expected = "Toll houses\n\nTwo lines,\nand a third.\n\nHouses\n\nPlace\tBuilt\nOsterby\t1712\n\none\n\ntwo\n\n\
                    Term\nMeaning\n\na\n  b\n\nc\n\nx2";
    assert_eq!(text(html), expected);
}

#[test]
fn only_visible_content_is_text() {
    let hidden = [
        "<script>no</script>",
        "<style>no</style>",
        "<template><p>no</p></template>",
        "<noscript>no</noscript>",
        "<nav>no</nav>",
        "<p hidden>no</p>",
        "<p aria-hidden=true>no</p>",
        "<p style='color:red; DISPLAY: none'>no</p>",
        "<!-- no -->",
        "<footer>no</footer>",
        "<header>no</header>",
        "<div role=navigation>no</div>",
        "<select><option>no</select>",
        "<svg><text>no</text></svg>",
    ];
    for part in hidden {
        assert_eq!(text(&format!("<body><p>yes{part}</p>")), "yes", "{part}");
    }
    let kept = "<main><header>a</header><aside>b</aside><footer>c</footer></main><header><h1>d</h1></header>\
                <p hidden=until-found>e</p>";
    assert_eq!(text(kept), "a\n\nb\n\nc\n\nd\n\ne");
}

#[test]
fn characters_are_those_that_a_reader_sees() {
    assert_eq!(text("Fl&uuml;&shy;sse &lt;b&gt; 5&nbsp;km &#x1F600;"), "Flüsse <b> 5\u{a0}km 😀");
    // A line end between Han characters is not a space, and readings are skipped.
    assert_eq!(
        text("<p>利马在\n  秘鲁。<ruby>塩<rp>(</rp><rt>しお</rt></ruby>の"),
        "利马在秘鲁。塩の"
    );
    assert_eq!(text("<p>利马 在"), "利马 在");
    assert_eq!(text("<p>Lima\nis"), "Lima is");
    assert_eq!(text("a<b> b</b><i>c</i> d"), "a bc d");
}

#[test]
fn the_head_has_title_and_language() {
    let page =
        extract("<html lang=de-AT><head><title> Lima\n in Peru </title></head><p>Text").unwrap();
    assert_eq!(
        (page.title.as_deref(), page.language.as_deref()),
        (Some("Lima in Peru"), Some("de-AT"))
    );
    assert_eq!(page.text, "Text");
    assert_eq!(extract("<p>Text").unwrap().title, None);
}

#[test]
fn malformed_and_deeply_nested_pages_are_read() {
    assert_eq!(text("<table><p>before<tr><td>cell</table></b><p>after"), "before\n\ncell\n\nafter");
    assert_eq!(text("<b><p>one</b> two"), "one two");
    assert_eq!(text(&format!("{}deep", "<div>".repeat(900))), "deep");
    assert_eq!(text(""), "");
    let error = extract(&"<div>".repeat(1_000_000)).unwrap_err();
    assert!(error.contains("more than 1000 deep"), "{error}");
}
