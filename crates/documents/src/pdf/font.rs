//! Fonts: splits strings into codes, and returns their texts and widths.
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, SHIFT_JIS};
use lopdf::{Dictionary, Document, Object, Stream};
use ttf_parser::Face;

use super::characters::is_mark;
use super::cmap::{CMap, to_code};
use super::encoding::{self, CodeTexts};
use super::outlines::Program;

/// Maximum size of the streams of a font when they are decompressed.
const MAX_STREAM_BYTES: usize = 64 << 20;

/// The text of a code without a text.
pub const UNKNOWN: &str = "\u{fffd}";

/// A font.
#[derive(Debug)]
pub struct Font {
    codes: Codes,
    to_unicode: Option<CMap>,
    widths: Widths,
    /// Height of the characters, in units of the font size. It is about 1 except in Type 3 fonts.
    pub height: f32,
    /// Whether lines of this font run from top to bottom.
    pub is_vertical: bool,
    /// Texts of glyphs by the character map of an embedded font file, which is read if `ToUnicode`
    /// has no text.
    glyph_texts: OnceCell<HashMap<u16, char>>,
    program: Option<Program>,
    /// [`Program::middle`] by CID.
    middles: RefCell<HashMap<u32, Option<f32>>>,
}

/// How strings are divided into codes.
#[derive(Debug)]
enum Codes {
    /// One byte per code, with texts by the font's encoding.
    Simple(CodeTexts),
    /// Two bytes per code, which is the glyph's number.
    Identity,
    Map(CMap),
    /// UTF-16.
    Utf16,
    /// An encoding with one byte for ASCII characters and two or four for others.
    Legacy(&'static Encoding),
}

/// Advance widths of glyphs, in units of the font size.
#[derive(Debug)]
struct Widths {
    single: HashMap<u32, f32>,
    /// First and last glyph of ranges with the same width.
    ranges: Vec<(u32, u32, f32)>,
    default: f32,
}

/// A code in a string.
#[derive(Debug)]
pub struct Code<'a> {
    pub text: &'a str,
    /// Text that is not stored in the font; it takes the place of `text`.
    pub decoded: Option<String>,
    /// Advance in units of the font size.
    pub advance: f32,
    /// The horizontal middle of a mark's outline, in units of the font size; `None` if it is not
    /// known.
    pub middle: Option<f32>,
    /// Whether word spacing applies: the one-byte code 32.
    pub is_space: bool,
}

impl Font {
    /// Reads a font. Missing and invalid entries have the defaults of the PDF standard, because
    /// many files have them; codes without a text become [`UNKNOWN`].
    pub fn read(document: &Document, font: &Dictionary) -> Self {
        let subtype = font.get_deref(b"Subtype", document).and_then(Object::as_name);
        let to_unicode = stream(document, font, b"ToUnicode").map(|bytes| CMap::parse(&bytes));
        let name = name(document, font, b"BaseFont");
        match subtype {
            Ok(b"Type0") => Self::composite(document, font, to_unicode),
            Ok(b"Type3") => Self::type3(document, font, to_unicode),
            _ => Self {
                codes: Codes::Simple(simple_texts(document, font)),
                to_unicode,
                widths: simple_widths(document, font, &name, 0.001),
                height: 1.0,
                is_vertical: false,
                glyph_texts: OnceCell::new(),
                program: None,
                middles: RefCell::default(),
            },
        }
    }

    fn type3(document: &Document, font: &Dictionary, to_unicode: Option<CMap>) -> Self {
        let numbers = |key: &[u8]| numbers(document, font, key);
        let [scale, .., height] = match numbers(b"FontMatrix").as_slice() {
            &[a, _, _, d, ..] if a != 0.0 => [a.abs(), d.abs()],
            _ => [0.001; 2],
        };
        let box_height = match numbers(b"FontBBox").as_slice() {
            &[_, bottom, _, top] if top != bottom => ((top - bottom) * height).abs(),
            _ => 1.0,
        };
        Self {
            codes: Codes::Simple(simple_texts(document, font)),
            to_unicode,
            widths: simple_widths(document, font, b"", scale),
            height: box_height,
            is_vertical: false,
            glyph_texts: OnceCell::new(),
            program: None,
            middles: RefCell::default(),
        }
    }

