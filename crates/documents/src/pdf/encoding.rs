//! Texts of the codes of simple fonts: base encodings, glyph names, and the encoding in a font file.
use lopdf::{Dictionary, Document, Object};
use ttf_parser::{Face, cff};

/// Text of each code of a simple font; `None` if the code is not defined.
pub type CodeTexts = Vec<Option<Box<str>>>;

/// Returns the table of a base encoding, such as `WinAnsiEncoding`; `None` for an unknown name.
pub fn base(name: &[u8]) -> Option<CodeTexts> {
    const NAMES: [&[u8]; 4] =
        [b"StandardEncoding", b"MacRomanEncoding", b"MacExpertEncoding", b"WinAnsiEncoding"];
    NAMES.contains(&name).then(|| {
        let font = font(Object::Name(name.to_owned()));
        (0..=u8::MAX).map(|code| lookup(&font, code)).collect()
    })
}

/// Returns the text of a glyph by its name, with the rules of the Adobe Glyph List Specification:
/// <https://github.com/adobe-type-tools/agl-specification>.
pub fn glyph_text(name: &[u8]) -> Option<Box<str>> {
    let name = name.split(|&byte| byte == b'.').next()?;
    let mut text = String::new();
    for component in name.split(|&byte| byte == b'_') {
        text.push_str(&component_text(component)?);
    }
    (!text.is_empty()).then(|| text.into())
}

fn component_text(name: &[u8]) -> Option<Box<str>> {
    // lopdf's glyph list can be searched only through the differences of a font's encoding.
    let differences = vec![Object::Integer(0), Object::Name(name.to_owned())];
    let encoding = Dictionary::from_iter([("Differences", Object::Array(differences))]);
    lookup(&font(Object::Dictionary(encoding)), 0).or_else(|| {
        let name = std::str::from_utf8(name).ok()?;
        let digits = name.strip_prefix("uni").filter(|digits| digits.len() % 4 == 0);
        if let Some(digits) = digits {
            let units = digits
                .as_bytes()
                .chunks(4)
                .map(|digits| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
            return Some(String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()?.into());
        }
        let digits = name.strip_prefix('u').filter(|digits| (4..=6).contains(&digits.len()))?;
        let char = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
        Some(char.to_string().into())
    })
}

fn font(encoding: Object) -> Dictionary {
    let kind = Object::Name(b"Font".to_vec());
    Dictionary::from_iter([("Type", kind), ("Encoding", encoding)])
}

fn lookup(font: &Dictionary, code: u8) -> Option<Box<str>> {
    let document = Document::new();
    let text = font.get_font_encoding(&document).ok()?.bytes_to_string(&[code]).ok()?;
    // lopdf uses the standard encoding for a font with an unknown glyph name; it has no code 0.
    (!text.is_empty()).then(|| text.into())
}

/// Returns the encoding in the clear text of a Type 1 font program. `None` if it is the standard
/// encoding.
pub fn of_type1(program: &[u8]) -> Option<CodeTexts> {
    let start = program.windows(9).position(|window| window == b"/Encoding")?;
    let end = program.windows(5).position(|window| window == b"eexec").unwrap_or(program.len()); // no private part
    let section = program.get(start + 9..end)?;
    let mut words = section.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut texts: CodeTexts = vec![None; 256];
    let mut has_code = false;
    while let Some(word) = words.next() {
        match word {
            b"StandardEncoding" | b"def" if !has_code => return None,
            b"def" | b"readonly" => break,
            b"dup" => {
                let number = words.next().and_then(|word| std::str::from_utf8(word).ok());
                let number: Option<usize> = number.and_then(|word| word.parse().ok());
                let name = words.next().and_then(|word| word.strip_prefix(b"/"));
                if let (Some(code @ ..256), Some(name)) = (number, name) {
                    texts[code] = glyph_text(name);
                    has_code = true;
                }
            }
            _ => {}
        }
    }
    Some(texts)
}

/// Returns the encoding of a CFF font program.
pub fn of_cff(program: &[u8]) -> Option<CodeTexts> {
    let table = cff::Table::parse(program)?;
    let text = |code| {
        table.glyph_name(table.glyph_index(code)?).and_then(|name| glyph_text(name.as_bytes()))
    };
    Some((0..=u8::MAX).map(text).collect())
}

/// Returns the encoding of a symbolic TrueType font program, by its character map and glyph names.
pub fn of_truetype(program: &[u8]) -> Option<CodeTexts> {
    let face = Face::parse(program, 0).ok()?;
    let cmap = face.tables().cmap?;
    let text = |code: u8| {
        let glyph = cmap.subtables.into_iter().find_map(|subtable| {
            let code = u32::from(code);
            subtable.glyph_index(0xf000 + code).or_else(|| subtable.glyph_index(code))
        });
        face.glyph_name(glyph?).and_then(|name| glyph_text(name.as_bytes()))
    };
    Some((0..=u8::MAX).map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glyph_names_have_texts() {
        let cases = [
            ("A", "A"),
            ("adieresis", "ä"),
            ("ff", "\u{fb00}"),
            ("f_i", "fi"),
            ("uni20AC", "€"),
            ("uni06440627", "لا"),
            ("u1F600", "😀"),
            ("a.sc", "a"),
            ("afii10017", "А"),
        ];
        for (name, text) in cases {
            assert_eq!(glyph_text(name.as_bytes()).as_deref(), Some(text), "{name}");
        }
        for name in [".notdef", "g37", "uniXYZW", "", "u12"] {
            assert_eq!(glyph_text(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn encodings_have_texts() {
        let win = base(b"WinAnsiEncoding").map(|texts| texts[0xfc].clone());
        assert_eq!(win.flatten().as_deref(), Some("ü"));
        assert_eq!(base(b"Identity-H"), None);
        let type1 =
            b"%!PS\n/Encoding 256 array\n0 1 255 {1 index exch /.notdef put} for\ndup 12 /fi put\n\
                      dup 65 /A put\nreadonly def\ncurrentfile eexec dup 66 /B put";
        let texts = of_type1(type1).unwrap_or_default();
        assert_eq!(
            (texts[12].as_deref(), texts[65].as_deref(), &texts[66]),
            (Some("\u{fb01}"), Some("A"), &None)
        );
        assert_eq!(of_type1(b"/Encoding StandardEncoding def eexec"), None);
    }
}
