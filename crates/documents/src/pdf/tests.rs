//! Files that are built with lopdf.
use lopdf::content::{Content, Operation};
use lopdf::{Document, Object, ObjectId, Stream, StringFormat, dictionary};
use proptest::prelude::*;

use super::*;

/// A file under construction.
struct File {
    document: Document,
    pages: Vec<ObjectId>,
    fonts: lopdf::Dictionary,
    forms: lopdf::Dictionary,
}

impl File {
    /// A file with the font `F1`, whose encoding is WinAnsi.
    fn new() -> Self {
        let mut document = Document::with_version("1.5");
        let font = dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Courier", "Encoding" => "WinAnsiEncoding",
        };
        let font = document.add_object(font);
        let fonts = dictionary! { "F1" => font };
        Self { document, pages: Vec::new(), fonts, forms: lopdf::Dictionary::new() }
    }

    /// Adds the composite font `F2`, whose codes are two bytes, with these widths and texts.
    fn composite(self, widths: Vec<Object>, to_unicode: Option<&str>) -> Self {
        self.embedded(widths, to_unicode, None)
    }

    /// Adds the composite font `F2` with a TrueType file.
    fn embedded(
        mut self,
        widths: Vec<Object>,
        to_unicode: Option<&str>,
        program: Option<Vec<u8>>,
    ) -> Self {
        let mut descriptor = dictionary! { "Type" => "FontDescriptor" };
        if let Some(program) = program {
            let stream = Stream::new(lopdf::Dictionary::new(), program);
            descriptor.set("FontFile2", self.document.add_object(stream));
        }
        let descriptor = self.document.add_object(descriptor);
        let descendant = self.document.add_object(dictionary! {
            "Type" => "Font", "Subtype" => "CIDFontType2", "FontDescriptor" => descriptor, "W" => widths,
        });
        let mut font = dictionary! {
            "Type" => "Font", "Subtype" => "Type0", "BaseFont" => "Any", "Encoding" => "Identity-H",
            "DescendantFonts" => vec![descendant.into()],
        };
        if let Some(to_unicode) = to_unicode {
            let stream = Stream::new(lopdf::Dictionary::new(), to_unicode.as_bytes().to_vec());
            font.set("ToUnicode", self.document.add_object(stream));
        }
        let font = self.document.add_object(font);
        self.fonts.set("F2", font);
        self
    }

    /// Adds a form XObject.
    fn form(mut self, name: &str, content: &str) -> Self {
        let dictionary = dictionary! { "Type" => "XObject", "Subtype" => "Form" };
        let form = self.document.add_object(Stream::new(dictionary, content.as_bytes().to_vec()));
        self.forms.set(name, form);
        self
    }

    fn page(mut self, content: &str) -> Self {
        let stream = Stream::new(lopdf::Dictionary::new(), content.as_bytes().to_vec());
        let stream = self.document.add_object(stream);
        let page = self.document.add_object(dictionary! { "Type" => "Page", "Contents" => stream });
        self.pages.push(page);
        self
    }

    fn bytes(mut self) -> Vec<u8> {
        let kids: Vec<Object> = self.pages.iter().map(|&page| page.into()).collect();
        let pages = dictionary! {
            "Type" => "Pages", "Count" => i64::try_from(kids.len()).unwrap(), "Kids" => kids,
            "Resources" => dictionary! { "Font" => self.fonts, "XObject" => self.forms },
            "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
        };
        let pages = self.document.add_object(pages);
        for page in &self.pages {
            self.document.get_dictionary_mut(*page).unwrap().set("Parent", pages);
        }
        let catalog = dictionary! {
            "Type" => "Catalog", "Pages" => pages, "Lang" => Object::string_literal("de"),
        };
        let catalog = self.document.add_object(catalog);
        self.document.trailer.set("Root", catalog);
        let info = dictionary! { "Title" => Object::string_literal("A title") };
        let info = self.document.add_object(info);
        self.document.trailer.set("Info", info);
        let mut bytes = Vec::new();
        self.document.save_to(&mut bytes).unwrap();
        bytes
    }

    fn extract(self) -> Result<Extracted, String> {
        extract(self.bytes())
    }

    fn text(self) -> String {
        self.extract().unwrap().text
    }
}

