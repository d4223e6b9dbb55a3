//! Verification: everything in a log is read, hashed again and compared with everything that was stored or signed about it.
//!
//! [`verify`] looks at a store that is stopped, whatever state it is in; [`crate::Store::verify`] at one that goes on.
//! Nothing here writes, and nothing is repaired: what is found is reported, with the place where it was found.

mod believed;
mod check;
mod erasures;
mod fields;
mod flip;
mod frames;
mod heads;
mod map;
mod scan;
mod signed;
mod snapshots;
mod stored;

use super::high_water::HighWater;
use super::keys::Keys as KeysDir;
use super::trail::HIGH_WATER_FILE;
use crate::Options;
use crate::append::{Shared, log_tag};
use crate::env::{Env, Open};
use crate::store::open::{AUDIT_DIR, CHECKPOINTS_FILE, Identity, KEYS_DIR, LOG_DIR, enter, read_identity};
use believed::Believed;
use check::{Begin, Checker};
use frames::{Cursor, segment_file};
use graven_model::{Code, Error, Result, limits};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::finding::{Finding, FindingCode, Report, Trust};
use graven_proof::leaf::log_genesis;
use graven_proof::merkle::Frontier;
use graven_proof::note::VerifierKey;
use heads::Heads;
use map::MapCheck;
use scan::{Input, Piece};
use signed::SignedHeads;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use stored::Stored;

/// What is verified, and against whose word.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// First position; the beginning by default.
    pub from: Option<u64>,
    /// Position to stop before; the end by default.
    pub to: Option<u64>,
    /// Checkpoints from elsewhere that the log has to agree with: pinned by a client, or cosigned by a witness.
    pub trusted: Vec<SignedCheckpoint>,
    /// Keys to check signatures with, known from elsewhere. Without any, those in the keys directory.
    pub vkeys: Vec<VerifierKey>,
    /// Events under no checkpoint are a finding, and not only noted.
    pub strict: bool,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Everything below was checked.
    pub position: u64,
    /// Position to stop before, where that is known.
    pub to: Option<u64>,
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Bytes of the log there are.
    pub bytes_total: u64,
    /// Findings so far.
    pub findings: u64,
}

/// Verifies a store that is stopped: reads everything, changes nothing, and takes the directory's lock meanwhile. A store
/// that is too damaged to be opened can be verified. `progress` is called every now and then, and may end the check.
///
/// Time: about a microsecond an event of 256 bytes. Memory: about 150 bytes a stream and 60 bytes a tag, twice that where
/// roots of the stream heads were sealed.
///
/// # Errors
/// [`Code::DataInUse`]; [`Code::UnknownFormat`] if there is no store; [`Code::Corrupted`] if `store.json` is damaged;
/// [`Code::BadRequest`] for a checkpoint of another log; [`Code::Timeout`] if `progress` ended it; [`Code::Io`]. What is
/// wrong with the log is in the report.
pub fn verify(
    dir: impl AsRef<Path>,
    options: &Options,
    verify: &VerifyOptions,
    progress: &mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
) -> Result<Report> {
    let (dir, env) = (dir.as_ref(), &options.env);
    let lock = enter(env, dir, false)?;
    let identity = read_identity(env, dir)?
        .ok_or_else(|| Error::new(Code::UnknownFormat, format!("{} holds no graven store", dir.display())))?;
    let pieces = pieces(env, &dir.join(LOG_DIR))?;
    let mut entropy =
        env.entropy(ENTROPY).map_err(|error| Error::io("randomness of the operating system", &error))?;
    let report = Walk {
        env,
        dir,
        options,
        identity: &identity,
        pieces: &pieces,
        begin: Begin {
            frontier: Frontier::default(),
            last_leaf: log_genesis(&identity.origin),
            commit_time: i64::MIN,
            trusted_below: verify.from.unwrap_or(0),
        },
        first_piece: 0,
        stored: Stored::open(env, &dir.join(AUDIT_DIR))?,
        heads: Heads::new(&mut entropy, limits::VERIFY_NAMES_MAX),
        open: None,
    }
    .run(verify, progress)?;
    drop(lock);
    Ok(report)
}

