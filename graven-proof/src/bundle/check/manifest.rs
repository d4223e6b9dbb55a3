//! The files beside the manifest that lists them: every byte of every file counts.

use super::{Stop, json, malformed, read};
use crate::bundle::layout::{
    CHECKPOINT, ERASURES, EVENTS, FORMAT, FileEntry, KEY_HISTORY, KEYS, MANIFEST, MANIFEST_DIGEST, Manifest,
    POLICY, RANGE_PROOF, README, REPORT_HTML, REPORT_JSON, SEAL, TIMESTAMP, VERIFIER, manifest_digest,
    safe_path,
};
use crate::bundle::{FILES_MAX, Files};
use crate::finding::{Finding, FindingCode, Report};
use crate::tiles::TilePath;

/// What a bundle cannot be without.
const REQUIRED: [&str; 6] = [CHECKPOINT, ERASURES, EVENTS, KEY_HISTORY, KEYS, POLICY];

const OTHERS: [&str; 7] = [RANGE_PROOF, README, REPORT_HTML, REPORT_JSON, SEAL, TIMESTAMP, VERIFIER];

/// Reads the manifest and compares every file with it.
pub(super) fn compare(files: &dyn Files, report: &mut Report) -> Result<Manifest, Stop> {
    let bytes = read(files, MANIFEST)?;
    let digest = manifest_digest(&bytes);
    let found = read(files, MANIFEST_DIGEST)?;
    if found != digest.as_bytes() {
        report.add(differs(MANIFEST, digest.trim_end(), String::from_utf8_lossy(&found).trim_end()));
    }
    let manifest: Manifest = json(MANIFEST, &bytes)?;
    if manifest.format != FORMAT {
        return Err(malformed(MANIFEST, &format!("format {FORMAT:?}")));
    }
    if manifest.files.len() > FILES_MAX {
        return Err(malformed(MANIFEST, &format!("at most {FILES_MAX} files")));
    }
    let paths = manifest.files.iter().map(|file| file.path.as_str());
    if !paths.clone().is_sorted_by(|one, next| one < next) || !paths.clone().all(known) {
        return Err(malformed(MANIFEST, "ascending paths of files that a bundle has"));
    }
    if let Some(missing) = REQUIRED.iter().find(|path| !manifest.lists(path)) {
        return Err(malformed(MANIFEST, &format!("the file {missing}")));
    }
    let mut bytes_read = bytes.len() as u64;
    for path in files.paths() {
        if path != MANIFEST && path != MANIFEST_DIGEST && !manifest.lists(&path) {
            report.add(differs(&path, "no file that the manifest does not list", "one"));
        }
    }
    for listed in &manifest.files {
        match files.read(&listed.path) {
            Err(why) => report.add(differs(&listed.path, "the file the manifest lists", &why)),
            Ok(bytes) => {
                bytes_read += bytes.len() as u64;
                let found = FileEntry::of(&listed.path, &bytes);
                if found != *listed {
                    report.add(differs(&listed.path, &listed.sha256, &found.sha256));
                }
            }
        }
    }
    report.bytes = bytes_read;
    Ok(manifest)
}

impl Manifest {
    /// Whether it lists a file.
    pub(super) fn lists(&self, path: &str) -> bool {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok()
    }
}

fn differs(path: &str, expected: &str, found: &str) -> Finding {
    Finding::new(FindingCode::BundleFileMismatch, expected, found).shown_by(path)
}

fn known(path: &str) -> bool {
    let numbered = |prefix: &str, suffix: &str| {
        let number = path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let of_stream = || path.strip_prefix("completeness/").and_then(|rest| rest.strip_suffix(".json"));
    safe_path(path)
        && (REQUIRED.contains(&path)
            || OTHERS.contains(&path)
            || path.parse::<TilePath>().is_ok()
            || numbered("events.", ".ndjson")
            || numbered("proofs/", ".tlog-proof")
            || of_stream().is_some_and(|key| crate::control::hex::decode(key).is_some()))
}
