//! Interprets content streams: the glyphs of a page with their positions, in the order of the file.
use std::collections::HashMap;
use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream};

use super::font::{Font, content, dictionary, numbers};
use super::geometry::{Matrix, Vector};

/// Maximum size of a page's content streams when they are decompressed.
const MAX_CONTENT_BYTES: usize = 64 << 20;

/// Maximum number of operations of a file. Form XObjects can contain each other, so a small file can
/// have very many.
pub const MAX_OPERATIONS: u64 = 50_000_000;

/// Maximum number of glyphs of a file.
const MAX_GLYPHS: usize = 20_000_000;

/// Maximum nesting of form XObjects and of saved graphics states.
const MAX_DEPTH: usize = 256;
const MAX_FORMS: usize = 16;

/// A glyph, or several glyphs with a common text.
#[derive(Clone, Debug)]
pub struct Glyph {
    pub text: Box<str>,
    /// Position of the origin on the page.
    pub start: Vector,
    /// Position of the end on the page; the next glyph of a word starts about here.
    pub end: Vector,
    /// Position of the middle of a mark's outline on the page, if the font is embedded.
    pub middle: Option<Vector>,
    /// Direction of the line, of length 1.
    pub direction: Vector,
    /// Font size on the page.
    pub size: f32,
}

/// Reads the glyphs of pages.
pub struct Interpreter<'a> {
    document: &'a Document,
    /// Fonts by the address of their dictionary.
    fonts: HashMap<*const Dictionary, Rc<Font>>,
    operations: u64,
    max_operations: u64,
    total_glyphs: usize,
    glyphs: Vec<Glyph>,
    /// Streams of the form XObjects that are being interpreted.
    forms: Vec<*const Stream>,
    marks: Vec<Mark>,
}

/// A marked-content sequence.
enum Mark {
    Other,
    /// A header, a footer or another repeated part of pages: its glyphs are skipped.
    Artifact,
    /// A text that replaces the glyphs from this index.
    Replacement(usize, Box<str>),
}

#[derive(Clone)]
struct State {
    ctm: Matrix,
    font: Option<Rc<Font>>,
    size: f32,
    char_spacing: f32,
    word_spacing: f32,
    /// Horizontal scaling; 1 is 100 %.
    scale: f32,
    leading: f32,
    rise: f32,
}

