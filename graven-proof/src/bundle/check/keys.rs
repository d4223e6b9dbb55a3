//! Who signed the checkpoint, and whether he may: keys that are trusted, and those they authorised in the log.

use super::{Log, Stop, malformed, read};
use crate::base64;
use crate::bundle::layout::{KEY_HISTORY, KEYS};
use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::control::{Control, KeyChange, KeySignature};
use crate::finding::{Finding, FindingCode, Report};
use crate::leaf::{Kind, Leaf};
use crate::note::{Algorithm, VerifierKey};
use crate::policy::Policy;

/// A key and the sizes it may sign.
#[derive(Clone)]
struct Believed {
    key: VerifierKey,
    from: u64,
    until: u64,
}

/// Verifies the checkpoint by the keys that `trust` names and those they authorised.
pub(super) fn believe(
    log: &Log<'_>,
    checkpoint: &SignedCheckpoint,
    trust: Option<&Policy>,
    report: &mut Report,
) -> Result<(), Stop> {
    let origin = checkpoint.unverified_origin();
    let changes = changes(log)?;
    let said = said(log)?;
    let Some(policy) = trust else {
        report.add(
            Finding::new(
                FindingCode::KeyUnknown,
                "a verifier key that did not come with the bundle",
                "none given",
            )
            .shown_by(super::CHECKPOINT),
        );
        return Ok(());
    };
    let given: Vec<Believed> = policy
        .logs()
        .iter()
        .map(|party| Believed { key: party.key.clone(), from: 0, until: u64::MAX })
        .collect();
    // what a key that was withdrawn authorised afterwards does not count, so withdrawals are looked at first
    let everyone = follow(&given, &changes, origin, &[]);
    let withdrawn = withdrawals(&everyone, &changes, origin);
    let believed = follow(&given, &changes, origin, &withdrawn);

    let size = log.head.size;
    let may: Vec<VerifierKey> = believed
        .iter()
        .filter(|key| (key.from..=key.until).contains(&size))
        .map(|key| key.key.clone())
        .collect();
    if let Err(error) = checkpoint.verify(&policy.with_logs(&may)) {
        let code = match &error {
            CheckpointError::UntrustedLog(_) => {
                let all: Vec<VerifierKey> = believed.iter().map(|key| key.key.clone()).collect();
                let signed = checkpoint.verify(&policy.with_logs(&all));
                let stranger = matches!(signed, Err(CheckpointError::UntrustedLog(_)));
                if stranger { FindingCode::KeyUnknown } else { FindingCode::KeyOutOfRange }
            }
            CheckpointError::QuorumMissing { .. } => FindingCode::WitnessQuorumMissing,
            _ => FindingCode::CheckpointSignatureInvalid,
        };
        let expected = "a checkpoint that the trusted keys vouch for";
        report.add(Finding::new(code, expected, error.to_string()).shown_by(super::CHECKPOINT));
    }
    if policy.trusts_operator_alone() {
        report.note("believed on the operator's word alone: no witness is asked for");
    }
    if said.iter().any(|key| believed.iter().all(|known| known.key.public() != key.public())) {
        report.note("the bundle names keys of the log that none of the given keys leads to");
    }
    Ok(())
}

/// The records about keys, by position.
fn changes(log: &Log<'_>) -> Result<Vec<(u64, KeyChange)>, Stop> {
    let mut changes = Vec::new();
    for (position, bytes) in log.control_lines(KEY_HISTORY)? {
        let leaf = Leaf::decode(&bytes).ok().filter(|leaf| leaf.kind == Kind::Key);
        match leaf.map(|leaf| Control::decode(Kind::Key, leaf.body)) {
            Some(Ok(Control::Key(change))) => changes.push((position, change)),
            _ => return Err(malformed(KEY_HISTORY, "leaves of KEY records")),
        }
    }
    Ok(changes)
}

/// The keys the bundle names.
fn said(log: &Log<'_>) -> Result<Vec<VerifierKey>, Stop> {
    let bytes = read(log.files, KEYS)?;
    let text = String::from_utf8(bytes).map_err(|_| malformed(KEYS, "UTF-8"))?;
    text.lines().map(|line| line.parse().map_err(|_| malformed(KEYS, "a verifier key a line"))).collect()
}

/// The keys that are believed: those given, and those that one of them, or one authorised before, authorised.
fn follow(
    given: &[Believed],
    changes: &[(u64, KeyChange)],
    origin: &str,
    withdrawn: &[(VerifierKey, u64)],
) -> Vec<Believed> {
    let until = |key: &VerifierKey| {
        let last =
            withdrawn.iter().filter(|(other, _)| other.public() == key.public()).map(|(_, until)| *until);
        last.min().unwrap_or(u64::MAX)
    };
    let mut believed: Vec<Believed> =
        given.iter().map(|known| Believed { until: until(&known.key), ..known.clone() }).collect();
    for (position, change) in changes {
        let KeyChange::Add { vkey, valid_from, signatures } = change else { continue };
        let Ok(key) = vkey.parse::<VerifierKey>() else { continue };
        let known = believed.iter().any(|known| known.key.public() == key.public());
        let may = |signer: &Believed| *position <= signer.until;
        if known
            || key.algorithm() != Algorithm::Ed25519
            || !authorised(&believed, change, signatures, origin, may)
        {
            continue;
        }
        believed.push(Believed { until: until(&key), key, from: *valid_from });
    }
    believed
}

/// Keys that sign nothing above a size any more, because a believed key says so.
fn withdrawals(believed: &[Believed], changes: &[(u64, KeyChange)], origin: &str) -> Vec<(VerifierKey, u64)> {
    let withdrawn = changes.iter().filter_map(|(_, change)| {
        let (vkey, until, signatures) = match change {
            KeyChange::Add { .. } => return None,
            KeyChange::Retire { vkey, valid_until, signatures } => (vkey, *valid_until, signatures),
            KeyChange::Revoke { vkey, last_good, signatures } => (vkey, *last_good, signatures),
        };
        let key = vkey.parse().ok()?;
        authorised(believed, change, signatures, origin, |_| true).then_some((key, until))
    });
    withdrawn.collect()
}

fn authorised(
    believed: &[Believed],
    change: &KeyChange,
    signatures: &[KeySignature],
    origin: &str,
    may: impl Fn(&Believed) -> bool,
) -> bool {
    let text = change.text(origin);
    signatures.iter().any(|signature| {
        let bytes = base64::decode(&signature.signature).and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        let signer = signature.vkey.parse::<VerifierKey>().ok();
        let (Some(bytes), Some(signer)) = (bytes, signer) else { return false };
        let known = |known: &&Believed| known.key.public() == signer.public() && may(known);
        believed.iter().find(known).is_some_and(|known| known.key.signed(text.as_bytes(), &bytes))
    })
}
