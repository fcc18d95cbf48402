//! Text of HTML: the visible content of a page, in its order.
mod tree;

use html5ever::Attribute;

use self::tree::{Content, MAX_DEPTH, NodeId, ROOT, Tree, attribute};
use crate::Extracted;
use crate::characters::{is_presentation, is_wide};

/// Elements whose content is not text of the page, or not visible.
const SKIPPED: [&str; 23] = [
    "annotation",
    "annotation-xml",
    "audio",
    "button",
    "canvas",
    "datalist",
    "dialog",
    "head",
    "iframe",
    "nav",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "rp",
    "rt",
    "script",
    "select",
    "style",
    "svg",
    "template",
    "textarea",
    "video",
];

/// Elements that are skipped unless they are in `main` or `article`: there they belong to the text.
const SKIPPED_OUTSIDE_TEXT: [&str; 3] = ["aside", "footer", "header"];

/// Elements with a blank line before and after them.
const PARAGRAPHS: [&str; 34] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "details",
    "div",
    "dl",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "main",
    "menu",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "ul",
    "caption",
    "legend",
];

/// Elements on lines of their own.
const LINES: [&str; 9] = ["br", "dd", "dt", "li", "option", "tbody", "tfoot", "thead", "tr"];

/// Extracts the text of a page. Line ends and tabs are those of blocks and table cells; other white
/// space is collapsed, except in `pre`.
///
/// # Errors
/// If elements are nested more than [`MAX_DEPTH`] deep.
pub fn extract(html: &str) -> Result<Extracted, String> {
    let tree = Tree::parse(html)
        .ok_or_else(|| format!("elements of the page are nested more than {MAX_DEPTH} deep"))?;
    let mut writer = Writer::default();
    let mut metadata = Extracted::default();
    // Nodes that are entered, or elements that are left.
    let mut stack = vec![Step::Enter(ROOT, Context::default())];
    while let Some(step) = stack.pop() {
        let (node, mut context) = match step {
            Step::Enter(node, context) => (node, context),
            Step::Leave(gap) => {
                writer.end_block(gap);
                continue;
            }
        };
        match &*tree.content(node) {
            Content::Other => {}
            Content::Text(text) => {
                writer.push(text, context.preformatted);
                continue;
            }
            Content::Element { name, attributes } => {
                let name = &*name.local;
                read_metadata(&tree, node, name, attributes, &mut metadata);
                // The header of many pages without `main` has the page's heading.
                context.in_text |= ["article", "main"].contains(&name)
                    || (name == "header" && has_heading(&tree, node));
                if is_skipped(name, attributes, context) {
                    continue;
                }
                context.preformatted |= name == "pre";
                match name {
                    "br" => writer.line_break(),
                    "img" => writer.push(attribute(attributes, "alt").unwrap_or(""), false), // no text
                    "td" | "th" => writer.cell(),
                    _ => {}
                }
                let gap = match name {
                    _ if PARAGRAPHS.contains(&name) => Gap::Paragraph,
                    _ if LINES.contains(&name) && name != "br" => Gap::Line,
                    _ => Gap::None,
                };
                writer.end_block(gap);
                stack.push(Step::Leave(gap));
            }
        }
        let children = tree.children(node);
        stack.extend(children.iter().rev().map(|&child| Step::Enter(child, context)));
    }
    Ok(Extracted { text: writer.finish(), ..metadata })
}

enum Step {
    Enter(NodeId, Context),
    Leave(Gap),
}

/// What a node inherits from the elements around it.
#[derive(Clone, Copy, Default)]
struct Context {
    preformatted: bool,
    /// Whether the node is in `main` or `article`.
    in_text: bool,
}

/// Space between two blocks.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    /// A tab between two cells of a row.
    Cell,
    Line,
    Paragraph,
}

