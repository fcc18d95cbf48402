//! Where the outlines of glyphs are, by an embedded font file.
//!
//! Marks have no advance, and in many fonts their outlines are beside their origins. So the place of a
//! mark on the page is the middle of its outline.
use lopdf::{Dictionary, Document};
use ttf_parser::{Face, GlyphId, OutlineBuilder, cff};

use super::font::stream;

/// The embedded file of a composite font.
#[derive(Debug)]
pub struct Program {
    pub bytes: Vec<u8>,
    /// The glyph of each CID; without a table, they have the same numbers.
    glyphs: Option<Vec<u8>>,
}

impl Program {
    /// Reads the file of a descendant font; `None` if it is not embedded.
    pub fn read(document: &Document, font: &Dictionary, descriptor: &Dictionary) -> Option<Self> {
        let file = |key: &[u8]| stream(document, descriptor, key);
        let bytes = file(b"FontFile2").or_else(|| file(b"FontFile3"))?;
        Some(Self { bytes, glyphs: stream(document, font, b"CIDToGIDMap") })
    }

    /// Returns the horizontal middle of a glyph's outline, in units of the font size; `None` without
    /// an outline.
    pub fn middle(&self, cid: u32) -> Option<f32> {
        let cid = u16::try_from(cid).ok()?;
        if let Ok(face) = Face::parse(&self.bytes, 0) {
            let glyph = match &self.glyphs {
                Some(table) => {
                    let place = 2 * usize::from(cid);
                    u16::from_be_bytes(table.get(place..place + 2)?.try_into().ok()?)
                }
                None => cid,
            };
            let bounds = face.glyph_bounding_box(GlyphId(glyph))?;
            let units = f32::from(face.units_per_em());
            return Some((f32::from(bounds.x_min) + f32::from(bounds.x_max)) / 2.0 / units);
        }
        let table = cff::Table::parse(&self.bytes)?;
        let mut glyphs = (0..table.number_of_glyphs()).map(GlyphId);
        // Without CIDs in the file, the glyphs have the numbers of the CIDs.
        let glyph = match table.glyph_cid(GlyphId(0)) {
            Some(_) => glyphs.find(|&glyph| table.glyph_cid(glyph) == Some(cid))?,
            None => GlyphId(cid),
        };
        let bounds = table.outline(glyph, &mut NoOutline).ok()?;
        Some((f32::from(bounds.x_min) + f32::from(bounds.x_max)) / 2.0 * table.matrix().sx)
    }
}

/// Ignores an outline, of which only the bounds are needed.
struct NoOutline;

impl OutlineBuilder for NoOutline {
    fn move_to(&mut self, _: f32, _: f32) {}
    fn line_to(&mut self, _: f32, _: f32) {}
    fn quad_to(&mut self, _: f32, _: f32, _: f32, _: f32) {}
    fn curve_to(&mut self, _: f32, _: f32, _: f32, _: f32, _: f32, _: f32) {}
    fn close(&mut self) {}
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A TrueType font with 1,000 units per font size, whose glyph 1 has an outline from `left` to
    /// `left + 200`.
    pub fn truetype(left: i16) -> Vec<u8> {
        let be = |values: &[i16]| -> Vec<u8> {
            values.iter().flat_map(|value| value.to_be_bytes()).collect()
        };
        let mut head = vec![0; 54];
        head[..4].copy_from_slice(&[0, 1, 0, 0]);
        head[18..20].copy_from_slice(&1000u16.to_be_bytes());
        head[51] = 1; // long offsets
        let mut hhea = vec![0; 36];
        hhea[35] = 1;
        let maxp = [be(&[0, 0x5000]), be(&[2])].concat(); // version 0.5, 2 glyphs
        let right = left + 200;
        // A triangle: its bounds, the last point, no instructions, points on the curve, x and y.
        let glyf = [
            be(&[1, left, 0, right, 100, 2, 0]),
            vec![1, 1, 1],
            be(&[left, 200, 0, 0, 0, 100]),
            vec![0],
        ]
        .concat();
        let end = i16::try_from(glyf.len()).unwrap();
        let loca = be(&[0, 0, 0, 0, 0, end]);
        let hmtx = be(&[0, 0, 0]);
        let tables = [
            ("glyf", glyf),
            ("head", head),
            ("hhea", hhea),
            ("hmtx", hmtx),
            ("loca", loca),
            ("maxp", maxp),
        ];
        let mut font = [vec![0, 1, 0, 0], be(&[6, 0, 0, 0])].concat();
        let mut data = Vec::new();
        let start = font.len() + 16 * tables.len();
        for (tag, table) in tables {
            font.extend(tag.as_bytes());
            font.extend([0; 4]);
            font.extend(u32::try_from(start + data.len()).unwrap().to_be_bytes());
            font.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
            data.extend(table);
            data.resize(data.len().next_multiple_of(4), 0);
        }
        [font, data].concat()
    }

    /// A CFF font whose glyph 1 has an outline from -300 to -100.
    fn cff() -> Vec<u8> {
        let index = |items: &[&[u8]]| {
            let mut bytes = u16::try_from(items.len()).unwrap().to_be_bytes().to_vec();
            if items.is_empty() {
                return bytes;
            }
            bytes.push(1);
            let mut offset = 1;
            bytes.push(offset);
            for item in items {
                offset += u8::try_from(item.len()).unwrap();
                bytes.push(offset);
            }
            bytes.extend(items.concat());
            bytes
        };
        let number = |value: i16| [&[28][..], &value.to_be_bytes()].concat();
        let outline = [
            [number(-300), number(0), vec![21]].concat(), // rmoveto
            [number(200), number(0), number(0), number(100), vec![5]].concat(), // rlineto
            vec![14],                                     // endchar
        ]
        .concat();
        let glyphs = index(&[&[14], &outline]);
        let font = |glyphs_start: i16| {
            let top = [number(glyphs_start), vec![17]].concat();
            [vec![1, 0, 4, 1], index(&[b"A"]), index(&[&top]), index(&[]), index(&[])].concat()
        };
        let start = i16::try_from(font(0).len()).unwrap();
        [font(start), glyphs].concat()
    }

    #[test]
    fn the_middle_of_an_outline_is_in_font_sizes() {
        let program =
            |bytes, glyphs: Option<&[u8]>| Program { bytes, glyphs: glyphs.map(<[u8]>::to_vec) };
        assert_eq!(program(truetype(300), None).middle(1), Some(0.4));
        assert_eq!(program(truetype(300), None).middle(0), None);
        assert_eq!(program(truetype(300), None).middle(0x10001), None);
        // The CID 2 is the glyph 1.
        let mapped = program(truetype(-500), Some(&[0, 0, 0, 0, 0, 1, 0]));
        assert_eq!(
            (mapped.middle(2), mapped.middle(1), mapped.middle(3)),
            (Some(-0.4), None, None)
        );
        assert_eq!(program(cff(), None).middle(1), Some(-0.2));
        assert_eq!(program(cff(), None).middle(7), None);
        assert_eq!(program(b"damaged".to_vec(), None).middle(1), None);
    }
}
