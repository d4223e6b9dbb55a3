//! Dangerous acts: they say first what they would do, and want `--yes`.

use super::failure::{Hinted, usage};

/// Says on standard error what is about to happen; without `--yes` that is all.
///
/// # Errors
/// Wrong usage, if `--yes` is missing.
pub(crate) fn confirm(yes: bool, what: &str) -> anyhow::Result<()> {
    eprintln!("{what}");
    if yes {
        return Ok(());
    }
    Err(Hinted::new(usage("nothing was changed: the command wants --yes"), "add --yes to do it").into())
}