const LIMA: &str = "BT /F1 10 Tf 50 700 Td (Lima is in Peru.) Tj ET";

#[test]
fn pages_have_text_title_and_language() {
    let file = File::new().page(LIMA).page("BT /F1 10 Tf 50 700 Td (S\\374den) Tj ET");
    let extracted = file.extract().unwrap();
    assert_eq!(extracted.text, "Lima is in Peru.\n\n\u{c}Süden\n\n\u{c}");
    assert_eq!(
        (extracted.title.as_deref(), extracted.language.as_deref()),
        (Some("A title"), Some("de"))
    );
    assert_eq!(crate::page_of(&extracted.text, extracted.text.find("Süden").unwrap()), Some(2));
}

#[test]
fn all_text_operators_show_text() {
    let content = "BT /F1 10 Tf 12 TL 50 700 Td [(Li) -5 (ma) -300 (is)] TJ T* (in) Tj (Peru) ' 0 0 (now.) \" ET";
    assert_eq!(File::new().page(content).text(), "Lima is in Peru now.\n\n\u{c}");
    // The gap is scaled with the text matrix.
    let scaled = "BT /F1 1 Tf 10 0 0 10 50 700 Tm (Lima) Tj 2.6 0 Td (is) Tj ET";
    assert_eq!(File::new().page(scaled).text(), "Lima is\n\n\u{c}");
}

#[test]
fn widths_may_be_ranges() {
    let map = "1 beginbfrange <0001> <0005> <0061> endbfrange";
    // With the range's width of 500, the second string starts at the end of the first.
    let widths =
        || vec![1.into(), 3.into(), 500.into(), 4.into(), vec![600.into(), 600.into()].into()];
    let content =
        "BT /F2 10 Tf 50 700 Td <000100020003> Tj 15 0 Td <00040005> Tj 14.5 0 Td <0001> Tj ET";
    let file = File::new().composite(widths(), Some(map)).page(content);
    assert_eq!(file.text(), "abcde a\n\n\u{c}");
}

#[test]
fn marks_are_where_their_outlines_are() {
    // Letters of width 500 from right to left at 20, 15 and 10, and a mark without width, whose
    // origin is 4 to the left of its outline.
    let map = "3 beginbfchar <0001> <064E> <0002> <0643> <0003> <0628> endbfchar";
    let widths = vec![1.into(), vec![0.into(), 500.into(), 500.into()].into()];
    let content =
        "BT /F2 10 Tf 20 700 Td <0002> Tj -5 0 Td <0003> Tj -3 0 Td <0001> Tj -2 0 Td <0002> Tj ET";
    let file = |program| File::new().embedded(widths.clone(), Some(map), program).page(content);
    let outline = crate::pdf::outlines::tests::truetype(300);
    assert_eq!(file(Some(outline)).text(), "كب\u{64e}ك\n\n\u{c}");
    // Without the file, the mark is over the letter at its origin.
    assert_eq!(file(None).text(), "كبك\u{64e}\n\n\u{c}");
}

#[test]
fn actual_text_replaces_glyphs_and_pagination_is_skipped() {
    let content = "/Artifact << /Type /Pagination /Subtype /Header >> BDC BT /F1 10 Tf 50 800 Td (Header) Tj ET EMC \
                   BT /F1 10 Tf 50 700 Td (a ) Tj /Span << /ActualText <FEFF092E> >> BDC (xyz) Tj EMC ( b) Tj ET";
    assert_eq!(File::new().page(content).text(), "a म b\n\n\u{c}");
}

#[test]
fn forms_are_read_and_may_not_contain_themselves() {
    let file = File::new().form("X", "/X Do BT /F1 10 Tf 50 600 Td (inside) Tj ET /X Do");
    assert_eq!(file.page(&format!("{LIMA} /X Do")).text(), "Lima is in Peru.\n\ninside\n\n\u{c}");
}

#[test]
fn files_with_too_many_operations_are_rejected() {
    // Each form contains the next one a hundred times.
    let mut file = File::new();
    for level in 0..8 {
        file = file.form(&format!("X{level}"), &format!("/X{} Do ", level + 1).repeat(100));
    }
    let error = read(&file.page("/X0 Do").bytes(), 1000).unwrap_err();
    assert!(error.contains("page 1: the file has more than 1000 drawing operations"), "{error}");
}