fn is_skipped(name: &str, attributes: &[Attribute], context: Context) -> bool {
    let value = |name| attribute(attributes, name);
    let style = value("style").unwrap_or("").to_ascii_lowercase().replace(' ', ""); // no style
    let is_hidden = value("hidden").is_some_and(|value| value != "until-found")
        || value("aria-hidden") == Some("true")
        || style.contains("display:none")
        || style.contains("visibility:hidden");
    let is_navigation =
        matches!(value("role"), Some("navigation" | "search" | "banner" | "contentinfo"));
    // References to footnotes, as pulldown-cmark and GitHub write them.
    let is_reference = value("class").is_some_and(|class| class.contains("footnote-ref"));
    SKIPPED.contains(&name)
        || is_hidden
        || is_navigation
        || is_reference
        || (!context.in_text && SKIPPED_OUTSIDE_TEXT.contains(&name))
}

/// Returns whether there is an `h1` in an element.
fn has_heading(tree: &Tree, element: NodeId) -> bool {
    let mut stack = vec![element];
    while let Some(node) = stack.pop() {
        if matches!(&*tree.content(node), Content::Element { name, .. } if &*name.local == "h1") {
            return true;
        }
        stack.extend(tree.children(node).iter());
    }
    false
}

fn read_metadata(
    tree: &Tree,
    node: NodeId,
    name: &str,
    attributes: &[Attribute],
    metadata: &mut Extracted,
) {
    match name {
        "html" => {
            let language = attribute(attributes, "lang").or(attribute(attributes, "xml:lang"));
            metadata.language =
                language.map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned);
        }
        // The title is in `head`, which is skipped.
        "head" => {
            for &child in &*tree.children(node) {
                let is_title = matches!(&*tree.content(child), Content::Element { name, .. } if &*name.local == "title");
                if is_title && metadata.title.is_none() {
                    let mut title = Writer::default();
                    for &text in &*tree.children(child) {
                        if let Content::Text(text) = &*tree.content(text) {
                            title.push(text, false);
                        }
                    }
                    metadata.title = Some(title.finish()).filter(|title| !title.is_empty());
                }
            }
        }
        _ => {}
    }
}

/// Writes text, and collapses white space.
#[derive(Default)]
struct Writer {
    text: String,
    /// White space to be written before the next character.
    gap: Gap,
    /// Whether a space, and one with a line end, is to be written before the next character.
    space: bool,
    space_has_line_end: bool,
}

impl Writer {
    fn push(&mut self, text: &str, preformatted: bool) {
        for char in text.chars().filter(|&char| !is_presentation(char)) {
            match char {
                '\n' if preformatted && self.gap >= Gap::Line => self.end_block(Gap::Paragraph),
                '\n' if preformatted => self.line_break(),
                ' ' | '\t' if preformatted => {
                    self.write_gap(char);
                    self.text.push(char);
                }
                ' ' | '\t' | '\n' | '\r' | '\u{c}' => {
                    self.space = true;
                    self.space_has_line_end |= char == '\n';
                }
                char if char.is_control() => {}
                char => {
                    self.write_gap(char);
                    self.text.push(char);
                }
            }
        }
    }

    fn line_break(&mut self) {
        self.end_block(Gap::Line);
    }

    fn end_block(&mut self, gap: Gap) {
        if gap != Gap::None {
            self.gap = self.gap.max(gap);
            (self.space, self.space_has_line_end) = (false, false);
        }
    }

    fn cell(&mut self) {
        self.end_block(Gap::Cell);
    }

    /// Writes the white space before `next`.
    fn write_gap(&mut self, next: char) {
        let last = self.text.chars().next_back();
        let white_space = match (last, std::mem::take(&mut self.gap)) {
            (None, _) => "",
            (_, Gap::Paragraph) => "\n\n",
            (_, Gap::Line) => "\n",
            (_, Gap::Cell) => "\t",
            // A line end between two characters of a script without spaces is not a space.
            (Some(last), Gap::None)
                if self.space_has_line_end && is_wide(last) && is_wide(next) =>
            {
                ""
            }
            (_, Gap::None) if self.space => " ",
            (_, Gap::None) => "",
        };
        self.text.push_str(white_space);
        (self.space, self.space_has_line_end) = (false, false);
    }

    fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests;