    fn composite(document: &Document, font: &Dictionary, to_unicode: Option<CMap>) -> Self {
        let descendants = font.get_deref(b"DescendantFonts", document).and_then(Object::as_array);
        let descendant = descendants.ok().and_then(|fonts| dictionary(document, fonts.first()?));
        let encoding = name(document, font, b"Encoding");
        let codes = match stream(document, font, b"Encoding") {
            Some(bytes) => Codes::Map(CMap::parse(&bytes)),
            None => predefined(&encoding),
        };
        let is_vertical = encoding.ends_with(b"-V");
        let descriptor =
            descendant.and_then(|font| dictionary(document, font.get(b"FontDescriptor").ok()?));
        let program = descendant
            .zip(descriptor)
            .and_then(|(font, descriptor)| Program::read(document, font, descriptor));
        Self {
            codes,
            to_unicode,
            widths: descendant.map_or_else(
                || Widths { single: HashMap::new(), ranges: Vec::new(), default: 1.0 },
                |font| composite_widths(document, font),
            ),
            height: 1.0,
            is_vertical,
            glyph_texts: OnceCell::new(),
            program,
            middles: RefCell::default(),
        }
    }

    /// Returns the first code of a string and its length in bytes. The string is not empty.
    pub fn next_code(&self, bytes: &[u8]) -> (Code<'_>, usize) {
        let first = u32::from(bytes[0]);
        let pair = bytes.len().min(2);
        let (code, glyph, length) = match &self.codes {
            Codes::Simple(_) => (first, first, 1),
            Codes::Identity => (to_code(&bytes[..pair]), to_code(&bytes[..pair]), pair),
            Codes::Map(map) => {
                let (code, length) = map.next_code(bytes);
                (code, map.cids.get(&code).copied().unwrap_or(code), length) // maps without CIDs
            }
            Codes::Utf16 => {
                let is_pair = (0xd8..0xdc).contains(&first);
                let length = bytes.len().min(if is_pair { 4 } else { 2 });
                (to_code(&bytes[..length]), u32::MAX, length)
            }
            Codes::Legacy(encoding) => {
                let length = legacy_length(encoding, bytes);
                (to_code(&bytes[..length]), u32::MAX, length)
            }
        };
        let bytes = &bytes[..length];
        let (text, decoded) = match self.text(code, bytes) {
            Some(text) => (text, None),
            None => (UNKNOWN, self.decode(glyph, bytes)),
        };
        // Widths of other encodings are by glyphs that are not known here.
        let is_half = glyph == u32::MAX && length == 1;
        let advance = if is_half { 0.5 } else { self.widths.get(glyph) };
        let middle = self.middle(decoded.as_deref().unwrap_or(text), glyph); // the text of the font
        let is_space = length == 1 && first == 32;
        (Code { text, decoded, advance, middle, is_space }, length)
    }

    /// Returns the horizontal middle of a mark's outline.
    fn middle(&self, text: &str, glyph: u32) -> Option<f32> {
        let program = self.program.as_ref()?;
        if text.is_empty() || !text.chars().all(is_mark) {
            return None;
        }
        *self.middles.borrow_mut().entry(glyph).or_insert_with(|| program.middle(glyph))
    }

    fn text(&self, code: u32, bytes: &[u8]) -> Option<&str> {
        if let Some(text) = self.to_unicode.as_ref().and_then(|map| map.texts.get(&code)) {
            return Some(text);
        }
        match &self.codes {
            Codes::Simple(texts) => texts[usize::from(bytes[0])].as_deref(),
            Codes::Map(map) => map.texts.get(&code).map(|text| &**text),
            Codes::Identity | Codes::Utf16 | Codes::Legacy(_) => None,
        }
    }

    fn decode(&self, glyph: u32, bytes: &[u8]) -> Option<String> {
        match self.codes {
            Codes::Simple(_) => None,
            Codes::Identity | Codes::Map(_) => {
                let texts = self.glyph_texts.get_or_init(|| {
                    let program = self.program.as_ref();
                    program.map_or_else(HashMap::new, |program| texts_by_glyph(&program.bytes))
                });
                texts.get(&u16::try_from(glyph).ok()?).map(char::to_string)
            }
            Codes::Utf16 => {
                let units =
                    bytes.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
                String::from_utf16(&units.collect::<Vec<_>>()).ok()
            }
            Codes::Legacy(encoding) => {
                encoding.decode_without_bom_handling_and_without_replacement(bytes).map(Into::into)
            }
        }
    }
}

