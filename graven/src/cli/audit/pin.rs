//! `graven audit pin FILE`: keeps the last checkpoint of a log in a file, and demands of each next one that it follows from it.
//!
//! That is what a client does against whoever holds the signing key: a history that was rewritten, or put back, does not
//! follow from what was seen before. The file also keeps whom to believe, so that a key cannot be exchanged unseen.
//!
//! ```text
//! graven-pin/v1
//! log <verifier key>          a C2SP tlog-policy without empty lines
//! quorum none
//!
//! <checkpoint>                a signed note
//! ```

use super::trust::{Trust, label, operator_alone, parse};
use super::{fetch, pairs};
use crate::cli::Global;
use crate::config::units::show_count;
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::policy::Policy;
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const HEADER: &str = "graven-pin/v1";

/// Bytes of the file at the most.
const PIN_BYTES_MAX: usize = 2 << 20;

/// Arguments of `audit pin`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file; made at the first call
    file: PathBuf,
    #[command(flatten)]
    trust: Trust,
}

/// What is kept.
struct Pin {
    policy_text: String,
    policy: Policy,
    checkpoint: SignedCheckpoint,
}

/// Runs the command.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    let kept = Pin::read(&args.file)?;
    let (policy_text, policy) = match (args.trust.text()?, &kept) {
        (Some(text), _) => (text.clone(), parse(&text)?),
        (None, Some(pin)) => (pin.policy_text.clone(), pin.policy.clone()),
        (None, None) => {
            let keys = fetch::keys(&client)?;
            eprintln!(
                "first contact: whose signature to believe is taken from {} itself; compare it with what its operator says:",
                client.base()
            );
            keys.iter().for_each(|key| eprintln!("  {key}"));
            let text = operator_alone(&keys);
            let policy = parse(&text)?;
            (text, policy)
        }
    };
    let before = kept.as_ref().map(|pin| fetch::believe(&pin.checkpoint, &policy)).transpose()?;
    let at_least = before.as_ref().map(|before| before.head().size);
    let signed =
        fetch::checkpoint(&client, at_least).map_err(|error| match (error.code, at_least) {
            (Code::SizeNotReached, Some(size)) => Error::new(
                Code::InconsistentHistory,
                format!("the log at {} has lost its end", client.base()),
            )
            .expected(format!("at least the {size} events of the checkpoint kept in {}", args.file.display()))
            .found(error.found.unwrap_or(error.message)),
            _ => error,
        })?;
    let now = fetch::believe(&signed, &policy)?;
    if let Some(before) = &before
        && let Err(error) = fetch::follows(&client, before, &now)
    {
        if error.code == Code::InconsistentHistory {
            let beside = args.file.with_added_extension("conflict");
            write(&beside, signed.to_string().as_bytes())?;
            eprintln!("the checkpoint that does not follow is kept in {}", beside.display());
        }
        return Err(error.into());
    }
    write(&args.file, format!("{HEADER}\n{policy_text}\n{signed}").as_bytes())?;
    let size = now.head().size;
    let since = before.as_ref().map(|before| before.head().size);
    let document = json!({
        "origin": now.origin(),
        "size": size,
        "followed_from": since,
        "cosignatures": now.cosignatures().len(),
        "operator_trusted_alone": policy.trusts_operator_alone(),
    });
    let output = global.output();
    let color = output.colored();
    output.document(&document.to_string(), || {
        let follows = match since {
            None => "nothing: first contact".to_owned(),
            Some(since) => format!("{} events seen before", show_count(since)),
        };
        let rows = [
            ("log", now.origin().to_owned()),
            ("events", show_count(size)),
            ("follows from", follows),
            ("rests on", label(&policy).to_owned()),
        ];
        Ok(pairs("pinned", &rows, color))
    })
}

impl Pin {
    /// What the file holds; `None` if there is none.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it holds something else; those of the system.
    fn read(path: &Path) -> Result<Option<Pin>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format!("read {}", path.display()), &error)),
        };
        let wrong = |why: String| {
            Error::new(
                Code::BadRequest,
                format!("{} is not what `graven audit pin` keeps: {why}", path.display()),
            )
            .expected("the file as it was written, or a new name")
        };
        if bytes.len() > PIN_BYTES_MAX {
            return Err(wrong("it is too large".into()));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into()))?;
        let parts = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('\n')?.split_once("\n\n"));
        let (policy_text, checkpoint) =
            parts.ok_or_else(|| wrong(format!("it does not begin with {HEADER}")))?;
        let policy_text = format!("{policy_text}\n");
        let policy = parse(&policy_text).map_err(|error| wrong(error.message))?;
        let checkpoint =
            SignedCheckpoint::parse(checkpoint.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(Pin { policy_text, policy, checkpoint }))
    }
}

/// Replaces a file whole: what was kept is there until what comes is durable.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_added_extension("new");
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| Error::io(format!("write {}", path.display()), &error))
}
