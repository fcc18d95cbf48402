//! Checks texts against a language, by script and, for Latin script, by frequent words. The check
//! is only precise enough to detect swapped files.
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::{DatasetName, Language};

/// Minimum number of letters or frequent words that is required to detect a different language.
const MIN_COUNT: u32 = 20;

/// Minimum percentage of letters in the language's script.
const MIN_SCRIPT_PERCENT: u32 = 30;

/// Minimum number of frequent words from which the language of a text in Latin script is detected.
const MIN_WORDS: u32 = 5;

const N_SCRIPTS: usize = 9;
const LATIN: usize = 0;
const CHINESE: usize = 3;
const KANA: usize = 7;

/// Inclusive ranges of code points.
type CodePoints = &'static [(char, char)];

/// Names of scripts, the ranges of their letters, and the number of
/// Latin letters of a text that is as long as one letter of the script.
const SCRIPTS: [(&str, CodePoints, u32); N_SCRIPTS] = [
    ("Latin", &[('A', 'Z'), ('a', 'z'), ('\u{c0}', '\u{24f}'), ('\u{1e00}', '\u{1eff}')], 1),
    ("Arabic", &[('\u{620}', '\u{64a}'), ('\u{671}', '\u{6d3}'), ('\u{fb50}', '\u{fefc}')], 1),
    ("Devanagari", &[('\u{904}', '\u{939}'), ('\u{93e}', '\u{94d}'), ('\u{958}', '\u{961}')], 1),
    ("Chinese", &[('\u{3400}', '\u{4dbf}'), ('\u{4e00}', '\u{9fff}')], 3),
    ("Greek", &[('\u{370}', '\u{3ff}'), ('\u{1f00}', '\u{1fff}')], 1),
    ("Cyrillic", &[('\u{400}', '\u{52f}')], 1),
    ("Thai", &[('\u{e01}', '\u{e4e}')], 1),
    ("Japanese kana", &[('\u{3041}', '\u{30ff}')], 2),
    ("Hangul", &[('\u{1100}', '\u{11ff}'), ('\u{ac00}', '\u{d7a3}')], 2),
];

const N_LANGUAGES: usize = 21;

/// Languages with their scripts and, for Latin script, frequent words.
const LANGUAGES: [(&str, &[&str], &str); N_LANGUAGES] = [
    (
        "en",
        &["Latin"],
        "the of and to is was what in did who when where which how many does for by on with from that are were an as it",
    ),
    (
        "es",
        &["Latin"],
        "de la el que los en y qué del las quién cuándo dónde cuál cómo una un por con fue se para su al",
    ),
    (
        "de",
        &["Latin"],
        "der die und das von den ist was wie des wer wo wann welche welcher welches hat dem ein eine im auf für mit zu wurde nicht sich",
    ),
    (
        "fr",
        &["Latin"],
        "le les des et est dans du une la de quel qui que quand où quelle comment un par pour été au sur en il",
    ),
    (
        "vi",
        &["Latin"],
        "của và các là được trong những cho đã gì nào nhiêu khi có một người với từ ở đâu",
    ),
    (
        "tr",
        &["Latin"],
        "ve bir bu için ile olarak ne hangi kaç kim nerede zaman da de olan çok kadar daha nasıl",
    ),
    (
        "ro",
        &["Latin"],
        "și în care din este ce pentru la de a cine când unde cum un o pe cu fost sunt al",
    ),
    (
        "it",
        &["Latin"],
        "di il la che e in un del è per chi quando dove quale come una con si da dei della le nel sono",
    ),
    (
        "pt",
        &["Latin"],
        "de o a que e do da em um para é com não uma os no na quem quando onde qual como foi por",
    ),
    (
        "nl",
        &["Latin"],
        "de het een en van in is wat wie waar wanneer welke hoe op te dat met voor door werd",
    ),
    (
        "pl",
        &["Latin"],
        "w i z na do się że jest kto co kiedy gdzie jaki jak który był przez od o oraz",
    ),
    (
        "sv",
        &["Latin"],
        "och i att det en är som på av för vem vad när var vilken hur den med till ett",
    ),
    ("ar", &["Arabic"], ""),
    ("hi", &["Devanagari"], ""),
    ("zh", &["Chinese"], ""),
    ("el", &["Greek"], ""),
    ("ru", &["Cyrillic"], ""),
    ("th", &["Thai"], ""),
    ("ja", &["Japanese kana", "Chinese"], ""),
    ("ko", &["Hangul"], ""),
    ("uk", &["Cyrillic"], ""),
];

