//! `cargo xtask openapi`.

use crate::shell::{cargo, output, root};
use anyhow::{Context, Result};
use std::fs;

/// Where the document lies, relative to the root. A test of the server compares it with what the server says.
const DOCUMENT: &str = "graven/openapi.json";

/// Writes the document anew.
///
/// # Errors
/// If the server does not build, or the file cannot be written.
pub(crate) fn write() -> Result<()> {
    let document = output(&mut cargo("run --quiet --package graven -- openapi"))?;
    let path = root().join(DOCUMENT);
    let before = fs::read_to_string(&path).unwrap_or_default();
    if before == document {
        println!("{DOCUMENT} is up to date");
        return Ok(());
    }
    fs::write(&path, document).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("{DOCUMENT} is written anew; look at the difference before you commit it");
    Ok(())
}
