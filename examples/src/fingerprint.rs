//! SHA-256 of a run's input files, so that a run is not continued on other data without anybody noticing.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::results::{read_json, write_json};

/// The hexadecimal SHA-256 of a file.
///
/// # Errors
/// Naming the file if it cannot be read.
pub fn of(path: &Path) -> Result<String> {
    let name = || path.display().to_string();
    let mut file = File::open(path).with_context(name)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let count = file.read(&mut buffer).with_context(name)?;
        match buffer.get(..count) {
            Some(read) if count > 0 => hash.update(read),
            _ => break,
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// The hexadecimal SHA-256 of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the fingerprints of `files` to `record`, or compares them with those that an earlier start of the run wrote.
///
/// # Errors
/// Naming the first file that has changed since, or that cannot be read.
pub fn check(record: &Path, files: &[PathBuf]) -> Result<()> {
    let now: BTreeMap<String, String> = files
        .iter()
        .map(|file| Ok((file.display().to_string(), of(file)?)))
        .collect::<Result<_>>()?;
    if !record.exists() {
        return write_json(record, &now);
    }
    let before: BTreeMap<String, String> = read_json(record)?;
    for name in now.keys().chain(before.keys()) {
        if now.get(name) != before.get(name) {
            bail!(
                "{name} has changed since the run in {} began; start a new one with --out, or restore the file",
                record.parent().unwrap_or(record).display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (record, file) = (folder.path().join("record.json"), folder.path().join("data.tsv"));
        std::fs::write(&file, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert!(of(&file).unwrap().starts_with("ba7816bf8f01cfea"));
        check(&record, std::slice::from_ref(&file)).unwrap();
        check(&record, std::slice::from_ref(&file)).unwrap();
        std::fs::write(&file, "abd").unwrap();
        let message = check(&record, std::slice::from_ref(&file)).unwrap_err().to_string();
        assert!(message.contains("data.tsv has changed"), "{message}");
        assert!(check(&record, &[folder.path().join("none")]).is_err());
    }
}
