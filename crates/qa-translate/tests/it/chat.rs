//! Tests of translation by a chat server.
use std::sync::OnceLock;

use crate::common::{DE, EN, Reply, Server, chat_reply, upper_case_chat};
use mlqa_eval::Language;
use proptest::prelude::*;
use qa_translate::{
    ChatTranslator, Error, MissingText, Rejection, RemovedPart, ReplyReport, ServerConfig,
    Translator,
};
use serde_json::{Value, json};

#[test]
fn each_request_has_one_text_and_the_key_in_the_header() {
    let server = Server::start(|_, body| upper_case_chat(body));
    let mut translator = ChatTranslator::new(server.config(), "gemma", Some("secret")).unwrap();
    let actual = translator.translate(&["a ([b])", " c "], EN, DE).unwrap();
    assert_eq!(actual, [Some("A ([B])".into()), Some("C".into())]);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests[0].0, "POST /v1/chat/completions HTTP/1.1");
    let body = &requests[0].1;
    assert_eq!((&body["model"], &body["temperature"]), (&json!("gemma"), &json!(0)));
    assert_eq!(body["messages"][1], json!({"role": "user", "content": "a ([b])"}));
    let prompt = body["messages"][0]["content"].as_str().unwrap();
    assert!(prompt.contains("\"en\"") && prompt.contains("\"de\""), "{prompt}");
    assert!(!body.to_string().contains("secret"));
    assert!(server.headers.lock().unwrap()[0].contains("authorization: bearer secret"));
}

