//! Recognises replies of a language model that are not translations: refusals, questions to the
//! user, and other statements about the task.
//!
//! A phrase counts only if the source text has no phrase of the same kind, so that the translation
//! of an apology is not a refusal.
use mlqa_eval::Language;

/// Starts of refusals, in lower case, with straight apostrophes.
const STARTS: &[&str] = &[
    // English
    "i'm sorry",
    "i am sorry",
    "sorry",
    "i apologize",
    "i apologise",
    "apologies",
    "my apologies",
    "i cannot ",
    "i can't ",
    "i can not ",
    "i could not ",
    "i couldn't ",
    "i won't ",
    "i will not ",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i'm not comfortable",
    "i don't see",
    "i do not see",
    "i'd rather not",
    "unfortunately, i ",
    "as an ai",
    "i must decline",
    "unable to ",
    "please provide ",
    // German, Dutch, Swedish, Danish, Norwegian
    "es tut mir leid",
    "tut mir leid",
    "entschuldigung",
    "verzeihung",
    "leider kann ich",
    "ich kann diese anfrage",
    "ich kann diesen text",
    "ich kann dabei nicht",
    "ich kann das nicht",
    "ich kann nicht",
    "ich bin nicht in der lage",
    "bitte geben sie den text",
    "het spijt me",
    "sorry, ik",
    "ik kan dit niet",
    "ik kan deze tekst",
    "jag är ledsen",
    "tyvärr kan jag",
    "beklager",
    "jeg beklager",
    "jeg kan ikke",
    // Spanish, Portuguese, French, Italian, Romanian, Catalan
    "lo siento",
    "lamento no ",
    "disculpa",
    "no puedo ",
    "perdón",
    "sinto muito",
    "desculp",
    "não posso ",
    "je suis désolé",
    "désolé",
    "je ne peux pas",
    "je m'excuse",
    "mi dispiace",
    "non posso ",
    "îmi pare rău",
    "nu pot ",
    "ho sento",
    "no puc ",
    // Russian, Ukrainian, Polish, Czech
    "извините",
    "простите",
    "к сожалению, я",
    "я не могу",
    "вибачте",
    "на жаль, я",
    "przepraszam",
    "przykro mi",
    "nie mogę ",
    "omlouvám se",
    "bohužel nemohu",
    // Greek, Turkish, Hungarian, Finnish, Indonesian, Vietnamese
    "λυπάμαι",
    "συγγνώμη",
    "δεν μπορώ να",
    "üzgünüm",
    "özür dilerim",
    "maalesef",
    "sajnálom",
    "elnézést",
    "valitettavasti en",
    "olen pahoillani",
    "maaf",
    "saya tidak dapat",
    "xin lỗi",
    "rất tiếc",
    "tôi không thể",
    // Arabic, Persian, Urdu, Hebrew, Hindi, Bengali, Tamil, Telugu, Thai
    "عذر",
    "آسف",
    "أعتذر",
    "لا أستطيع",
    "لا يمكنني",
    "متاسفم",
    "متأسفم",
    "معذرت",
    "معاف",
    "مجھے افسوس",
    "אני מצטער",
    "מצטער",
    "איני יכול",
    "क्षमा",
    "माफ़",
    "माफ",
    "मुझे खेद",
    "দুঃখিত",
    "மன்னிக்க",
    "క్షమించ",
    "ขออภัย",
    "ขอโทษ",
    // Chinese, Japanese, Korean
    "抱歉",
    "对不起",
    "對不起",
    "很抱歉",
    "非常抱歉",
    "我无法",
    "我無法",
    "我不能",
    "申し訳",
    "すみません",
    "ごめんなさい",
    "죄송",
    "미안",
];

/// Statements that only a language model makes about itself, in lower case.
const SELF_REFERENCES: &[&str] = &[
    "as an ai",
    "as a language model",
    "as a large language model",
    "als ki-",
    "als ki ",
    "als sprachmodell",
    "als ai-taalmodel",
    "como modelo de lenguaje",
    "como una ia",
    "como ia,",
    "como inteligencia artificial",
    "como um modelo de linguagem",
    "como uma ia",
    "en tant que modèle de langage",
    "en tant qu'ia",
    "en tant qu'intelligence artificielle",
    "come modello linguistico",
    "come ia,",
    "как языковая модель",
    "как искусственный интеллект",
    "jako model językowy",
    "bir dil modeli olarak",
    "yapay zeka olarak",
    "là một mô hình ngôn ngữ",
    "là một ai",
    "sebagai model bahasa",
    "كنموذج لغوي",
    "كذكاء اصطناعي",
    "एक भाषा मॉडल",
    "एक एआई",
    "作为一个人工智能",
    "作为人工智能",
    "作为ai",
    "作为一个ai",
    "作为语言模型",
    "言語モデルとして",
    "aiとして",
    "언어 모델로서",
    "ai로서",
];

/// Statements about the task, in lower case.
const TASK_STATEMENTS: &[&str] = &[
    "text to translate",
    "text you would like",
    "text you want",
    "the text is missing",
    "provide the text",
    "provide more context",
    "no text was provided",
    "no translation",
    "translation not available",
    "translation unavailable",
    "translation is not",
    "unable to translate",
    "cannot translate",
    "can't translate",
    "could not translate",
    "couldn't translate",
    "not translate this",
    "not translate that",
    "usage policies",
    "usage policy",
    "content policy",
    "content policies",
    "safety guidelines",
    "safety system",
    "content filter",
    "content was filtered",
    "zu übersetzenden text",
    "nicht übersetzen",
    "no puedo traducir",
    "texto a traducir",
    "ne peux pas traduire",
    "texte à traduire",
    "non posso tradurre",
    "não posso traduzir",
    "не могу перевести",
    "无法翻译",
    "無法翻譯",
    "不能翻译",
    "翻訳できません",
    "번역할 수 없",
    "لا أستطيع ترجمة",
    "لا يمكنني ترجمة",
    "अनुवाद नहीं कर",
    "không thể dịch",
];

