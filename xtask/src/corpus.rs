//! `cargo xtask corpus`: text and its translations from pinned Debian packages.
//!
//! This downloads, checks and unpacks; `demo-data documents` reads the pages.
use crate::process::{cargo, command, run, target_folder};
use crate::wheels::{checksum, helper};
use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A package a line, as `sha256sum` writes it: the digest and the path on the mirror.
const PINS: &str = "xtask/src/corpus/packages.sha256";

/// What a mirror has in bookworm.
const INDEX: &str = "dists/bookworm/main/binary-amd64/Packages.gz";

/// Where the corpus comes from and goes to.
pub struct Options {
    /// Its folder, from the workspace root.
    pub out: PathBuf,
    /// Names of packages; none: all that are pinned.
    pub packages: Vec<String>,
    /// Take what the mirror has now, and pin it.
    pub accept_new: bool,
    /// The mirror's address.
    pub mirror: String,
}

/// A package as it is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pin {
    sha256: String,
    /// On the mirror: the last part is `<package>_<version>_<architecture>.deb`.
    path: String,
}

impl Pin {
    fn file(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, file)| file)
    }

    fn package(&self) -> &str {
        self.file().split_once('_').map_or(self.file(), |(package, _)| package)
    }

    /// `<package>_<version>`
    fn stem(&self) -> &str {
        self.file().rsplit_once('_').map_or(self.file(), |(stem, _)| stem)
    }
}

fn read_pins(text: &str) -> Result<Vec<Pin>> {
    let pin = |line: &str| {
        let fault = || format!("{PINS}: not a digest and a path: {line}");
        let (sha256, path) = line.split_once("  ").with_context(fault)?;
        Ok(Pin { sha256: sha256.to_owned(), path: path.to_owned() })
    };
    text.lines().map(pin).collect()
}

fn write_pins<'p>(path: &Path, pins: impl IntoIterator<Item = &'p Pin>) -> Result<()> {
    let line = |pin: &Pin| format!("{}  {}\n", pin.sha256, pin.path);
    let text: String = pins.into_iter().map(line).collect();
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Downloads what is not there yet, and writes the corpus to `text` of the folder.
pub fn corpus(root: &Path, options: &Options) -> Result<u8> {
    let out = root.join(&options.out);
    let packages = out.join("packages");
    fs::create_dir_all(&packages).with_context(|| packages.display().to_string())?;
    let pinned = root.join(PINS);
    let mut pins = read_pins(&fs::read_to_string(&pinned).context(PINS)?)?;
    for name in &options.packages {
        let known = pins.iter().any(|pin| pin.package() == name);
        let all: Vec<&str> = pins.iter().map(Pin::package).collect();
        ensure!(known, "--packages {name}: not pinned; there are {}", all.join(", "));
    }
    let wanted = |pin: &Pin| {
        options.packages.is_empty() || options.packages.iter().any(|name| name == pin.package())
    };
    if options.accept_new {
        let index = packages.join("Packages.gz");
        remove(&index)?;
        download(root, &format!("{}/{INDEX}", options.mirror), &index)?;
        let newest = read_index(&index)?;
        for pin in pins.iter_mut().filter(|pin| wanted(pin)) {
            let new = newest.get(pin.package());
            *pin = new
                .with_context(|| format!("{}: not in bookworm any more", pin.package()))?
                .clone();
        }
    }
    let unpacked = out.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).with_context(|| unpacked.display().to_string())?;
    }
    fs::create_dir(&unpacked).with_context(|| unpacked.display().to_string())?;
    for pin in pins.iter().filter(|pin| wanted(pin)) {
        let deb = packages.join(pin.file());
        fetch(root, &options.mirror, pin, &deb)?;
        unpack(root, &deb, &unpacked.join(format!("{}.tar", pin.stem())))?;
    }
    if options.accept_new {
        write_pins(&pinned, &pins)?;
    }
    let mut build = cargo(root);
    if run(build.args(["build", "--release", "-p", "demo-data"]))? != 0 {
        bail!("demo-data cannot be built");
    }
    // In the folder, so that what is recorded does not depend on where it lies.
    let mut documents = command(target_folder()?.join("release/demo-data"), &out);
    documents.args(["documents", "--packages", "unpacked", "--out", "text"]);
    let done = documents.stderr(std::process::Stdio::inherit()).output().context("demo-data")?;
    if !done.status.success() {
        return Ok(2);
    }
    fs::remove_dir_all(&unpacked).with_context(|| unpacked.display().to_string())?;
    write_pins(&out.join("packages.sha256"), pins.iter().filter(|pin| wanted(pin)))?;
    print!("{}", table(&out.join("text/manifest.json"))?);
    println!(
        "\nThere is no LibreOffice help in Arabic, and in Hindi little more than names of menus.\n\
         {}",
        out.join("text").display()
    );
    Ok(0)
}

