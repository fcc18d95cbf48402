//! Parts of language models' replies that are not the translation.
//!
//! Delimiters of reasoning are listed in the reasoning parsers of vLLM 0.11 to 0.22 and SGLang, in
//! the chat templates of the named models and in OpenAI's description of the harmony format.

/// Delimiters of a reasoning block, in lower case.
pub(super) const REASONING: &[(&str, &str)] = &[
    // DeepSeek-R1, Qwen3, QwQ, GLM-4.5, MiniMax-M2, Hunyuan, SmolLM3 and many others.
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reason>", "</reason>"),
    ("<analysis>", "</analysis>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<internal_reasoning>", "</internal_reasoning>"),
    // Seed-OSS.
    ("<seed:think>", "</seed:think>"),
    // Magistral.
    ("[think]", "[/think]"),
    // Command A Reasoning.
    ("<|start_thinking|>", "<|end_thinking|>"),
    // OpenThinker, Sky-T1.
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<|think|>", "<|/think|>"),
    // Kimi-VL-Thinking.
    ("◁think▷", "◁/think▷"),
    // Apertus.
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    // MedGemma.
    ("<unused94>", "<unused95>"),
    // Gemma 4.
    ("<|channel>thought", "<channel|>"),
    // Granite 3.2.
    ("here is my thought process:", "here is my response:"),
    ("here's my thought process:", "here's my response:"),
];

/// Starts of the final message after reasoning, in lower case: the harmony format of gpt-oss, with
/// and without its special tokens. The second element must be at the start of the reply.
pub(super) const FINAL_MESSAGES: &[(&str, &str)] = &[
    ("<|channel|>final<|message|>", ""),
    ("<|channel|>final <|message|>", ""),
    ("assistantfinal", "analysis"),
    ("assistantfinal", "commentary"),
];

/// Starts of harmony messages that are not final, in lower case. A reply that contains one and no
/// final message ends within the model's reasoning.
pub(super) const OTHER_MESSAGES: &[&str] = &["<|channel|>analysis", "<|channel|>commentary"];

/// Tokens of chat templates at the end of a reply, in lower case.
pub(super) const END_TOKENS: &[&str] = &[
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|return|>",
    "<|user|>",
    "<|end_response|>",
    "<|end_of_solution|>",
    "<|end_of_turn_token|>",
    "<|eot|>",
    "<｜end▁of▁sentence｜>",
    "<end_of_turn>",
    "<turn|>",
    "<eos>",
    "</s>",
    "[/inst]",
    "[e~[",
];

/// Tokens of chat templates at the start of a reply, in lower case.
pub(super) const START_TOKENS: &[&str] = &[
    "<|im_start|>assistant",
    "<|start_header_id|>assistant<|end_header_id|>",
    "<|start|>assistant",
    "<|message|>",
    "<|assistant|>",
    "<|start_response|>",
    "<|begin_of_solution|>",
    "<start_of_turn>model",
    "<|turn>model",
    "<s>",
    "<bos>",
];

/// Names of tags around a translation.
pub(super) const TAGS: &[&str] = &[
    "translation",
    "translated",
    "translated_text",
    "target",
    "answer",
    "final_answer",
    "final",
    "output",
    "response",
    "result",
    "text",
    "solution",
];

/// Openings and closings of quotation around a translation.
pub(super) const QUOTES: &[(&str, &str)] = &[
    ("\"", "\""),
    ("“", "”"),
    ("„", "“"),
    ("„", "”"),
    ("”", "”"),
    ("«", "»"),
    ("»", "«"),
    ("‹", "›"),
    ("「", "」"),
    ("『", "』"),
    ("‘", "’"),
    ("‚", "‘"),
    ("'", "'"),
    ("＂", "＂"),
    ("``", "''"),
    ("`", "`"),
    ("**", "**"),
];

/// Stems of "translation" in several languages, in lower case. An introduction contains one.
pub(super) const TRANSLATION_STEMS: &[&str] = &[
    "translat",
    "übersetz",
    "traduc",
    "traduç",
    "traduz",
    "traduct",
    "tradui",
    "vertal",
    "oversæt",
    "oversett",
    "översätt",
    "käänn",
    "перев",
    "перек",
    "прев",
    "tłumacz",
    "překlad",
    "preklad",
    "prijevod",
    "prevod",
    "fordít",
    "μετάφρασ",
    "çevir",
    "terjemah",
    "bản dịch",
    "dịch",
    "翻译",
    "翻譯",
    "译文",
    "譯文",
    "翻訳",
    "訳",
    "번역",
    "ترجم",
    "תרגום",
    "अनुवाद",
    "অনুবাদ",
    "மொழிபெயர்ப்பு",
    "అనువాదం",
    "ترجمہ",
    "คำแปล",
    "การแปล",
    "tafsiri",
];

/// Introductions without such a stem: a complete first line or a text before a colon, in lower
/// case, without punctuation at its end.
pub(super) const INTRODUCTIONS: &[&str] = &[
    "answer",
    "assistant",
    "certainly",
    "here it is",
    "here you are",
    "here you go",
    "of course",
    "ok",
    "okay",
    "output",
    "response",
    "result",
    "sure",
    "sure thing",
];

/// Starts of a first line that is not part of a translation into another language than English, in
/// lower case.
pub(super) const ENGLISH_OPENINGS: &[&str] = &[
    "sure, ",
    "sure! ",
    "sure. ",
    "certainly, ",
    "certainly! ",
    "certainly. ",
    "of course, ",
    "of course! ",
    "of course. ",
    "okay, ",
    "ok, ",
    "here is ",
    "here's ",
    "here are ",
    "below is ",
];

/// Starts of a line with a note after the translation, in lower case, before a colon.
pub(super) const NOTES: &[&str] = &[
    "note",
    "notes",
    "translation note",
    "translation notes",
    "translator's note",
    "explanation",
    "comment",
    "remark",
    "p.s",
    "hinweis",
    "anmerkung",
    "erklärung",
    "nota",
    "notas",
    "remarque",
    "note de traduction",
    "explication",
    "примечание",
    "注",
    "注意",
    "注释",
    "说明",
    "備考",
    "注記",
    "참고",
    "ملاحظة",
    "नोट",
    "टिप्पणी",
    "lưu ý",
    "ghi chú",
    "not",
    "หมายเหตุ",
    "σημείωση",
];

/// Names of HTML elements that a translation may begin with. Other tags at the start of a reply
/// enclose reasoning.
pub(super) const HTML: &[&str] = &[
    "a",
    "abbr",
    "b",
    "blockquote",
    "body",
    "br",
    "cite",
    "code",
    "div",
    "em",
    "h1",
    "h2",
    "h3",
    "html",
    "i",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "u",
    "ul",
];

/// Finish reasons of a complete reply, in lower case.
pub(super) const COMPLETE: &[&str] =
    &["stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "end_of_text", "end"];

/// Finish reasons of a reply that reached a length limit, in lower case.
pub(super) const TRUNCATED: &[&str] = &[
    "length",
    "max_tokens",
    "max_output_tokens",
    "model_length",
    "max_length",
    "model_context_window_exceeded",
    "error_limit",
    "error_toxic_length",
];

/// Finish reasons of a reply that a filter stopped, in lower case.
pub(super) const FILTERED: &[&str] = &[
    "content_filter",
    "safety",
    "recitation",
    "prohibited_content",
    "blocklist",
    "spii",
    "refusal",
    "guardrail_intervened",
    "content_filtered",
    "error_toxic",
    "sensitive",
];
