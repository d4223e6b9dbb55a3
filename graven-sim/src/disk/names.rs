//! Names of files: what a process sees, what a power loss leaves, and the changes in between.

use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) type InodeId = u64;

#[derive(Clone)]
enum Change {
    Dir(PathBuf),
    Link(PathBuf, InodeId),
    Rename(PathBuf, PathBuf, InodeId),
    Unlink(PathBuf),
}

impl Change {
    fn is_in(&self, dir: &Path) -> bool {
        match self {
            Change::Dir(path) | Change::Link(path, _) | Change::Unlink(path) => path.parent() == Some(dir),
            Change::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

/// The name space of a disk. Directories at the root are durable as soon as they are made.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) live: BTreeMap<PathBuf, InodeId>,
    pub(super) dirs: BTreeSet<PathBuf>,
    durable: BTreeMap<PathBuf, InodeId>,
    durable_dirs: BTreeSet<PathBuf>,
    pending: Vec<Change>,
}

impl Names {
    /// Makes a directory and its parents.
    pub(super) fn make_dir(&mut self, dir: &Path) {
        let missing: Vec<&Path> = dir.ancestors().filter(|dir| !self.dirs.contains(*dir)).collect();
        for dir in missing.into_iter().rev() {
            if dir.parent().is_none_or(|parent| parent == Path::new("/")) {
                self.durable_dirs.insert(dir.into());
                self.dirs.insert(dir.into());
            } else {
                self.change(Change::Dir(dir.into()));
            }
        }
    }

    pub(super) fn link(&mut self, path: &Path, inode: InodeId) {
        self.change(Change::Link(path.into(), inode));
    }

    /// False if there is no such file.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(inode) = self.live.get(from).copied() else { return false };
        self.change(Change::Rename(from.into(), to.into(), inode));
        true
    }

    /// False if there is no such file.
    pub(super) fn unlink(&mut self, path: &Path) -> bool {
        if !self.live.contains_key(path) {
            return false;
        }
        self.change(Change::Unlink(path.into()));
        true
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.live, &mut self.dirs, &change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        let (synced, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|change| change.is_in(dir));
        self.pending = pending;
        let synced: Vec<Change> = synced;
        synced.iter().for_each(|change| apply(&mut self.durable, &mut self.durable_dirs, change));
    }

    /// What is left if the power goes now: the changes up to some moment as a journal would keep them, or any of
    /// them as a file system without one might.
    pub(super) fn after_power_loss(&self, dice: &mut Dice) -> Names {
        let (mut left, mut dirs) = (self.durable.clone(), self.durable_dirs.clone());
        let ordered = dice.chance(1, 2);
        let kept = dice.index(self.pending.len() + 1);
        for (at, change) in self.pending.iter().enumerate() {
            if if ordered { at < kept } else { dice.chance(1, 2) } {
                apply(&mut left, &mut dirs, change);
            }
        }
        let reachable = dirs.clone();
        dirs.retain(|dir| dir.ancestors().all(|above| reachable.contains(above)));
        left.retain(|path, _| path.parent().is_some_and(|dir| dirs.contains(dir)));
        Names {
            live: left.clone(),
            dirs: dirs.clone(),
            durable: left,
            durable_dirs: dirs,
            pending: Vec::new(),
        }
    }

    /// Inodes that a name leads to, now or after a power loss.
    pub(super) fn referenced(&self) -> BTreeSet<InodeId> {
        let pending = self.pending.iter().filter_map(|change| match change {
            Change::Link(_, inode) | Change::Rename(_, _, inode) => Some(*inode),
            Change::Dir(_) | Change::Unlink(_) => None,
        });
        self.live.values().chain(self.durable.values()).copied().chain(pending).collect()
    }
}

fn apply(names: &mut BTreeMap<PathBuf, InodeId>, dirs: &mut BTreeSet<PathBuf>, change: &Change) {
    match change {
        Change::Dir(path) => {
            dirs.insert(path.clone());
        }
        Change::Link(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        Change::Rename(from, to, inode) => {
            if names.get(from) == Some(inode) {
                names.remove(from);
            }
            names.insert(to.clone(), *inode);
        }
        Change::Unlink(path) => {
            names.remove(path);
        }
    }
}