impl<'a> Interpreter<'a> {
    pub fn new(document: &'a Document, max_operations: u64) -> Self {
        Self {
            document,
            fonts: HashMap::new(),
            operations: 0,
            max_operations,
            total_glyphs: 0,
            glyphs: Vec::new(),
            forms: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Returns the glyphs of a page.
    pub fn page(&mut self, page: ObjectId) -> Result<Vec<Glyph>, String> {
        let bytes = self.document.get_page_content_with_limit(page, MAX_CONTENT_BYTES);
        let bytes = bytes.map_err(|error| error.to_string())?;
        self.marks.clear();
        let state = State {
            ctm: Matrix::IDENTITY,
            font: None,
            size: 0.0,
            char_spacing: 0.0,
            word_spacing: 0.0,
            scale: 1.0,
            leading: 0.0,
            rise: 0.0,
        };
        self.interpret(&bytes, self.resources(page), state)?;
        self.total_glyphs += self.glyphs.len();
        Ok(std::mem::take(&mut self.glyphs))
    }

    /// Returns the resources of a page, which may be those of a node above it.
    fn resources(&self, page: ObjectId) -> Option<&'a Dictionary> {
        let mut node = self.document.get_dictionary(page).ok()?;
        for _ in 0..MAX_DEPTH {
            if let Ok(resources) = node.get(b"Resources") {
                return dictionary(self.document, resources);
            }
            node = dictionary(self.document, node.get(b"Parent").ok()?)?;
        }
        None
    }

    fn interpret(
        &mut self,
        bytes: &[u8],
        resources: Option<&'a Dictionary>,
        mut state: State,
    ) -> Result<(), String> {
        let mut saved: Vec<State> = Vec::new();
        let n_marks = self.marks.len();
        let (mut text, mut line) = (Matrix::IDENTITY, Matrix::IDENTITY);
        // The operations before a damaged one are used, as in viewers.
        for operation in Content::decode_iter(bytes).map_while(Result::ok) {
            self.operations += 1;
            if self.operations > self.max_operations {
                return Err(format!(
                    "the file has more than {} drawing operations",
                    self.max_operations
                ));
            }
            let Operation { operator, operands } = &operation;
            let number = |index: usize| operands.get(index).and_then(|one| one.as_float().ok());
            let number_or_zero = |index: usize| number(index).unwrap_or(0.0); // damaged
            let matrix = || {
                Some(Matrix([
                    number(0)?,
                    number(1)?,
                    number(2)?,
                    number(3)?,
                    number(4)?,
                    number(5)?,
                ]))
            };
            match operator.as_str() {
                "q" if saved.len() < MAX_DEPTH => saved.push(state.clone()),
                "Q" => state = saved.pop().unwrap_or(state), // a damaged file
                "cm" => state.ctm = matrix().unwrap_or(Matrix::IDENTITY).then(&state.ctm), // damaged
                "BT" => (text, line) = (Matrix::IDENTITY, Matrix::IDENTITY),
                "Tc" => state.char_spacing = number_or_zero(0),
                "Tw" => state.word_spacing = number_or_zero(0),
                "Tz" => state.scale = number_or_zero(0) / 100.0,
                "TL" => state.leading = number_or_zero(0),
                "Ts" => state.rise = number_or_zero(0),
                "Tf" => {
                    let name = operands.first().and_then(|name| name.as_name().ok());
                    state.font = name.and_then(|name| self.font(resources, name));
                    state.size = number_or_zero(1);
                }
                "gs" => self.apply_state(resources, operands, &mut state),
                "Td" | "TD" => {
                    if operator == "TD" {
                        state.leading = -number_or_zero(1);
                    }
                    line = Matrix::translation(number_or_zero(0), number_or_zero(1)).then(&line);
                    text = line;
                }
                "Tm" => {
                    line = matrix().unwrap_or(Matrix::IDENTITY); // damaged
                    text = line;
                }
                "T*" | "'" | "\"" => {
                    if operator == "\"" {
                        state.word_spacing = number_or_zero(0);
                        state.char_spacing = number_or_zero(1);
                    }
                    line = Matrix::translation(0.0, -state.leading).then(&line);
                    text = line;
                    if let Some(Object::String(string, _)) = operands.last() {
                        self.show(string, &state, &mut text)?;
                    }
                }
                "Tj" => {
                    if let Some(Object::String(string, _)) = operands.first() {
                        self.show(string, &state, &mut text)?;
                    }
                }
                "TJ" => {
                    for part in operands
                        .first()
                        .and_then(|parts| parts.as_array().ok())
                        .into_iter()
                        .flatten()
                    {
                        match part {
                            Object::String(string, _) => self.show(string, &state, &mut text)?,
                            adjustment => {
                                let shift =
                                    -adjustment.as_float().unwrap_or(0.0) / 1000.0 * state.size; // damaged
                                text = state.translation(shift).then(&text);
                            }
                        }
                    }
                }
                "Do" => {
                    let name = operands.first().and_then(|name| name.as_name().ok());
                    if let Some(form) = name.and_then(|name| self.form(resources, name)) {
                        self.interpret_form(form, resources, &state)?;
                    }
                }
                "BMC" | "BDC" => {
                    let mark = self.mark(resources, operands);
                    self.marks.push(mark);
                }
                "EMC" if self.marks.len() > n_marks => self.end_mark(),
                _ => {}
            }
        }
        while self.marks.len() > n_marks {
            self.end_mark();
        }
        Ok(())
    }

    /// Returns a resource of a category, such as `Font`.
    fn resource(
        &self,
        resources: Option<&'a Dictionary>,
        category: &[u8],
        name: &[u8],
    ) -> Option<&'a Object> {
        let category = dictionary(self.document, resources?.get(category).ok()?)?;
        Some(self.document.dereference(category.get(name).ok()?).ok()?.1)
    }

    fn font(&mut self, resources: Option<&'a Dictionary>, name: &[u8]) -> Option<Rc<Font>> {
        let font = self.resource(resources, b"Font", name)?.as_dict().ok()?;
        Some(self.cached_font(font))
    }

    fn cached_font(&mut self, font: &'a Dictionary) -> Rc<Font> {
        let read = || Rc::new(Font::read(self.document, font));
        self.fonts.entry(std::ptr::from_ref(font)).or_insert_with(read).clone()
    }

    /// Applies the font of a graphics state dictionary.
    fn apply_state(
        &mut self,
        resources: Option<&'a Dictionary>,
        operands: &[Object],
        state: &mut State,
    ) {
        let name = operands.first().and_then(|name| name.as_name().ok());
        let values =
            name.and_then(|name| self.resource(resources, b"ExtGState", name)?.as_dict().ok());
        let font = values
            .and_then(|values| values.get_deref(b"Font", self.document).ok()?.as_array().ok());
        if let Some([font, size]) = font.map(Vec::as_slice)
            && let (Some(font), Ok(size)) = (dictionary(self.document, font), size.as_float())
        {
            (state.font, state.size) = (Some(self.cached_font(font)), size);
        }
    }