#[test]
fn files_without_text_are_rejected() {
    let scanned = File::new().page("0 0 1 rg 10 10 100 100 re f").page("");
    let error = scanned.extract().unwrap_err();
    assert!(error.contains("no text on any of the 2 pages") && error.contains("OCR"), "{error}");
    // Codes of a composite font without texts.
    let unmapped = File::new().composite(Vec::new(), None);
    let error = unmapped.page("BT /F2 10 Tf 50 700 Td <000100020003> Tj ET").extract().unwrap_err();
    assert!(error.contains("do not map to letters for 100 %"), "{error}");
    let partly = "BT /F2 10 Tf 50 700 Td <0001> Tj /F1 10 Tf 50 0 Td (Lima is) Tj ET";
    let warnings =
        File::new().composite(Vec::new(), None).page(LIMA).page(partly).extract().unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("page 2: "), "{warnings:?}");
}

#[test]
fn encrypted_files_are_rejected_unless_the_password_is_empty() {
    for (password, expected) in [("", Ok(())), ("secret", Err(()))] {
        let mut document = Document::load_mem(&File::new().page(LIMA).bytes()).unwrap();
        let id = Object::String(vec![7; 16], StringFormat::Hexadecimal);
        document.trailer.set("ID", vec![id.clone(), id]);
        let version = lopdf::EncryptionVersion::V2 {
            document: &document,
            owner_password: "owner",
            user_password: password,
            key_length: 128,
            permissions: lopdf::Permissions::all(),
        };
        let state = lopdf::EncryptionState::try_from(version).unwrap();
        document.encrypt(&state).unwrap();
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).unwrap();
        match (extract(bytes), expected) {
            (Ok(extracted), Ok(())) => assert_eq!(extracted.text, "Lima is in Peru.\n\n\u{c}"),
            (Err(error), Err(())) => assert!(error.contains("is encrypted"), "{error}"),
            (result, _) => panic!("password {password:?}: {result:?}"),
        }
    }
}

#[test]
fn a_panic_of_the_reader_is_an_error() {
    let thread = std::thread::Builder::new().name(THREAD.to_owned());
    silence_panics();
    assert!(thread.spawn(|| panic!("a fault")).unwrap().join().is_err());
    for bytes in
        [&b"%PDF-1.7"[..], b"", b"%PDF-1.7\ntrailer << /Root 1 0 R >>\nstartxref\n9\n%%EOF"]
    {
        let error = extract(bytes.to_vec()).unwrap_err();
        assert!(error.contains("damaged"), "{error}");
    }
}

#[test]
fn operations_of_a_content_stream_are_those_of_lopdf() {
    let operation = Operation::new("Tj", vec![Object::string_literal("Lima")]);
    let content = Content { operations: vec![Operation::new("BT", vec![]), operation] };
    let encoded = String::from_utf8(content.encode().unwrap()).unwrap();
    // Without a font, no text is shown.
    assert!(File::new().page(&encoded).extract().unwrap_err().contains("no text"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Damaged files end with an error or a text, and not with a panic of this crate.
    #[test]
    fn damaged_files_do_not_panic(position in 0.0..1.0f64, byte: u8, cut in 0.5..1.0f64) {
        let map = "1 beginbfrange <0001> <0005> <0061> endbfrange";
        let content = format!("{LIMA} BT /F2 10 Tf 50 600 Td <000100020003> Tj ET /X Do");
        let file = File::new().composite(vec![1.into(), 3.into(), 500.into()], Some(map)).form("X", LIMA);
        let mut bytes = file.page(&content).bytes();
        let index = (position * bytes.len() as f64) as usize;
        bytes[index] = byte;
        let read = extract(bytes.clone());
        prop_assert!(read.as_ref().map_or_else(|error| !error.contains("fault"), |_| true), "{read:?}");
        bytes.truncate((cut * bytes.len() as f64) as usize);
        let read = extract(bytes);
        prop_assert!(read.as_ref().map_or_else(|error| !error.contains("fault"), |_| true), "{read:?}");
    }
}