/// The languages in whose lists a word is, as indices of [`LANGUAGES`].
static FREQUENT_WORDS: LazyLock<HashMap<String, Vec<usize>>> = LazyLock::new(|| {
    let mut words: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, (_, _, list)) in LANGUAGES.iter().enumerate() {
        for word in list.split_whitespace() {
            words.entry(language::fold(word).into_string()).or_default().push(index);
        }
    }
    words
});

/// Returns the languages of contexts and of questions according to a file's name. The result is
/// `None` if the name does not have the form of MLQA's or XQuAD's names.
///
/// # Errors
/// Returns a message if the name has the form of MLQA's or XQuAD's names, but is invalid.
pub(crate) fn expected_languages(name: &str) -> Result<Option<(Language, Language)>, String> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    if name.contains("-context-") || name.contains("-question-") {
        let dataset_name: DatasetName = name.parse().map_err(|error| format!("{error}"))?;
        return Ok(Some((dataset_name.context, dataset_name.question)));
    }
    let code = name.strip_prefix("xquad.").and_then(|rest| rest.split('.').next());
    match code.map(Language::registered) {
        None => Ok(None),
        Some(Ok(language)) => Ok(Some((language, language))),
        Some(Err(error)) => Err(format!("`{name}`: {error}")),
    }
}

/// Counts of letters by script and of frequent words by language, to distinguish languages.
///
/// ```
/// use mlqa_eval::LanguageCounts;
///
/// let question = LanguageCounts::of("Was ist die Hauptstadt von Peru?");
/// let passage = LanguageCounts::of("The capital of Peru is Lima, and it is in the west.");
/// assert_eq!(question.differs_from(passage.language()), Some(["de", "en"]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct LanguageCounts {
    /// Number of letters of each of [`SCRIPTS`].
    letters: [u32; N_SCRIPTS],
    /// Number of frequent words of each of [`LANGUAGES`].
    words: [u32; N_LANGUAGES],
}

/// The script of a text and, for Latin script, its language, as far as they were detected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextLanguage {
    /// Index of the script in [`SCRIPTS`].
    script: Option<u8>,
    /// Index of the language in [`LANGUAGES`].
    language: Option<u8>,
}

impl LanguageCounts {
    /// Returns the counts of a text.
    pub fn of(text: &str) -> Self {
        let mut counts = Self::default();
        counts.add(text);
        counts
    }

    /// Adds a text.
    pub fn add(&mut self, text: &str) {
        let folded = language::fold(text);
        for c in folded.as_str().chars() {
            let within = |blocks: CodePoints| blocks.iter().any(|&(a, z)| (a..=z).contains(&c));
            if let Some(script) = SCRIPTS.iter().position(|(_, blocks, _)| within(blocks)) {
                self.letters[script] = self.letters[script].saturating_add(1);
            }
        }
        for word in folded.as_str().split(|c: char| !c.is_alphanumeric()) {
            for &language in FREQUENT_WORDS.get(word).into_iter().flatten() {
                self.words[language] = self.words[language].saturating_add(1);
            }
        }
    }

    /// Returns the text's script and language. A script is detected from 20 letters on. In Latin
    /// script, a language is detected if the text has five of its frequent words, and at most two
    /// thirds as many of each other language's.
    pub fn language(&self) -> TextLanguage {
        let letters: u32 = self.letters.iter().sum();
        let script = max_index(&self.weights()).filter(|_| letters >= MIN_COUNT);
        let language = max_index(&self.words).filter(|&language| {
            let count = self.words[language];
            let others = self.words.iter().enumerate().filter(|&(other, _)| other != language);
            script == Some(LATIN)
                && count >= MIN_WORDS
                && others.into_iter().all(|(_, &other)| 3 * other <= 2 * count)
        });
        let index = |index: usize| u8::try_from(index).expect("few scripts and languages");
        TextLanguage { script: script.map(index), language: language.map(index) }
    }

    /// Compares a question with the language of a passage. If the question has hardly any letters
    /// of the passage's script, both scripts are returned. If the passage's language is known and
    /// the question seems to be in another language of Latin script, both languages are returned.
    ///
    /// A name in Latin script in a question of another script does not make the question's language
    /// Latin: half of the question's letters are required for Latin script, a fifth for other
    /// scripts. A Han character counts as three letters, kana and Hangul count as two. Han and kana
    /// are one script.
    pub fn differs_from(&self, passage: TextLanguage) -> Option<[&'static str; 2]> {
        let weights = self.weights();
        let total: u32 = weights.iter().sum();
        let script = usize::from(passage.script?);
        let in_script = match script {
            CHINESE | KANA => weights[CHINESE] + weights[KANA],
            _ => weights[script],
        };
        let min_percent = if script == LATIN { 50 } else { 20 };
        if 100 * in_script < min_percent * total {
            // The question's script is the most frequent one besides Latin, unless the text is
            // nearly all Latin.
            let mut others = weights;
            if 100 * (total - weights[LATIN]) >= 20 * total {
                others[LATIN] = 0;
            }
            return Some([SCRIPTS[max_index(&others)?].0, SCRIPTS[script].0]);
        }
        let passage_language = usize::from(passage.language?);
        let language = max_index(&self.words)?;
        let differs = self.words[language] >= 2 + self.words[passage_language];
        differs.then_some([LANGUAGES[language].0, LANGUAGES[passage_language].0])
    }