/// Verifies a store that goes on: everything below its head as it is now. Appends and reads go on meanwhile. `keys`: those
/// of the log.
///
/// # Errors
/// As [`verify`].
pub(crate) fn verify_open(
    shared: &Shared,
    identity: &Identity,
    keys: Vec<VerifierKey>,
    verify: &VerifyOptions,
    progress: &mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
) -> Result<Report> {
    let env = &shared.env;
    let head = shared.head();
    let sources = &shared.sources;
    let segments = sources.log.segments();
    let from = verify.from.unwrap_or(0).min(head);
    let first_piece = segments.partition_point(|segment| segment.first() <= from).saturating_sub(1);
    let pieces: Vec<Piece> = segments
        .iter()
        .map(|segment| Piece {
            first: segment.first(),
            path: segment.path.clone(),
            file: Arc::clone(&segment.file),
        })
        .collect();
    let mut begin = Begin {
        frontier: Frontier::default(),
        last_leaf: log_genesis(&identity.origin),
        commit_time: i64::MIN,
        trusted_below: from,
    };
    if let Some(segment) = segments.get(first_piece).filter(|_| first_piece > 0) {
        begin.frontier = segment.header.frontier.clone();
        begin.last_leaf = segment.header.last_leaf;
        begin.commit_time = segment.header.commit_time;
    }
    let mut entropy =
        env.entropy(ENTROPY).map_err(|error| Error::io("randomness of the operating system", &error))?;
    let mut heads = Heads::new(&mut entropy, limits::VERIFY_NAMES_OPEN_MAX).with_index(sources, head);
    heads.partial = first_piece > 0;
    Walk {
        env,
        dir: sources.log.store_dir(),
        options: &Options { env: env.clone(), ..Options::default() },
        identity,
        pieces: &pieces,
        begin,
        first_piece,
        stored: Stored::live(&sources.tiles, head),
        heads,
        open: Some(OpenStore { head, keys }),
    }
    .run(verify, progress)
}

/// What a store that goes on says of itself.
struct OpenStore {
    /// Where it ended when the check began.
    head: u64,
    keys: Vec<VerifierKey>,
}

/// Keeps the randomness of checks apart from that of every other user of a fixed seed.
const ENTROPY: u64 = 1 << 33;
/// Bytes between two calls of a progress function.
const PROGRESS_BYTES: u64 = 1 << 20;

/// The segment files in a directory, in the order of their names.
fn pieces(env: &Env, dir: &Path) -> Result<Vec<Piece>> {
    let names = match env.disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io(dir.display(), &error)),
    };
    let mut pieces = Vec::new();
    for name in names {
        let Some(first) = name.strip_suffix(".seg").and_then(|stem| stem.parse().ok()) else { continue };
        let path = dir.join(&name);
        let file = env.disk.open(&path, Open::Read).map_err(|error| Error::io(path.display(), &error))?;
        pieces.push(Piece { first, path, file });
    }
    pieces.sort_by_key(|piece| piece.first);
    Ok(pieces)
}

struct Walk<'a> {
    env: &'a Env,
    dir: &'a Path,
    options: &'a Options,
    identity: &'a Identity,
    pieces: &'a [Piece],
    begin: Begin,
    first_piece: usize,
    stored: Stored,
    heads: Heads<'a>,
    open: Option<OpenStore>,
}

