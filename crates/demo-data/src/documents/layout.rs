//! Where the packages have their pages, and what a paragraph is in them.
use super::markup::{Element, Role};

/// A kind of package.
#[derive(Clone, Copy)]
pub struct Layout {
    /// What the ids of its paragraphs begin with.
    pub name: &'static str,
    /// What the names of its packages begin with.
    pub packages: &'static str,
    /// The SPDX name of the text's licence; of several, the one that is taken.
    pub licence: &'static str,
    /// Pages are put together from others, so that paragraphs come again.
    pub repeats: bool,
    /// What comes before the language in the path of a page, and what after it.
    folder: &'static str,
    below: &'static str,
    /// How the path of a page ends.
    end: &'static str,
    /// What an element is.
    pub role: fn(&Element<'_>) -> Role,
}

/// All that are known.
const LAYOUTS: [Layout; 3] = [
    Layout {
        name: "libreoffice-help",
        packages: "libreoffice-help-",
        licence: "MPL-2.0",
        repeats: true,
        folder: "usr/share/libreoffice/help/",
        below: "text/",
        end: ".html",
        role: libreoffice,
    },
    Layout {
        name: "debian-handbook",
        packages: "debian-handbook",
        licence: "CC-BY-SA-3.0",
        repeats: false,
        folder: "usr/share/doc/debian-handbook/html/",
        below: "",
        end: ".html",
        role: handbook,
    },
    Layout {
        name: "gnome-help",
        packages: "gnome-user-docs",
        licence: "CC-BY-SA-3.0",
        repeats: false,
        folder: "usr/share/help/",
        below: "",
        end: ".page",
        role: gnome,
    },
];

/// The folders of a language.
const FOLDERS: [(&str, [&str; 3]); 7] = [
    ("en", ["en-US", "en-US", "C"]),
    ("de", ["de", "de-DE", "de"]),
    ("es", ["es", "es-ES", "es"]),
    ("ar", ["ar", "ar-MA", "ar"]),
    ("hi", ["hi", "hi-IN", "hi"]),
    ("vi", ["vi", "vi-VN", "vi"]),
    ("zh", ["zh-CN", "zh-CN", "zh_CN"]),
];

impl Layout {
    /// That of a package, with its place among all.
    pub fn of(package: &str) -> Option<(usize, Self)> {
        LAYOUTS.into_iter().enumerate().find(|(_, one)| package.starts_with(one.packages))
    }

    /// The language of a file and the name of its page, where it is a page.
    pub fn page<'p>(&self, path: &'p str) -> Option<(&'static str, &'p str)> {
        let path = path.strip_prefix("./").unwrap_or(path);
        let (folder, page) = path.strip_prefix(self.folder)?.split_once('/')?;
        let page = page.strip_prefix(self.below)?.strip_suffix(self.end)?;
        let has = |(_, folders): &&(&str, [&str; 3])| folders.contains(&folder);
        Some((FOLDERS.iter().find(has)?.0, page))
    }
}

/// Paragraphs and headings have an id of the help's source; what is for one system or program alone
/// is hidden and has a class, what stands for all others has none.
fn libreoffice(element: &Element<'_>) -> Role {
    let (id, class) = (element.get("id"), element.get("class"));
    let is_text = matches!(element.name, "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6");
    let has_id = id.starts_with("par_id") || id.starts_with("hd_id");
    match element.name {
        "script" | "pre" => Role::Skipped,
        "span" if !element.get("hidden").is_empty() && !class.is_empty() => Role::Skipped,
        "span" => match class.as_str() {
            "emph" | "menuitem" | "literal" | "input" | "keycode" | "widget" => Role::Marked(class),
            _ => Role::Plain,
        },
        _ if is_text && class.contains("code") => Role::Skipped,
        _ if is_text && has_id => Role::Paragraph(Some(id)),
        _ => Role::Plain,
    }
}

fn handbook(element: &Element<'_>) -> Role {
    match (element.name, element.get("class").as_str()) {
        ("pre", _) | ("sup", "footnote") => Role::Skipped,
        ("div" | "p", "para") => Role::Paragraph(None),
        _ => Role::Plain,
    }
}

fn gnome(element: &Element<'_>) -> Role {
    match element.name {
        "info" | "screen" | "comment" => Role::Skipped,
        "p" => Role::Paragraph(None),
        "gui" => Role::Marked("gui".to_owned()),
        _ => Role::Plain,
    }
}