/// Words of source texts that contain an apology or a refusal, in lower case.
const SOURCE_WORDS: &[&str] = &[
    "sorry",
    "apolog",
    "unfortunately",
    "regret",
    "pardon",
    "excuse",
    "cannot",
    "can't",
    "can not",
    "could not",
    "couldn't",
    "unable",
    "not able",
    "won't",
    "will not",
    "may not",
    "must not",
    "forgive",
    "alas",
];

/// Replies of a few letters instead of a translation, in lower case.
const PLACEHOLDERS: &[&str] = &[
    "n/a",
    "n.a.",
    "undefined",
    "[redacted]",
    "[translation]",
    "[text]",
    "[untranslatable]",
    "untranslatable",
];

/// English words that are rare in texts of other languages, in lower case.
const ENGLISH_WORDS: &[&str] = &[
    "the", "and", "that", "this", "these", "those", "you", "your", "with", "cannot", "can't",
    "don't", "doesn't", "isn't", "would", "could", "should", "please", "i'm", "i'd", "i'll",
    "it's", "which", "there", "been", "because", "seems", "appears",
];

/// Returns whether a reply in the language `to` is not a translation of `source`.
pub(super) fn is_refusal(source: &str, reply: &str, to: Language) -> bool {
    let normalized = |text: &str| text.trim().to_lowercase().replace('’', "'");
    let (source, reply) = (normalized(source), normalized(reply));
    let is_new = |phrases: &[&str]| {
        let contains = |text: &str| phrases.iter().any(|phrase| text.contains(phrase));
        contains(&reply) && !contains(&source)
    };
    if is_new(SELF_REFERENCES) {
        return true;
    }
    // Translations into English may contain any English phrase.
    if to.base() == "en" {
        return false;
    }
    let starts = |text: &str| STARTS.iter().any(|start| text.starts_with(start));
    let may_start = starts(&source)
        || SOURCE_WORDS.iter().any(|word| source.contains(word))
        || STARTS.iter().any(|start| start.len() > 4 && source.contains(start));
    (starts(&reply) && !may_start)
        || is_new(TASK_STATEMENTS)
        || (PLACEHOLDERS.contains(&reply.as_str()) && !source.contains(&reply))
        || is_english(&source, &reply)
}

/// Returns whether at least a quarter of the reply's words, and at least two, are English words that
/// are not in the source.
fn is_english(source: &str, reply: &str) -> bool {
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty())
    }
    let source_words: Vec<&str> = words(source).collect();
    let is_new = |word: &&str| ENGLISH_WORDS.contains(word) && !source_words.contains(word);
    let count = words(reply).filter(is_new).count();
    count >= 2 && 4 * count >= words(reply).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_statements_are_recognised() {
        let question = "When was the mill built?";
        for reply in [
            "I'm sorry, but I can't help with that.",
            "Sorry! I can’t do that.",
            "Apologies, but that request is beyond me.",
            "Es tut mir leid, aber ich kann diesen Text nicht übersetzen.",
            "Als KI-Sprachmodell kann ich das nicht.",
            "Lo siento, no puedo ayudar con eso.",
            "Je suis désolé, mais je ne peux pas traduire ce texte.",
            "Извините, я не могу.",
            "抱歉，我无法翻译。",
            "申し訳ありませんが、できません。",
            "This content may violate our usage policies.",
            "I don't see any text to translate.",
            "The text appears to be incomplete. Could you provide more context?",
            "It looks like this text is missing. Please check your input and the settings.",
            "The request was blocked by the safety system.",
            "Translation not available.",
            "N/A",
        ] {
            assert!(is_refusal(question, reply, Language::DE), "{reply}");
        }
        // Translations into English may contain these phrases, except for statements of a model
        // about itself.
        assert!(!is_refusal("¿Cuándo?", "I cannot say that this is the mill.", Language::EN));
        assert!(is_refusal("¿Cuándo?", "As an AI language model, I cannot.", Language::EN));
    }

    #[test]
    fn translations_are_not_refusals() {
        for (source, reply, to) in [
            ("I am sorry, said the miller.", "Es tut mir leid, sagte der Müller.", "de"),
            ("We cannot build this mill.", "No puedo construir este molino.", "es"),
            ("Who said \"lo siento\"?", "¿Quién dijo \"lo siento\"?", "es"),
            ("Who wrote The Lord of the Rings?", "Wer schrieb The Lord of the Rings?", "de"),
            ("Is The Sound and the Fury a song?", "Ist The Sound and the Fury ein Lied?", "de"),
            ("Is the city big or small?", "Is de stad groot of klein?", "nl"),
            ("What is a content filter?", "Was ist ein content filter?", "de"),
            ("N/A", "N/A", "de"),
            ("zero", "null", "de"),
            ("all", "todo", "es"),
            ("When was the mill built?", "Wann wurde die Mühle gebaut?", "de"),
        ] {
            assert!(!is_refusal(source, reply, to.parse().unwrap()), "{reply}");
        }
    }
}
