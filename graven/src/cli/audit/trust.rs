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
    /// The text of the policy, without empty lines; `None` if the user said nothing.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a key that does not read; those of reading the policy's file.
    pub(crate) fn text(&self) -> Result<Option<String>> {
        if let Some(path) = &self.policy {
            let text = String::from_utf8(read(path)?).map_err(|_| {
                Error::new(Code::BadRequest, format!("the policy {} is not UTF-8", path.display()))
            })?;
            return Ok(Some(
                text.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect(),
            ));
        }
        let keys: Vec<VerifierKey> = self.vkeys.iter().map(|text| vkey(text)).collect::<Result<_>>()?;
        Ok((!keys.is_empty()).then(|| operator_alone(&keys)))
    }

    /// The policy; `None` if the user said nothing.
    ///
    /// # Errors
    /// As [`Trust::text`]; [`Code::BadRequest`] for a policy that does not read.
    pub(crate) fn policy(&self) -> Result<Option<Policy>> {
        self.text()?.map(|text| parse(&text)).transpose()
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

/// The text of a policy that believes what one of these keys signed.
pub(crate) fn operator_alone(keys: &[VerifierKey]) -> String {
    let logs: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    format!("{logs}quorum none\n")
}

/// A policy as text.
///
/// # Errors
/// [`Code::BadRequest`].
pub(crate) fn parse(text: &str) -> Result<Policy> {
    Policy::parse(text).map_err(|error| Error::new(Code::BadRequest, error.to_string()))
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