/// Waits, retries and timeouts are tested with `HttpTranslator`.
#[test]
fn errors_and_invalid_responses_are_reported() {
    for (status, body, problem) in [
        (401, r#"{"error": {"message": "no such key"}}"#, "status 401: no such key"),
        (200, r#"{"error": {"code": 401, "message": "no such key"}}"#, "status 401: no such key"),
        (403, r#"{"error": {"message": "no access"}}"#, "status 403: no access"),
        (200, r#"{"choices": [{"message": {"content": 1}}]}"#, "expected {\"choices\""),
    ] {
        let server = Server::start(move |_, _| Reply::Status(status, body.into()));
        let mut translator = ChatTranslator::new(server.config(), "gemma", None).unwrap();
        let error = translator.translate(&["a"], EN, DE).unwrap_err();
        let Error::Server { problem: actual, attempts, .. } = &error else { panic!("{error}") };
        assert!(actual.contains(problem) && *attempts == 1, "{error}");
    }
    let invalid_config = ServerConfig { attempts: 0, ..ServerConfig::default() };
    let error = ChatTranslator::new(invalid_config, "gemma", None).err();
    assert!(matches!(error, Some(Error::Config { key: "attempts", .. })), "{error:?}");
}

fn en_gb() -> Language {
    "en-gb".parse().unwrap()
}

/// Translates `source` by a server whose response is `reply`.
fn translate_to(to: Language, source: &str, reply: Reply) -> (Option<String>, ReplyReport) {
    let reply = std::sync::Mutex::new(Some(reply));
    let server = Server::start(move |_, _| reply.lock().unwrap().take().unwrap());
    let mut translator = ChatTranslator::new(server.config(), "m", None).unwrap();
    let translation = translator.translate(&[source], EN, to).unwrap().remove(0);
    (translation, translator.take_reply_report())
}

fn translate(source: &str, content: &str) -> (Option<String>, ReplyReport) {
    translate_to(DE, source, chat_reply(content, "stop"))
}

#[test]
fn parts_that_are_not_the_translation_are_removed_and_counted() {
    use RemovedPart::{Introduction, Note, QuotationMarks, Reasoning, TemplateToken, Wrapper};
    for (content, removed) in [
        ("Wo ist er?", &[][..]),
        ("  Wo ist er?\n\n", &[]),
        ("<think>\nWhere …\n</think>\n\nWo ist er?", &[Reasoning]),
        ("<think></think>Wo ist er?", &[Reasoning]),
        ("<THINKING>a</THINKING> Wo ist er?", &[Reasoning]),
        ("<reasoning>a</reasoning>Wo ist er?", &[Reasoning]),
        ("<thought>a</thought>Wo ist er?", &[Reasoning]),
        ("<reasoning_content>a</reasoning_content>Wo ist er?", &[Reasoning]),
        ("<plan>a</plan>\n<思考>b</思考>\nWo ist er?", &[Reasoning]),
        ("< think >a< /think >\nWo ist er?", &[Reasoning]),
        ("<think>\na\n</think >\nWo ist er?", &[Reasoning]),
        ("&lt;think&gt;a&lt;/think&gt;Wo ist er?", &[Reasoning]),
        ("<i>Wo</i> ist er?", &[]),
        // The opening tag is part of the chat template.
        ("The user asks … \"Wo\"\n</think>\n\nWo ist er?", &[Reasoning]),
        ("[THINK]a[/THINK]Wo ist er?", &[Reasoning]),
        ("◁think▷a◁/think▷Wo ist er?", &[Reasoning]),
        ("<seed:think>a</seed:think>Wo ist er?", &[Reasoning]),
        (
            "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>Wo ist er?<|END_RESPONSE|>",
            &[Reasoning, TemplateToken],
        ),
        ("<unused94>thought\na<unused95>Wo ist er?", &[Reasoning]),
        ("<think>a</think>\nWo ist er?\n<reflection>good</reflection>", &[Reasoning]),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Wo \
          ist er?<|return|>",
            &[Reasoning, TemplateToken],
        ),
        ("analysisWe translate.assistantfinalWo ist er?", &[Reasoning]),
        ("Wo ist er?<|im_end|>", &[TemplateToken]),
        ("Wo ist er?</s>", &[TemplateToken]),
        ("Wo ist er?<|im_end|>\n<|im_start|>user\nThank you", &[TemplateToken]),
        ("<|im_start|>assistant\nWo ist er?<|im_end|>\n<|endoftext|>", &[TemplateToken]),
        ("Here is the translation:\n\nWo ist er?", &[Introduction]),
        ("Sure! Here's the German translation: Wo ist er?", &[Introduction]),
        ("**Translation:** Wo ist er?", &[Introduction]),
        ("German: Wo ist er?", &[Introduction]),
        ("Übersetzung: Wo ist er?", &[Introduction]),
        ("Hier ist die Übersetzung:\nWo ist er?", &[Introduction]),
        ("翻译：Wo ist er?", &[Introduction]),
        ("Certainly, the text in German is below.\n\nWo ist er?", &[Introduction]),
        ("```\nWo ist er?\n```", &[Wrapper]),
        ("```text\nWo ist er?\n```", &[Wrapper]),
        ("<translation>Wo ist er?</translation>", &[Wrapper]),
        ("{\"translation\": \"Wo ist er?\"}", &[Wrapper]),
        ("[\"Wo ist er?\"]", &[Wrapper]),
        ("{\"note\": \"informal\", \"translation\": \"Wo ist er?\"}", &[Wrapper]),
        ("### Translation\n\nWo ist er?", &[Introduction]),
        ("```\nWo ist er?\n```\nLet me know if you need more.", &[Wrapper]),
        ("Wo ist er?\n\nNote: \"er\" may be \"sie\".", &[Note]),
        ("Wo ist er?\n\n(Note: informal)", &[Note]),
        ("Wo ist er?\n\n**Anmerkung:** frei", &[Note]),
        ("\"Wo ist er?\"", &[QuotationMarks]),
        ("„Wo ist er?“", &[QuotationMarks]),
        ("«Wo ist er?»", &[QuotationMarks]),
        ("**Wo ist er?**", &[QuotationMarks]),
        (
            "<think>a</think>\nHere is the translation:\n\n```\n\"Wo ist er?\"\n```\n\nNote: short",
            &[Reasoning, Wrapper, Introduction, Note, QuotationMarks],
        ),
    ] {
        let (translation, report) = translate("Where is he?", content);
        let expected = if removed.is_empty() { content.trim() } else { "Wo ist er?" };
        assert_eq!(translation.as_deref(), Some(expected), "{content}");
        let expected: Vec<_> = removed.iter().map(|&part| (part, 1)).collect();
        assert_eq!(report.removed.into_iter().collect::<Vec<_>>(), expected, "{content}");
        assert!(report.rejected.is_empty(), "{content}");
    }
}

#[test]
fn parts_that_the_source_has_are_retained() {
    for (source, content) in [
        ("\"Where?\"", "„Wo?“"),
        ("What is <think>?", "Was ist <think>?"),
        ("Translation: five", "Übersetzung: fünf"),
        ("The translation of the Bible: a history", "Die Übersetzung der Bibel: eine Geschichte"),
        ("Transfer: 5", "Übersetzung: 5"),
        ("a\n\nNote: b", "a\n\nHinweis: b"),
        ("```\na\n```", "```\nb\n```"),
        ("{\"a\": \"b\"}", "{\"a\": \"c\"}"),
        ("He said \"A\" and \"B\"", "\"A\" und \"B\" sagte er"),
        ("\"A\" or \"B\"", "\"A\" oder \"B\""),
        ("A or B", "\"A\" oder \"B\""),
    ] {
        let (translation, report) = translate(source, content);
        assert_eq!(translation.as_deref(), Some(content), "{source}");
        assert!(report.is_empty(), "{source}: {report:?}");
    }
}

#[test]
fn replies_that_are_not_translations_are_rejected_and_listed() {
    let message = |message: Value, finish_reason: Value| {
        let choice = json!({"message": message, "finish_reason": finish_reason});
        Reply::Status(200, json!({"choices": [choice]}).to_string())
    };
    let text = |content: &str| message(json!({"content": content}), json!("stop"));
    for (reply, reason) in [
        (chat_reply("Wo ist", "length"), Rejection::Truncated),
        (chat_reply("Wo ist", "MAX_TOKENS"), Rejection::Truncated),
        (chat_reply("Wo", "content_filter"), Rejection::Filtered),
        (chat_reply("Wo", "tool_calls"), Rejection::UnknownFinishReason),
        (message(json!({"content": null}), json!("stop")), Rejection::NoText),
        (message(json!({"content": null, "refusal": "No."}), json!("stop")), Rejection::Refused),
        (message(json!({}), Value::Null), Rejection::NoText),
        (text(" \n"), Rejection::Blank),
        (text("<think>a</think>\n"), Rejection::Blank),
        (text("<think>a"), Rejection::UnfinishedReasoning),
        (text("Wo <think>a"), Rejection::UnfinishedReasoning),
        (text("<|channel|>analysis<|message|>We"), Rejection::UnfinishedReasoning),
        (text("I'm sorry, but I can't help with that."), Rejection::Refused),
        (text("I’m sorry, but I can’t help."), Rejection::Refused),
        (text("Wo ist er?\n\nWo befindet er sich?"), Rejection::ExtraLines),
        (text("Aquí tienes.\nWo ist er?"), Rejection::ExtraLines),
        (text("As an AI language model, I …"), Rejection::Refused),
        (text("Es tut mir leid, das kann ich nicht."), Rejection::Refused),
        (text("Please provide the text."), Rejection::Refused),
        (text("…"), Rejection::Blank),
        (text("<plan>Wo ist er?"), Rejection::UnfinishedReasoning),
        (Reply::Status(200, json!({"choices": []}).to_string()), Rejection::NoText),
    ] {
        let (translation, report) = translate_to(DE, "Where is he?", reply);
        assert_eq!(translation, None, "{reason}");
        assert_eq!(report.rejected.into_iter().collect::<Vec<_>>(), [(reason, 1)]);
        let listed = &report.rejected_texts[0];
        assert_eq!((listed.reason, listed.text.as_str()), (reason, "Where is he?"));
    }
    // English texts that look like a refusal are translations into English.
    let (translation, _) = translate_to(en_gb(), "Lo siento", text("I'm sorry"));
    assert_eq!(translation.as_deref(), Some("I'm sorry"));
    // Some servers send no finish reason, and some send typed parts.
    let parts = json!([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Wo?"}]);
    let (translation, _) =
        translate_to(DE, "Where?", message(json!({"content": parts}), Value::Null));
    assert_eq!(translation.as_deref(), Some("Wo?"));
}

#[test]
fn sentences_of_a_truncated_or_rejected_text_are_translated_separately() {
    for reject in [
        |text: &str| chat_reply(&text.to_uppercase()[..9], "length"),
        |_: &str| Reply::Status(400, json!({"error": {"message": "context"}}).to_string()),
    ] {
        let server = Server::start(move |_, body| {
            let text = body["messages"][1]["content"].as_str().unwrap();
            match text.len() > 18 {
                true => reject(text),
                false => upper_case_chat(body),
            }
        });
        let translator = ChatTranslator::new(server.config(), "m", None).unwrap();
        let mut translator = translator.with_missing(MissingText::Skip);
        // Marked text is never split.
        let text = "One is a. ([Two b. Three c.]) Four is d. Five is e.";
        let actual = translator.translate(&[text], EN, DE).unwrap();
        assert_eq!(actual, [None]);
        let text = "One is a.  ([Two b. Six]) c. Four is d. Five is e.";
        let actual = translator.translate(&[text], EN, DE).unwrap();
        assert_eq!(actual, [Some(text.to_uppercase())]);
        assert!(translator.take_reply_report().split > 0);
    }
}

#[test]
fn the_length_limit_and_the_identity_depend_on_the_options() {
    let server = Server::start(|_, body| upper_case_chat(body));
    let config =
        ServerConfig { url: server.url.replace("//", "//user:secret@"), ..server.config() };
    let translator = |model: &str| ChatTranslator::new(config.clone(), model, Some("key")).unwrap();
    let identity = translator("a").identity().unwrap();
    assert!(identity.contains("model=a") && !identity.contains("secret"), "{identity}");
    assert_ne!(translator("b").identity().unwrap(), identity);
    translator("a").with_max_tokens(Some(5)).translate(&["a"], EN, DE).unwrap();
    assert_eq!(server.requests.lock().unwrap()[0].1["max_tokens"], json!(5));
}

/// Generates texts of delimiters that rules remove.
fn delimited_text() -> impl Strategy<Value = String> {
    let parts = [
        "<think>",
        "</think>",
        "[THINK]",
        "<|channel|>analysis<|message|>",
        "assistantfinal",
        "<|im_end|>",
        "</s>",
        "<translation>",
        "</translation>",
        "```",
        "```text\n",
        "\"",
        "„",
        "“",
        "Translation:",
        "Note: ",
        "Sure! ",
        "I'm sorry",
        "{\"a\": \"b\"}",
        "[\"b\"]",
        "\n",
        " ",
        "a",
        "([",
        "])",
        "é",
        "北京",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 1..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn a_reply_that_is_equal_to_the_text_is_not_changed(text in delimited_text()) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let server = SERVER.get_or_init(|| {
            Server::start(|_, body| {
                chat_reply(body["messages"][1]["content"].as_str().unwrap(), "stop")
            })
        });
        let mut translator = ChatTranslator::new(server.config(), "m", None).unwrap();
        let translation = translator.translate(&[&text], EN, DE).unwrap().remove(0);
        prop_assert_eq!(translation.unwrap_or_default(), text.trim());
        let report = translator.take_reply_report();
        prop_assert!(report.removed.is_empty(), "{:?}", report);
    }
}