/// Returns the codes of a predefined map. The maps with Unicode and with legacy encodings have no
/// glyph numbers here, because only widths depend on these.
fn predefined(name: &[u8]) -> Codes {
    let name = String::from_utf8_lossy(name);
    let is_one_of = |parts: &[&str]| parts.iter().any(|part| name.starts_with(part));
    match () {
        () if name.contains("-UCS2-") || name.contains("-UTF16-") => Codes::Utf16,
        () if is_one_of(&["GB-EUC", "GBK", "GBpc-EUC"]) => Codes::Legacy(GB18030),
        () if is_one_of(&["B5pc", "HKscs-B5", "ETen", "ETHK"]) => Codes::Legacy(BIG5),
        () if name.contains("RKSJ") => Codes::Legacy(SHIFT_JIS),
        () if is_one_of(&["EUC-"]) => Codes::Legacy(EUC_JP),
        () if is_one_of(&["KSC-EUC", "KSCms-UHC", "KSCpc-EUC"]) => Codes::Legacy(EUC_KR),
        () => Codes::Identity,
    }
}

fn legacy_length(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let is_single = match bytes[0] {
        ..0x80 => true,
        // Half-width katakana.
        0xa1..=0xdf => encoding == SHIFT_JIS,
        _ => false,
    };
    let is_long = encoding == GB18030 && bytes.get(1).is_some_and(u8::is_ascii_digit);
    bytes.len().min(if is_single {
        1
    } else if is_long {
        4
    } else {
        2
    })
}

/// Returns the character of each glyph by the character map of a TrueType font.
fn texts_by_glyph(program: &[u8]) -> HashMap<u16, char> {
    let mut texts = HashMap::new();
    let cmap = Face::parse(program, 0).ok().and_then(|face| face.tables().cmap);
    for subtable in cmap.into_iter().flat_map(|cmap| cmap.subtables) {
        if !subtable.is_unicode() {
            continue;
        }
        subtable.codepoints(|code| {
            if let (Some(glyph), Some(char)) = (subtable.glyph_index(code), char::from_u32(code)) {
                texts.entry(glyph.0).or_insert(char);
            }
        });
    }
    texts
}

/// Returns the texts of the codes of a simple font by its encoding.
fn simple_texts(document: &Document, font: &Dictionary) -> CodeTexts {
    let standard = || encoding::base(b"StandardEncoding").expect("a base encoding");
    let descriptor = font.get(b"FontDescriptor").ok().and_then(|font| dictionary(document, font));
    let built_in = || {
        let file = |key: &[u8]| stream(document, descriptor?, key);
        file(b"FontFile")
            .and_then(|program| encoding::of_type1(&program))
            .or_else(|| file(b"FontFile3").and_then(|program| encoding::of_cff(&program)))
            .or_else(|| file(b"FontFile2").and_then(|program| encoding::of_truetype(&program)))
            .unwrap_or_else(standard)
    };
    let encoding = font.get_deref(b"Encoding", document).ok();
    let Some(Object::Dictionary(encoding)) = encoding else {
        let name = encoding.and_then(|encoding| encoding.as_name().ok());
        return name.and_then(encoding::base).unwrap_or_else(built_in);
    };
    let base = encoding.get_deref(b"BaseEncoding", document).and_then(Object::as_name).ok();
    let mut texts = base.and_then(encoding::base).unwrap_or_else(built_in);
    let differences = encoding.get_deref(b"Differences", document).and_then(Object::as_array);
    let mut code = 0;
    for object in differences.into_iter().flatten() {
        match document.dereference(object) {
            Ok((_, Object::Name(name))) => {
                if let Some(text) = texts.get_mut(code) {
                    *text = encoding::glyph_text(name);
                }
                code = code.saturating_add(1);
            }
            Ok((_, Object::Integer(number))) => {
                // No code of the font.
                let Ok(number) = usize::try_from(*number) else { break };
                code = number;
            }
            _ => {}
        }
    }
    texts
}