    fn form(&self, resources: Option<&'a Dictionary>, name: &[u8]) -> Option<&'a Stream> {
        let stream = self.resource(resources, b"XObject", name)?.as_stream().ok()?;
        let subtype = stream.dict.get_deref(b"Subtype", self.document).and_then(Object::as_name);
        matches!(subtype, Ok(b"Form")).then_some(stream)
    }

    fn interpret_form(
        &mut self,
        form: &'a Stream,
        resources: Option<&'a Dictionary>,
        state: &State,
    ) -> Result<(), String> {
        let address = std::ptr::from_ref(form);
        if self.forms.contains(&address) || self.forms.len() == MAX_FORMS {
            return Ok(());
        }
        let Some(bytes) = content(form) else { return Ok(()) };
        let mut state = state.clone();
        if let [a, b, c, d, e, f] = numbers(self.document, &form.dict, b"Matrix")[..] {
            state.ctm = Matrix([a, b, c, d, e, f]).then(&state.ctm);
        }
        let own = form.dict.get(b"Resources").ok().and_then(|own| dictionary(self.document, own));
        self.forms.push(address);
        let result = self.interpret(&bytes, own.or(resources), state);
        self.forms.pop();
        result
    }

    fn show(&mut self, string: &[u8], state: &State, text: &mut Matrix) -> Result<(), String> {
        let Some(font) = &state.font else { return Ok(()) };
        let is_skipped = self.marks.iter().any(|mark| matches!(mark, Mark::Artifact));
        let mut rest = string;
        while !rest.is_empty() {
            let (code, length) = font.next_code(rest);
            rest = &rest[length..];
            let spacing = state.char_spacing + if code.is_space { state.word_spacing } else { 0.0 };
            // In vertical lines, glyphs are a font size high.
            let advance = if font.is_vertical { -1.0 } else { code.advance };
            let advance = state.translation(advance * state.size + spacing).then(text);
            if !is_skipped {
                let place = |matrix: &Matrix| {
                    matrix.then(&state.ctm).apply(Vector { x: 0.0, y: state.rise })
                };
                let (start, end) = (place(text), place(&advance));
                let middle = code.middle.filter(|_| !font.is_vertical);
                let middle =
                    middle.map(|middle| place(&state.translation(middle * state.size).then(text)));
                let page = text.then(&state.ctm);
                let unit = if font.is_vertical { [0.0, -1.0] } else { [state.scale.signum(), 0.0] };
                let direction = page.apply_vector(Vector { x: unit[0], y: unit[1] });
                let up = page.apply_vector(Vector { x: 0.0, y: state.size * font.height });
                let decoded = code.decoded.as_deref().unwrap_or(code.text); // the text of the font
                let is_finite =
                    [start.x, start.y, end.x, end.y].iter().all(|number| number.is_finite());
                if let Some(direction) = direction.normalized().filter(|_| is_finite) {
                    self.glyphs.push(Glyph {
                        text: decoded.into(),
                        start,
                        end,
                        middle,
                        direction,
                        size: up.length(),
                    });
                }
            }
            *text = advance;
        }
        match self.total_glyphs + self.glyphs.len() > MAX_GLYPHS {
            true => Err(format!("the file has more than {MAX_GLYPHS} glyphs")),
            false => Ok(()),
        }
    }

    fn mark(&self, resources: Option<&'a Dictionary>, operands: &[Object]) -> Mark {
        let tag = operands.first().and_then(|tag| tag.as_name().ok());
        let properties = match operands.get(1) {
            Some(Object::Name(name)) => self.resource(resources, b"Properties", name),
            Some(Object::Reference(_)) | None => None,
            inline => inline.and_then(|inline| Some(self.document.dereference(inline).ok()?.1)),
        };
        let Some(properties) = properties.and_then(|properties| properties.as_dict().ok()) else {
            return Mark::Other;
        };
        let name =
            |key: &[u8]| properties.get_deref(key, self.document).and_then(Object::as_name).ok();
        let is_repeated = name(b"Type") == Some(b"Pagination")
            || matches!(name(b"Subtype"), Some(b"Header" | b"Footer" | b"Watermark"));
        if tag == Some(b"Artifact") && is_repeated {
            return Mark::Artifact;
        }
        let text = properties.get_deref(b"ActualText", self.document).ok();
        match text.and_then(|text| lopdf::decode_text_string(text).ok()) {
            Some(text) => Mark::Replacement(self.glyphs.len(), text.into()),
            None => Mark::Other,
        }
    }

    fn end_mark(&mut self) {
        let Some(Mark::Replacement(start, text)) = self.marks.pop() else { return };
        let Some(last) = self.glyphs.last().cloned().filter(|_| self.glyphs.len() > start) else {
            return;
        };
        self.glyphs.truncate(start + 1);
        let first = &mut self.glyphs[start];
        first.text = text;
        // A replacement of several lines ends on the first of them.
        if (last.start - first.start).across(first.direction).abs() < 0.5 * first.size {
            let is_after = (last.end - first.end).along(first.direction) > 0.0;
            let is_before = (last.start - first.start).along(first.direction) < 0.0;
            if is_after {
                first.end = last.end;
            }
            if is_before {
                first.start = last.start;
            }
        }
    }
}

impl State {
    /// Returns the translation of the text matrix by a distance along the line.
    fn translation(&self, distance: f32) -> Matrix {
        match self.font.as_ref().is_some_and(|font| font.is_vertical) {
            true => Matrix::translation(0.0, distance),
            false => Matrix::translation(distance * self.scale, 0.0),
        }
    }
}