    /// Returns the number of letters of each script, as Latin letters of an equally long text.
    fn weights(&self) -> [u32; N_SCRIPTS] {
        std::array::from_fn(|script| self.letters[script].saturating_mul(SCRIPTS[script].2))
    }

    /// Returns the reason why the texts cannot be in a language, if there is one.
    pub fn contradicts(&self, language: Language) -> Option<String> {
        let index = LANGUAGES.iter().position(|(code, ..)| *code == language.base())?;
        let (code, scripts, words) = LANGUAGES[index];
        let letters: u32 = self.letters.iter().sum();
        let is_expected = |script: &usize| scripts.contains(&SCRIPTS[*script].0);
        let expected_letters: u32 =
            (0..N_SCRIPTS).filter(is_expected).map(|script| self.letters[script]).sum();
        let script = max_index(&self.letters)?;
        if letters < MIN_COUNT {
            return None;
        }
        if 100 * expected_letters < MIN_SCRIPT_PERCENT * letters {
            let (name, percent) = (SCRIPTS[script].0, 100 * self.letters[script] / letters);
            return Some(format!("{percent} % of their letters are {name}"));
        }
        if words.is_empty() {
            return None;
        }
        let other = max_index(&self.words)?;
        let (count, expected_count) = (self.words[other], self.words[index]);
        let contradicts = count >= MIN_COUNT && count > 3 * expected_count;
        contradicts.then(|| {
            let other = LANGUAGES[other].0;
            format!(
                "they contain {count} frequent words of `{other}` and {expected_count} of `{code}`"
            )
        })
    }
}

/// Returns the index of the highest count; `None` if all counts are 0.
fn max_index(counts: &[u32]) -> Option<usize> {
    let (index, count) = counts.iter().enumerate().max_by_key(|&(_, count)| count)?;
    (*count > 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_differs_from_passages_of_other_languages() {
        let passages = [
            "The observatory stands on a hill above the town, and it is open to visitors on most days.",
            "Die Sternwarte steht auf einem Hügel über der Stadt und ist an den meisten Tagen für alle geöffnet.",
            "El observatorio está en una colina y es uno de los más antiguos de la región, que se abre en el verano.",
            "天文台位于城镇上方的一座小山上，大多数日子对游客开放。它由一位天文学家于1843年建立。",
            "天文台は町の上の丘の上に立っており、ほとんどの日に見学者に開放されています。",
            "Обсерватория стоит на холме над городом и открыта для посетителей почти каждый день.",
            "يقع المرصد على تلة فوق المدينة وهو مفتوح للزوار في معظم أيام السنة.",
        ];
        let languages = passages.map(|passage| LanguageCounts::of(passage).language());
        let differs = |question: &str| {
            let question = LanguageCounts::of(question);
            languages.map(|language| question.differs_from(language).is_some())
        };
        let [no, yes] = [false, true];
        for (question, expected) in [
            ("Who founded the observatory in the hills?", [no, yes, yes, yes, yes, yes, yes]),
            (
                "Wer hat den Leuchtturm auf dem Gipfel gegründet?",
                [yes, no, yes, yes, yes, yes, yes],
            ),
            ("¿Quién fundó el observatorio de la colina?", [yes, yes, no, yes, yes, yes, yes]),
            ("Sky Digital是什么时候推出的？", [yes, yes, yes, no, no, yes, yes]),
            ("Кто основал Sky Digital Broadcasting?", [no, no, no, yes, yes, no, yes]),
            ("متى تأسس مرصد Steinfeld؟", [yes, yes, yes, yes, yes, yes, no]),
            // A question without frequent words can be in any language of its script.
            ("Steinfeld 1843", [no, no, no, yes, yes, yes, yes]),
        ] {
            assert_eq!(differs(question), expected, "{question}");
        }
        // Short and ambiguous texts have no language.
        assert_eq!(LanguageCounts::of("Lima, Peru").language(), TextLanguage::default());
        assert_eq!(LanguageCounts::of("1843").differs_from(languages[0]), None);
    }
}