/// Brings a package into the folder of downloads.
fn fetch(root: &Path, mirror: &str, pin: &Pin, deb: &Path) -> Result<()> {
    let advice = "--accept-new takes what the mirror has now and pins it";
    if !deb.exists() {
        eprintln!("{}", pin.file());
        let part = deb.with_extension("part");
        download(root, &format!("{mirror}/{}", pin.path), &part)
            .with_context(|| format!("{} cannot be downloaded ({advice})", pin.file()))?;
        fs::rename(&part, deb).with_context(|| deb.display().to_string())?;
    }
    let found = checksum(root, deb)?;
    if found != pin.sha256 {
        remove(deb)?;
        let wanted = &pin.sha256;
        bail!("{}: SHA-256 {found}, and {wanted} is pinned; it was removed ({advice})", pin.file());
    }
    Ok(())
}

fn download(root: &Path, url: &str, file: &Path) -> Result<()> {
    let done = helper(root, [OsStr::new("get"), OsStr::new(url), file.as_os_str()])
        .output()
        .context("cannot start python3")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{}", said.lines().last().unwrap_or("no reason given"));
    }
    Ok(())
}

fn remove(file: &Path) -> Result<()> {
    match file.exists() {
        true => fs::remove_file(file).with_context(|| file.display().to_string()),
        false => Ok(()),
    }
}

/// Writes the tar in a package.
fn unpack(root: &Path, deb: &Path, tar: &Path) -> Result<()> {
    let file = File::create(tar).with_context(|| tar.display().to_string())?;
    let mut program = command("dpkg-deb", root);
    let done = program.arg("--fsys-tarfile").arg(deb).stdout(file).output();
    let done = done.context("dpkg-deb, which unpacks Debian packages (package dpkg)")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{}: {}", deb.display(), said.trim().replace('\n', "; "));
    }
    Ok(())
}

/// The packages of an index by name.
fn read_index(path: &Path) -> Result<BTreeMap<String, Pin>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut found = BTreeMap::new();
    let [mut package, mut file_name] = [String::new(), String::new()];
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let line = line.with_context(|| path.display().to_string())?;
        match line.split_once(": ") {
            Some(("Package", value)) => package = value.to_owned(),
            Some(("Filename", value)) => file_name = value.to_owned(),
            Some(("SHA256", value)) => {
                let pin = Pin { sha256: value.to_owned(), path: std::mem::take(&mut file_name) };
                found.insert(std::mem::take(&mut package), pin);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What the manifest counts, a line for each source and language.
fn table(manifest: &Path) -> Result<String> {
    let text = fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    let manifest: Value = serde_json::from_str(&text)?;
    let columns = ["documents", "paragraphs", "characters", "untranslated"];
    let mut table = format!("| source | language | {} |\n|---|---|", columns.join(" | "));
    table += &"---:|".repeat(columns.len());
    table.push('\n');
    for (source, languages) in manifest["counts"].as_object().into_iter().flatten() {
        for (language, counts) in languages.as_object().into_iter().flatten() {
            let numbers = columns.map(|column| counts[column].to_string()).join(" | ");
            table += &format!("| {source} | {language} | {numbers} |\n");
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::workspace_root;
    use std::io::Write;

    #[test]
    fn every_pin_has_a_package_a_version_and_a_digest() {
        let text = fs::read_to_string(workspace_root().unwrap().join(PINS)).unwrap();
        for pin in read_pins(&text).unwrap() {
            assert_eq!(pin.sha256.len(), 64, "{pin:?}");
            assert!(
                pin.path.starts_with("pool/main/") && pin.path.ends_with("_all.deb"),
                "{pin:?}"
            );
            assert!(pin.stem().starts_with(&format!("{}_", pin.package())), "{pin:?}");
        }
        assert!(read_pins("a b\n").unwrap_err().to_string().contains("packages.sha256"));
    }

    #[test]
    fn what_is_gone_or_has_other_bytes_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = format!("file://{}", folder.path().display());
        let (root, deb) = (workspace_root().unwrap(), folder.path().join("x_1_all.deb"));
        let pin = Pin { sha256: "0".repeat(64), path: "pool/x_1_all.deb".into() };
        let error = format!("{:#}", fetch(&root, &mirror, &pin, &deb).unwrap_err());
        assert!(error.starts_with("x_1_all.deb cannot be downloaded (--accept-new"), "{error}");
        fs::create_dir(folder.path().join("pool")).unwrap();
        fs::write(folder.path().join("pool/x_1_all.deb"), "!<arch>\n").unwrap();
        let error = fetch(&root, &mirror, &pin, &deb).unwrap_err().to_string();
        assert!(error.starts_with("x_1_all.deb: SHA-256 ") && !deb.exists(), "{error}");
    }

    #[test]
    fn an_index_gives_the_path_and_digest_of_each_package() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Packages.gz");
        let file = File::create(&path).unwrap();
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let text = "Package: a\nVersion: 1:2\nFilename: pool/a_2_all.deb\nSHA256: 12\n\nPackage: b\n\
                    Filename: pool/b_3_all.deb\nSHA256: 34\n";
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap();
        let index = read_index(&path).unwrap();
        assert_eq!(index["a"], Pin { sha256: "12".into(), path: "pool/a_2_all.deb".into() });
        assert_eq!(index["b"].stem(), "b_3");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(format!("{:#}", read_index(&path).unwrap_err()).contains("Packages.gz"));
    }
}
