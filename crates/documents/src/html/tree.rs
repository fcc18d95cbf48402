//! The tree that html5ever builds, as nodes in one vector.
use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::{Attribute, ParseOpts, QualName, parse_document};

/// Index of a node.
pub type NodeId = usize;

/// Index of the document's node.
pub const ROOT: NodeId = 0;

/// The content of a node.
#[derive(Debug)]
pub enum Content {
    /// The document, the content of a template, a comment or a processing instruction.
    Other,
    Text(String),
    Element {
        name: QualName,
        attributes: Vec<Attribute>,
    },
}

/// Maximum nesting of elements. The parser's time grows with the square of the nesting.
pub const MAX_DEPTH: usize = 1000;

/// Number of bytes that are parsed between two checks of the nesting.
const CHUNK_BYTES: usize = 4096;

#[derive(Debug)]
struct Node {
    content: Content,
    parent: Option<NodeId>,
    depth: usize,
    children: Vec<NodeId>,
}

/// A parsed page.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: RefCell<Vec<Node>>,
    is_too_deep: Cell<bool>,
}

impl Tree {
    /// Parses a page. Any text is valid HTML; `None` if elements are nested more than [`MAX_DEPTH`]
    /// deep.
    pub fn parse(html: &str) -> Option<Self> {
        let tree = Self::default();
        tree.add(Content::Other);
        let mut parser = parse_document(tree, ParseOpts::default());
        let mut rest = html;
        while !rest.is_empty() {
            let boundary =
                (0..=CHUNK_BYTES.min(rest.len())).rfind(|&byte| rest.is_char_boundary(byte));
            let (chunk, after) = rest.split_at(boundary.expect("0 is a boundary"));
            parser.process(chunk.into());
            if parser.tokenizer.sink.sink.is_too_deep.get() {
                return None;
            }
            rest = after;
        }
        Some(parser.finish())
    }

    fn add(&self, content: Content) -> NodeId {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { content, parent: None, depth: 0, children: Vec::new() });
        nodes.len() - 1
    }

    fn detach(&self, node: NodeId) {
        let mut nodes = self.nodes.borrow_mut();
        if let Some(parent) = nodes[node].parent.take() {
            // Nodes that move are mostly the last ones.
            let siblings = &mut nodes[parent].children;
            let index = siblings.iter().rposition(|&child| child == node);
            siblings.remove(index.expect("a node is a child of its parent"));
        }
    }

    /// Inserts a node or a text before the child with this index, or at the end.
    fn insert(&self, parent: NodeId, index: Option<usize>, child: NodeOrText<NodeId>) {
        let child = match child {
            NodeOrText::AppendNode(node) => {
                self.detach(node);
                node
            }
            NodeOrText::AppendText(text) => {
                let mut nodes = self.nodes.borrow_mut();
                let siblings = &nodes[parent].children;
                let before = index.unwrap_or(siblings.len()).checked_sub(1);
                if let Some(previous) = before.map(|before| siblings[before])
                    && let Content::Text(previous) = &mut nodes[previous].content
                {
                    previous.push_str(&text);
                    return;
                }
                drop(nodes);
                self.add(Content::Text(text.to_string()))
            }
        };
        let mut nodes = self.nodes.borrow_mut();
        nodes[child].parent = Some(parent);
        nodes[child].depth = nodes[parent].depth + 1;
        if nodes[child].depth > MAX_DEPTH {
            self.is_too_deep.set(true);
        }
        let siblings = &mut nodes[parent].children;
        siblings.insert(index.unwrap_or(siblings.len()), child);
    }

    /// Returns the content of a node.
    pub fn content(&self, node: NodeId) -> Ref<'_, Content> {
        Ref::map(self.nodes.borrow(), |nodes| &nodes[node].content)
    }

    /// Returns the children of a node, in order.
    pub fn children(&self, node: NodeId) -> Ref<'_, [NodeId]> {
        Ref::map(self.nodes.borrow(), |nodes| nodes[node].children.as_slice())
    }
}

/// Returns the value of an element's attribute.
pub fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| &*attribute.name.local == name);
    found.map(|attribute| &*attribute.value)
}

impl TreeSink for Tree {
    type Handle = NodeId;
    type Output = Self;
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) -> Self {
        self
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> NodeId {
        ROOT
    }

    fn elem_name<'a>(&'a self, target: &'a NodeId) -> Ref<'a, QualName> {
        Ref::map(self.content(*target), |content| match content {
            Content::Element { name, .. } => name,
            Content::Other | Content::Text(_) => unreachable!("the parser names elements only"),
        })
    }

    fn create_element(
        &self,
        name: QualName,
        attributes: Vec<Attribute>,
        _: ElementFlags,
    ) -> NodeId {
        self.add(Content::Element { name, attributes })
    }

    fn create_comment(&self, _: StrTendril) -> NodeId {
        self.add(Content::Other)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> NodeId {
        self.add(Content::Other)
    }

    fn append(&self, parent: &NodeId, child: NodeOrText<NodeId>) {
        self.insert(*parent, None, child);
    }

    fn append_before_sibling(&self, sibling: &NodeId, child: NodeOrText<NodeId>) {
        if let NodeOrText::AppendNode(node) = &child {
            self.detach(*node);
        }
        let nodes = self.nodes.borrow();
        let parent = nodes[*sibling].parent.expect("a sibling has a parent");
        let index = nodes[parent].children.iter().rposition(|child| child == sibling);
        drop(nodes);
        self.insert(parent, index, child);
    }

    fn append_based_on_parent_node(
        &self,
        element: &NodeId,
        previous: &NodeId,
        child: NodeOrText<NodeId>,
    ) {
        let has_parent = self.nodes.borrow()[*element].parent.is_some();
        match has_parent {
            true => self.append_before_sibling(element, child),
            false => self.append(previous, child),
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    /// The content of a template is not part of the page, so it has no node of its own and is never
    /// reached from the root.
    fn get_template_contents(&self, _: &NodeId) -> NodeId {
        self.add(Content::Other)
    }

    fn same_node(&self, one: &NodeId, other: &NodeId) -> bool {
        one == other
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn add_attrs_if_missing(&self, target: &NodeId, added: Vec<Attribute>) {
        if let Content::Element { attributes, .. } = &mut self.nodes.borrow_mut()[*target].content {
            for attribute in added {
                if attributes.iter().all(|existing| existing.name != attribute.name) {
                    attributes.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &NodeId) {
        self.detach(*target);
    }

    fn reparent_children(&self, node: &NodeId, new_parent: &NodeId) {
        let mut nodes = self.nodes.borrow_mut();
        let children = std::mem::take(&mut nodes[*node].children);
        for &child in &children {
            nodes[child].parent = Some(*new_parent);
        }
        nodes[*new_parent].children.extend(children);
    }
}
