//! Whom a command believes: verifier keys or a policy, which the user got by another way than the proof.

use crate::cli::failure::usage;
use graven_model::{Code, Error, Result};
use graven_proof::note::VerifierKey;
use graven_proof::policy::Policy;
use std::path::{Path, PathBuf};

/// Arguments that say whom to believe.
#[derive(clap::Args)]
pub(crate) struct Trust {
    /// Verifier key of the log, as `graven audit keys list` prints it; again for more
    #[arg(long = "vkey", value_name = "KEY")]
    vkeys: Vec<String>,
    /// Whom to believe, as text of a C2SP tlog-policy: logs, witnesses, a quorum
    #[arg(long, value_name = "FILE", conflicts_with = "vkeys")]
    policy: Option<PathBuf>,
}

impl Trust {
    /// The policy; `None` if the user said nothing.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a key or policy that does not read; those of reading its file.
    pub(crate) fn policy(&self) -> Result<Option<Policy>> {
        let wrong = |what: String| Error::new(Code::BadRequest, what);
        if let Some(path) = &self.policy {
            let bytes = read(path)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| wrong(format!("the policy {} is not UTF-8", path.display())))?;
            let policy = Policy::parse(&text).map_err(|error| wrong(error.to_string()))?;
            return Ok(Some(policy));
        }
        if self.vkeys.is_empty() {
            return Ok(None);
        }
        let keys: Vec<VerifierKey> = self.vkeys.iter().map(|text| vkey(text)).collect::<Result<_>>()?;
        Policy::operator_alone(keys).map(Some).map_err(|error| wrong(error.to_string()))
    }

    /// The policy, which has to be there.
    ///
    /// # Errors
    /// As [`Trust::policy`]; wrong usage if the user said nothing.
    pub(crate) fn required(&self) -> Result<Policy> {
        self.policy()?.ok_or_else(|| {
            usage("a proof is judged by a key that did not come with it")
                .expected("--vkey KEY or --policy FILE")
        })
    }
}

/// A verifier key as text.
///
/// # Errors
/// [`Code::BadRequest`].
pub(crate) fn vkey(text: &str) -> Result<VerifierKey> {
    text.trim().parse().map_err(|error| {
        Error::new(Code::BadRequest, format!("the verifier key does not read: {error}"))
            .expected("name+id+base64, as `graven audit keys list` prints it")
    })
}

/// What a report adds where no witness is asked for.
pub(crate) fn label(policy: &Policy) -> &'static str {
    if policy.trusts_operator_alone() {
        "the operator's word alone: no witness is asked for"
    } else {
        "witnessed"
    }
}

/// The bytes of a file; `-` is standard input.
///
/// # Errors
/// Those of the system.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(FILE_BYTES_MAX + 1);
        input.read_to_end(&mut bytes).map_err(|error| Error::io("read standard input", &error))?;
        return bounded("standard input", bytes);
    }
    let place = format!("read {}", path.display());
    let file = std::fs::File::open(path).map_err(|error| Error::io(&place, &error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| Error::io(&place, &error))?;
    bounded(&path.display().to_string(), bytes)
}

fn bounded(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::new(Code::BadRequest, format!("{name} is larger than any proof, leaf or policy"))
            .expected(format!("at most {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Bytes of a proof, a leaf or a policy at the most.
const FILE_BYTES_MAX: u64 = 8 << 20;