impl<'a> Walk<'a> {
    fn run(
        self,
        verify: &VerifyOptions,
        progress: &mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
    ) -> Result<Report> {
        let begun = self.env.clock.now_us();
        let mut report = Report::default();
        let signed = self.signed(verify, &mut report)?;
        let Walk { env, identity, pieces, begin, first_piece, stored, heads, open, .. } = self;
        let head = open.map(|open| open.head);
        let from = begin.trusted_below;
        let map = if heads.partial {
            MapCheck::off("the check did not begin with the first event")
        } else {
            MapCheck::default()
        };
        let start = begin.frontier.size();
        let mut checker = Checker::new(report, heads, map, signed, stored, begin);
        let mut cursor = Cursor {
            position: start,
            previous: (first_piece == 0).then(|| crate::append::seed(identity.log_id.0)),
            bytes: 0,
            told: 0,
        };
        let to = verify.to.unwrap_or(u64::MAX).min(head.unwrap_or(u64::MAX));
        let total = pieces[first_piece.min(pieces.len())..]
            .iter()
            .map(|piece| piece.file.len().unwrap_or_default())
            .sum();
        let mut buffer = Vec::new();
        for index in first_piece..pieces.len() {
            if cursor.position >= to {
                break;
            }
            let mut input = Input::new(&pieces[index], buffer)?;
            let next = pieces.get(index + 1).map(|piece| piece.first);
            let mut tell = |cursor: &mut Cursor, checker: &Checker<'_>, read: u64| {
                let bytes = cursor.bytes + read;
                if bytes - cursor.told < PROGRESS_BYTES {
                    return Ok(());
                }
                cursor.told = bytes;
                let findings = checker.report.findings();
                let to = (to < u64::MAX).then_some(to);
                let step =
                    VerifyProgress { position: cursor.position, to, bytes, bytes_total: total, findings };
                match progress(&step) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => {
                        Err(Error::new(Code::Timeout, "the check was ended before it was done"))
                    }
                }
            };
            segment_file(identity, &mut input, next, to, head, &mut cursor, &mut checker, &mut tell)?;
            cursor.bytes += input.read;
            buffer = input.into_buffer();
        }
        let end = cursor.position;
        let whole = verify.to.is_none_or(|to| to > end) || head.is_some_and(|head| end >= head);
        let stored_leaves = checker.stored_leaves();
        let map_off = checker.map.why_off();
        let signed_until = checker.signed_until;
        checker.finish(end, whole && head.is_none())?;
        let Checker { mut report, mut heads, erased, any_erased, snapshots, .. } = checker;
        snapshots.compare(pieces, log_tag(identity.log_id.0), &mut report)?;
        if any_erased && whole {
            let tag = log_tag(identity.log_id.0);
            erasures::compare(&pieces[first_piece..], tag, end, &erased, &mut heads, &mut report)?;
        } else if any_erased {
            report.note(
                "what was erased was not compared with what the log says of it: that stands at its end",
            );
        }
        report.checked = [from.min(end), end];
        report.bytes = cursor.bytes;
        if let Some(why) = map_off {
            report.note(format!("sealed roots of the stream heads were not compared: {why}"));
        }
        if whole && stored_leaves > end {
            report.note(format!(
                "the tiles hold {} leaf hashes more than there are events: a crash leaves that, and so does a log whose end was cut off",
                stored_leaves - end
            ));
        }
        if whole
            && report.trust != Trust::NoCheckpoints
            && signed_until < end
            && report.first_bad_checkpoint.is_none()
        {
            let tail = format!("the last {} events are under no checkpoint yet", end - signed_until);
            if verify.strict {
                let finding =
                    Finding::new(FindingCode::UnsignedTail, format!("a checkpoint of {end} events"), tail);
                report.add(finding);
            } else {
                report.note(tail);
            }
        }
        let elapsed = env.clock.now_us().saturating_sub(begun).max(0);
        report.elapsed_ms = elapsed.unsigned_abs() / 1000;
        Ok(report)
    }

    /// The signed heads to compare with, and whom to believe.
    fn signed(&self, verify: &VerifyOptions, report: &mut Report) -> Result<SignedHeads> {
        let origin = &self.identity.origin;
        let mut brought = Vec::new();
        for checkpoint in &verify.trusted {
            if checkpoint.unverified_origin() != origin {
                return Err(Error::new(Code::BadRequest, "the checkpoint to compare with is of another log")
                    .expected(origin.clone())
                    .found(checkpoint.unverified_origin().to_owned()));
            }
            brought.push((checkpoint.clone(), "the checkpoint that was given".to_owned()));
        }
        let own = match &self.open {
            Some(open) => open.keys.clone(),
            None => self.beside(&mut brought, report),
        };
        let (vkeys, mut trust) = match verify.vkeys.is_empty() {
            true => (own, Trust::OwnKeys),
            false => (verify.vkeys.clone(), Trust::GivenKeys),
        };
        if vkeys.is_empty() {
            trust = Trust::NotVouched;
        }
        let believed = Believed::new(&vkeys, origin)?;
        let file = self.dir.join(CHECKPOINTS_FILE);
        let signed = SignedHeads::open(
            self.env,
            &file,
            origin,
            believed,
            brought,
            self.open.as_ref().map(|_| self.begin.trusted_below),
            report,
        )?;
        report.trust = if signed.is_empty() { Trust::NoCheckpoints } else { trust };
        Ok(signed)
    }

    /// What a stopped store keeps beside itself: its keys, and the high-water mark.
    fn beside(&self, brought: &mut Vec<(SignedCheckpoint, String)>, report: &mut Report) -> Vec<VerifierKey> {
        let keys_dir = self.options.keys_dir.clone().unwrap_or_else(|| self.dir.join(KEYS_DIR));
        let mark = self.options.high_water.clone().unwrap_or_else(|| keys_dir.join(HIGH_WATER_FILE));
        match HighWater::open(self.env, &mark) {
            Ok(mark) => {
                let place = mark.path().display().to_string();
                brought.extend(mark.mark().map(|stored| (stored.checkpoint.clone(), place)));
            }
            Err(error) => report.note(format!("the high-water mark was left out: {error}")),
        }
        match KeysDir::open(self.env, &keys_dir, &self.identity.origin) {
            Ok(keys) => keys.known().to_vec(),
            Err(error) => {
                report.note(format!("the keys beside the log were left out: {error}"));
                Vec::new()
            }
        }
    }
}
