//! `cargo xtask proto`.

use crate::shell::{cargo, run};
use anyhow::Result;

/// The generator is a workspace of its own, so that building Graven does not build it.
const GENERATOR: &str = "graven-proto/codegen/Cargo.toml";

/// Writes `graven-proto/src/generated/` anew. A test of graven-proto says when that is due.
///
/// # Errors
/// If the interface is malformed, or a file cannot be written.
pub(crate) fn write() -> Result<()> {
    run(cargo("run --quiet --manifest-path").arg(GENERATOR))?;
    println!("graven-proto/src/generated is written; look at the difference before you commit it");
    Ok(())
}
