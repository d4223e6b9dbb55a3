//! What can go wrong with a disk that stays powered, on schedule or by chance.

use crate::dice::Dice;
use std::io;
use std::path::Path;

/// A kind of call on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Reading from a file, or mapping it.
    Read,
    /// Writing to a file.
    Write,
    /// Making a file's bytes durable.
    Sync,
    /// Cutting or extending a file.
    SetLen,
    /// Opening a file that is there.
    Open,
    /// Making or emptying a file.
    Create,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Making names durable.
    SyncDir,
}

impl Call {
    /// True if the call changes what a power loss leaves.
    #[must_use]
    pub fn changes(self) -> bool {
        !matches!(self, Call::Read | Call::Open)
    }
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It answers EIO. A failed write leaves an unknown part of it; a failed sync loses an unknown part of what was
    /// not synced, for good.
    Eio,
    /// It answers EIO and does nothing.
    Refused,
    /// It does everything and answers EIO.
    Unanswered,
    /// A write says it went well, but the bytes are this far from where they belong.
    Misdirected(i64),
    /// A sync says it went well, but nothing was made durable.
    Lies,
}

/// One planned fault.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The kind of call that goes wrong.
    pub call: Call,
    /// Only on paths that contain this; empty = all.
    pub path: String,
    /// Calls of that kind on such paths that still go well.
    pub after: u64,
    /// How many calls then go wrong; `u64::MAX` = all that follow.
    pub times: u64,
    /// What happens to them.
    pub trouble: Trouble,
}

impl Fault {
    /// The next call of this kind answers EIO, once.
    #[must_use]
    pub fn eio(call: Call) -> Fault {
        Fault { call, path: String::new(), after: 0, times: 1, trouble: Trouble::Eio }
    }

    /// The same fault, only on paths that contain this.
    #[must_use]
    pub fn on(mut self, path: &str) -> Fault {
        path.clone_into(&mut self.path);
        self
    }

    /// The same fault, after this many calls went well.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Fault {
        self.after = calls;
        self
    }

    /// The same fault on this many calls.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Fault {
        self.times = calls;
        self
    }

    /// The same fault with another effect.
    #[must_use]
    pub fn with(mut self, trouble: Trouble) -> Fault {
        self.trouble = trouble;
        self
    }
}

/// The faults a disk has before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    chances: Vec<(Call, u64)>,
}

impl Plan {
    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn add_chance(&mut self, call: Call, per_million: u64) {
        self.chances.push((call, per_million));
    }

    pub(super) fn clear(&mut self) {
        *self = Plan::default();
    }

    /// What happens to this call. Every fault that fits counts the call, the first that is due decides.
    pub(super) fn meet(&mut self, call: Call, path: &Path, dice: &mut Dice) -> Option<Trouble> {
        let path = path.to_string_lossy();
        let mut trouble = None;
        for fault in &mut self.faults {
            if fault.call != call || fault.times == 0 || !path.contains(&fault.path) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if trouble.is_none() {
                fault.times = fault.times.saturating_sub(u64::from(fault.times != u64::MAX));
                trouble = Some(fault.trouble);
            }
        }
        let chances = self.chances.iter().filter(|(kind, _)| *kind == call);
        let unlucky =
            chances.fold(false, |unlucky, (_, per_million)| dice.chance(*per_million, 1_000_000) || unlucky);
        trouble.or(unlucky.then_some(Trouble::Eio))
    }
}

/// `EIO`.
pub(super) fn eio() -> io::Error {
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(EIO)
}
