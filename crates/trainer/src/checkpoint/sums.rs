//! `SHA256SUMS` of a checkpoint, in the format of `sha256sum --check`.
use std::collections::BTreeMap;
use std::path::Path;

use atomic_file::fs::File;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

const SUMS: &str = "SHA256SUMS";

/// Writes the checksums of the named files of a folder.
pub(crate) fn write(folder: &Path, names: &[&str]) -> Result<()> {
    let mut text = String::new();
    for name in names {
        text.push_str(&format!("{}  {name}\n", sha256_of_file(&folder.join(name))?));
    }
    let path = folder.join(SUMS);
    // The folder still has its temporary name, so a partly written file is never read.
    let mut file = File::create(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Verifies the named files of a folder against their checksums.
pub(crate) fn verify(folder: &Path, names: &[&str]) -> Result<()> {
    let path = folder.join(SUMS);
    let text = atomic_file::fs::read_to_string(&path)?;
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let Some((sum, name)) = line.split_once("  ") else {
            return Err(Error::file(path, format!("{line:?}: expected a checksum and a name")));
        };
        if !names.contains(&name) {
            return Err(Error::file(path, format!("{name:?} is not a file of this checkpoint")));
        }
        sums.insert(name, sum);
    }
    for name in names {
        let Some(sum) = sums.get(name) else {
            let reason = "has no checksum in SHA256SUMS";
            return Err(Error::file(path, format!("{name} {reason}")));
        };
        let file = folder.join(name);
        let actual = sha256_of_file(&file)?;
        if actual != *sum {
            let reason = format!(
                "changed since the checkpoint was written: its SHA-256 is {}…, {SUMS} has {}…",
                short_sum(&actual),
                short_sum(sum)
            );
            return Err(Error::file(file, reason));
        }
    }
    Ok(())
}

/// Returns the first digits of a checksum, for messages.
fn short_sum(sum: &str) -> String {
    sum.chars().take(8).collect()
}

fn sha256_of_file(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    File::open(path)?.read_into(&mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_equals_that_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "abc").unwrap();
        write(folder.path(), &["a"]).unwrap();
        let text = std::fs::read_to_string(folder.path().join(SUMS)).unwrap();
        // FIPS 180-2, appendix B.1.
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(text, format!("{sum}  a\n"));
        verify(folder.path(), &["a"]).unwrap();
        std::fs::write(folder.path().join(SUMS), "x").unwrap();
        let error = verify(folder.path(), &["a"]).unwrap_err().to_string();
        assert!(error.contains("SHA256SUMS: \"x\": expected a checksum and a name"), "{error}");
    }
}