fn simple_widths(document: &Document, font: &Dictionary, name: &[u8], scale: f32) -> Widths {
    let descriptor = font.get(b"FontDescriptor").ok().and_then(|font| dictionary(document, font));
    let missing = descriptor.map(|descriptor| number(document, descriptor, b"MissingWidth"));
    let first = number(document, font, b"FirstChar").unwrap_or(0.0); // the standard's default
    let widths = numbers(document, font, b"Widths");
    let default = match missing.flatten() {
        Some(width) => width * scale,
        None if !widths.is_empty() => 0.0,
        // The standard fonts have no widths in a file.
        None if name.windows(7).any(|window| window == b"Courier") => 0.6,
        None => 0.5,
    };
    let codes = (first as u32)..;
    let single = codes.zip(widths).map(|(code, width)| (code, width * scale)).collect();
    Widths { single, ranges: Vec::new(), default }
}

fn composite_widths(document: &Document, font: &Dictionary) -> Widths {
    let default = number(document, font, b"DW").unwrap_or(1000.0) / 1000.0; // the standard's default
    let mut widths = Widths { single: HashMap::new(), ranges: Vec::new(), default };
    let items = font.get_deref(b"W", document).and_then(Object::as_array);
    let items: Vec<&Object> = items
        .into_iter()
        .flatten()
        .filter_map(|item| Some(document.dereference(item).ok()?.1))
        .collect();
    let mut rest = items.as_slice();
    loop {
        rest = match rest {
            [first, Object::Array(list), rest @ ..] => {
                let Ok(first) = first.as_float() else { break };
                let numbers = list.iter().map(|width| {
                    document.dereference(width).and_then(|(_, width)| width.as_float())
                });
                for (glyph, width) in ((first as u32)..).zip(numbers) {
                    widths.single.extend(width.ok().map(|width| (glyph, width / 1000.0)));
                }
                rest
            }
            [first, last, width, rest @ ..] => {
                let [Ok(first), Ok(last), Ok(width)] =
                    [first, last, width].map(|item| item.as_float())
                else {
                    break;
                };
                widths.ranges.push((first as u32, last as u32, width / 1000.0));
                rest
            }
            _ => break,
        };
    }
    widths
}

impl Widths {
    fn get(&self, glyph: u32) -> f32 {
        let range =
            || self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&glyph));
        let width = self.single.get(&glyph).copied();
        width.or_else(|| range().map(|&(_, _, width)| width)).unwrap_or(self.default)
    }
}

/// Returns a dictionary or the dictionary that an object refers to.
pub fn dictionary<'a>(document: &'a Document, object: &'a Object) -> Option<&'a Dictionary> {
    document.dereference(object).ok()?.1.as_dict().ok()
}

fn name(document: &Document, dictionary: &Dictionary, key: &[u8]) -> Vec<u8> {
    let name = dictionary.get_deref(key, document).and_then(Object::as_name);
    // An absent name matches nothing.
    name.map_or_else(|_| Vec::new(), <[u8]>::to_vec)
}

fn number(document: &Document, dictionary: &Dictionary, key: &[u8]) -> Option<f32> {
    dictionary.get_deref(key, document).and_then(Object::as_float).ok()
}

/// Returns the numbers of an array. An element that is not a number is 0.
pub fn numbers(document: &Document, dictionary: &Dictionary, key: &[u8]) -> Vec<f32> {
    let array = dictionary.get_deref(key, document).and_then(Object::as_array);
    let number = |object| document.dereference(object).and_then(|(_, number)| number.as_float());
    array.into_iter().flatten().map(|object| number(object).unwrap_or(0.0)).collect() // damaged
}

/// Returns the decompressed content of a stream in a dictionary; `None` if it is absent, damaged or
/// too large.
pub fn stream(document: &Document, dictionary: &Dictionary, key: &[u8]) -> Option<Vec<u8>> {
    content(dictionary.get_deref(key, document).and_then(Object::as_stream).ok()?)
}

/// Returns the decompressed content of a stream; `None` if it is damaged or too large.
pub fn content(stream: &Stream) -> Option<Vec<u8>> {
    stream.get_plain_content_with_limit(MAX_STREAM_BYTES).ok()
}
