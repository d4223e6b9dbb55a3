//! [`SimDisk`]: a disk in memory that loses power, fills up, fails and rots when told to.
//!
//! What a crash leaves is what [`graven_engine::env::Disk`] says it may, thrown with dice from a seed. After a crash
//! everything opened before it is dead, so a store that does not know it was killed cannot write.

mod content;
mod fault;
mod inode;
mod names;
#[cfg(test)]
mod tests;

pub use fault::{Call, Fault, Trouble};

use crate::dice::{Dice, fingerprint, mix};
use content::{CHUNK_BYTES, Change};
use fault::{Plan, eio};
use graven_engine::env::{Disk, DiskFile, MappedFile, Open};
use inode::{Inode, Luck};
use names::{InodeId, Names};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Calls a disk has served, and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Reads and mappings.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// All calls that change what a power loss leaves; what [`SimDisk::power_off_after`] counts.
    pub changes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone)]
struct State {
    names: Names,
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    locks: Vec<PathBuf>,
    powered: bool,
    /// Changing calls left before the power goes.
    power_left: Option<u64>,
    capacity_bytes: u64,
    plan: Plan,
    dice: Dice,
    calls: Calls,
    /// Fingerprint of the changing calls on each path. Kept by path because threads take turns as they please.
    traces: BTreeMap<PathBuf, u64>,
}

impl SimDisk {
    /// An empty disk without an end and without faults.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::of(State {
            names: Names::default(),
            inodes: BTreeMap::new(),
            next_inode: 1,
            locks: Vec::new(),
            powered: true,
            power_left: None,
            capacity_bytes: u64::MAX,
            plan: Plan::default(),
            dice: Dice::new(seed),
            calls: Calls::default(),
            traces: BTreeMap::new(),
        })
    }

    fn of(state: State) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(state)))
    }

    /// Pulls the plug; the answer is the disk after the power is back, without its faults. This disk is dead.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut state = self.0.lock();
        state.powered = false;
        let mut dice = Dice::new(seed);
        let names = state.names.after_power_loss(&mut dice);
        let luck = Luck::throw(&mut dice);
        let mut inodes = BTreeMap::new();
        for id in names.referenced() {
            let left = state.inodes[&id].after_power_loss(&mut dice, luck);
            inodes.insert(id, Inode { live: left.clone(), durable: left, ..Inode::default() });
        }
        SimDisk::of(State { names, inodes, dice, ..state.reborn() })
    }

    /// Kills the process that uses the disk: handles are dead and locks free, the page cache and what is planned stay.
    #[must_use]
    pub fn kill(&self) -> SimDisk {
        let mut state = self.0.lock();
        state.powered = false;
        let mut next = State { names: state.names.clone(), inodes: state.inodes.clone(), ..state.reborn() };
        next.inodes.values_mut().for_each(|inode| inode.handles = 0);
        SimDisk::of(next)
    }

    /// A copy of the disk as processes see it now, all of it durable, without locks and faults.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        let state = self.0.lock();
        let mut next = State { names: state.names.clone(), inodes: state.inodes.clone(), ..state.reborn() };
        for inode in next.inodes.values_mut() {
            *inode = Inode { live: inode.live.clone(), durable: inode.live.clone(), ..Inode::default() };
        }
        let dirs: Vec<PathBuf> = next.names.dirs.iter().cloned().collect();
        dirs.iter().for_each(|dir| next.names.sync(dir));
        SimDisk::of(next)
    }

    /// Readers see what is on the platter, not what a failed sync left in the cache.
    pub fn drop_caches(&self) {
        for inode in self.0.lock().inodes.values_mut() {
            let mut live = inode.durable.clone();
            inode.pending.iter().for_each(|change| live.apply(change));
            inode.live = live;
        }
    }

    /// The power goes after this many more calls that change something: the next one still reaches the drive's cache,
    /// but is not answered well. Everything after it answers EIO.
    pub fn power_off_after(&self, changes: u64) {
        self.0.lock().power_left = Some(changes);
    }

    /// True until the power has gone.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.0.lock().powered
    }

    /// Bytes of the whole disk; writes beyond answer ENOSPC.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// Bytes taken by files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used_bytes()
    }

    /// Plans a fault.
    pub fn inject(&self, fault: Fault) {
        self.0.lock().plan.add(fault);
    }

    /// From now on calls of this kind answer EIO this many times in a million.
    pub fn inject_chance(&self, call: Call, per_million: u64) {
        self.0.lock().plan.add_chance(call, per_million);
    }

    /// Forgets all planned faults.
    pub fn clear_faults(&self) {
        self.0.lock().plan.clear();
    }

    /// What it was asked to do so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.lock().calls
    }

    /// Fingerprint of all changing calls (kind, path, offset, bytes), in their order on each path.
    #[must_use]
    pub fn trace(&self) -> u64 {
        let state = self.0.lock();
        state.traces.values().fold(0, |sum, trace| sum.wrapping_add(*trace))
    }

    /// Fingerprint of the changing calls on one path.
    #[must_use]
    pub fn trace_of(&self, path: &Path) -> u64 {
        self.0.lock().traces.get(path).copied().unwrap_or_default()
    }

    /// Paths of all files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.live.keys().cloned().collect()
    }

    /// The bytes of a file as a process sees them; `None` without such a file.
    #[must_use]
    pub fn bytes_of(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        let id = state.names.live.get(path)?;
        Some(state.inodes[id].live.to_vec())
    }

    /// Flips one bit at rest, 0 being the lowest. Nobody is told.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip(&self, path: &Path, offset: u64, bit: u8) {
        let mut byte = [0];
        let mut state = self.0.lock();
        let inode = state.at_rest(path);
        assert_eq!(inode.live.read(&mut byte, offset), 1, "{} has no byte {offset}", path.display());
        byte[0] ^= 1 << bit;
        inode.live.write(&byte, offset);
        inode.durable.write(&byte, offset);
    }

    /// Replaces bytes at rest. Nobody is told.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) {
        let mut state = self.0.lock();
        let inode = state.at_rest(path);
        inode.live.write(bytes, offset);
        inode.durable.write(bytes, offset);
    }

    /// Cuts or extends a file at rest. Nobody is told.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn cut(&self, path: &Path, len: u64) {
        let mut state = self.0.lock();
        let inode = state.at_rest(path);
        inode.live.set_len(len);
        inode.durable.set_len(len);
    }

    /// Removes a file at rest, durably. Nobody is told.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn lose(&self, path: &Path) {
        let mut state = self.0.lock();
        assert!(state.names.unlink(path), "there is no {}", path.display());
        if let Some(dir) = path.parent() {
            state.names.sync(dir);
        }
    }
}

impl State {
    /// A powered state like this one without what belongs to a process or to the time before.
    fn reborn(&self) -> State {
        State {
            names: Names::default(),
            inodes: BTreeMap::new(),
            next_inode: self.next_inode,
            locks: Vec::new(),
            powered: true,
            power_left: None,
            capacity_bytes: self.capacity_bytes,
            plan: Plan::default(),
            dice: Dice::new(mix(self.dice.clone().number())),
            calls: Calls::default(),
            traces: BTreeMap::new(),
        }
    }

    fn at_rest(&mut self, path: &Path) -> &mut Inode {
        let id = *self.names.live.get(path).unwrap_or_else(|| panic!("there is no {}", path.display()));
        let inode = self.inodes.get_mut(&id).expect("a name leads to an inode");
        // What no process synced has long been written by the time a file rots.
        inode.sync();
        inode
    }

    fn used_bytes(&self) -> u64 {
        let named: std::collections::BTreeSet<InodeId> = self.names.live.values().copied().collect();
        let held = self.inodes.iter().filter(|(id, inode)| inode.handles > 0 || named.contains(id));
        held.map(|(_, inode)| inode.live.allocated_bytes()).sum()
    }

    /// Every call begins here: power, counts, trace, planned faults. `Ok(Some(_))` is trouble the call has to see to;
    /// the last call before the power goes meets trouble too.
    fn begin(&mut self, call: Call, path: &Path, detail: u64) -> io::Result<Option<Trouble>> {
        if !self.powered {
            return Err(eio());
        }
        if call.changes() {
            self.calls.changes += 1;
            let trace = self
                .traces
                .entry(path.to_owned())
                .or_insert_with(|| fingerprint(path.as_os_str().as_encoded_bytes()));
            *trace = mix(*trace ^ mix(detail ^ call as u64));
            if let Some(left) = &mut self.power_left {
                if *left == 0 {
                    self.powered = false;
                    return Ok(Some(Trouble::Eio));
                }
                *left -= 1;
            }
        }
        Ok(self.plan.meet(call, path, &mut self.dice))
    }

    /// For calls that either happen or not.
    fn begin_whole(&mut self, call: Call, path: &Path) -> io::Result<()> {
        match self.begin(call, path, 0)? {
            Some(_) if self.powered || self.dice.chance(1, 2) => Err(eio()),
            _ => Ok(()),
        }
    }

    /// The answer to a call that did happen: an error if the power went with it.
    fn answer<T>(&self, value: T) -> io::Result<T> {
        if self.powered { Ok(value) } else { Err(eio()) }
    }

    /// What an open file is called by now: it may have been renamed, or removed.
    fn name_of(&self, inode: InodeId, opened_as: &Path) -> PathBuf {
        let mut names = self.names.live.iter().filter(|(_, id)| **id == inode);
        names.next().map_or_else(|| opened_as.to_owned(), |(path, _)| path.clone())
    }

    fn find(&self, path: &Path) -> io::Result<InodeId> {
        self.names.live.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn collect_garbage(&mut self) {
        let named = self.names.referenced();
        self.inodes.retain(|id, inode| inode.handles > 0 || named.contains(id));
    }

    fn make_room(&self, inode: InodeId, offset: u64, len: u64) -> io::Result<()> {
        if self.capacity_bytes == u64::MAX {
            return Ok(());
        }
        let growth = self.inodes[&inode].live.growth_bytes(offset, len);
        if growth > 0 && self.used_bytes() + growth > self.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        let id = if how == Open::Create {
            state.begin_whole(Call::Create, path)?;
            if !path.parent().is_some_and(|dir| state.names.dirs.contains(dir)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            match state.find(path) {
                Ok(id) => {
                    state.inodes.get_mut(&id).expect("a name leads to an inode").change(Change::SetLen(0));
                    id
                }
                Err(_) => {
                    let id = state.next_inode;
                    state.next_inode += 1;
                    state.inodes.insert(id, Inode::default());
                    state.names.link(path, id);
                    id
                }
            }
        } else {
            state.begin_whole(Call::Open, path)?;
            state.find(path)?
        };
        state.inodes.get_mut(&id).expect("a name leads to an inode").handles += 1;
        let file = SimFile { disk: self.clone(), id, path: path.to_owned(), writable: how != Open::Read };
        let powered = state.powered;
        drop(state);
        if powered { Ok(Arc::new(file)) } else { Err(eio()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        if !state.powered {
            return Err(eio());
        }
        if !state.names.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let paths = state.names.live.keys().chain(&state.names.dirs);
        let inside = paths.filter(|path| path.parent() == Some(dir)).filter_map(|path| path.file_name());
        let mut names: Vec<String> = inside.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.powered {
            return Err(eio());
        }
        state.names.make_dir(dir);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin_whole(Call::Rename, to)?;
        if !state.names.rename(from, to) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.answer(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin_whole(Call::Remove, path)?;
        if !state.names.unlink(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.answer(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.calls.dir_syncs += 1;
        state.begin_whole(Call::SyncDir, dir)?;
        if !state.names.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.sync(dir);
        state.collect_garbage();
        state.answer(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        if !state.powered {
            return Err(eio());
        }
        Ok(state.capacity_bytes.saturating_sub(state.used_bytes()))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        drop(self.open(path, if self.0.lock().find(path).is_ok() { Open::Write } else { Open::Create })?);
        let mut state = self.0.lock();
        if state.locks.iter().any(|held| held == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locks.push(path.to_owned());
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        let mut state = self.0.lock();
        state.begin_whole(Call::Read, path)?;
        let id = state.find(path)?;
        let bytes = state.inodes[&id].live.to_vec();
        state.calls.reads += 1;
        state.calls.bytes_read += bytes.len() as u64;
        Ok(MappedFile::Owned(bytes))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.0.lock().locks.retain(|held| *held != self.path);
    }
}

struct SimFile {
    disk: SimDisk,
    id: InodeId,
    path: PathBuf,
    writable: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(inode) = self.disk.0.lock().inodes.get_mut(&self.id) {
            inode.handles -= 1;
        }
    }
}

const HELD: &str = "a handle keeps its inode";

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        let path = state.name_of(self.id, &self.path);
        state.begin_whole(Call::Read, &path)?;
        let read = state.inodes[&self.id].live.read(buffer, offset);
        state.calls.reads += 1;
        state.calls.bytes_read += read as u64;
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.disk.0.lock();
        let state = &mut *state;
        state.make_room(self.id, offset, bytes.len() as u64)?;
        let path = state.name_of(self.id, &self.path);
        let trouble = state.begin(Call::Write, &path, fingerprint_sparse(bytes) ^ mix(offset))?;
        state.calls.writes += 1;
        state.calls.bytes_written += bytes.len() as u64;
        let inode = state.inodes.get_mut(&self.id).expect(HELD);
        match trouble {
            None | Some(Trouble::Lies) => inode.change(Change::write(bytes, offset)),
            Some(Trouble::Refused) => return Err(eio()),
            Some(Trouble::Unanswered) => {
                inode.change(Change::write(bytes, offset));
                return Err(eio());
            }
            Some(Trouble::Misdirected(by)) => {
                inode.change(Change::write(bytes, offset.saturating_add_signed(by)))
            }
            Some(Trouble::Eio) => {
                let part = if state.powered { state.dice.index(bytes.len() + 1) } else { bytes.len() };
                inode.change(Change::write(&bytes[..part], offset));
                return Err(eio());
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let state = &mut *state;
        state.calls.syncs += 1;
        let path = state.name_of(self.id, &self.path);
        let trouble = state.begin(Call::Sync, &path, 0)?;
        let inode = state.inodes.get_mut(&self.id).expect(HELD);
        match trouble {
            None | Some(Trouble::Misdirected(_)) => inode.sync(),
            Some(Trouble::Lies) => {}
            Some(Trouble::Refused) => return Err(eio()),
            Some(Trouble::Unanswered) => {
                inode.sync();
                return Err(eio());
            }
            Some(Trouble::Eio) => {
                // A sync cut off by the power leaves everything as pending as it was.
                if state.powered {
                    inode.sync_failing(&mut state.dice);
                }
                return Err(eio());
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.disk.0.lock();
        let path = state.name_of(self.id, &self.path);
        state.begin_whole(Call::SetLen, &path)?;
        state.inodes.get_mut(&self.id).expect(HELD).change(Change::SetLen(len));
        state.answer(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.disk.0.lock();
        let had = state.inodes[&self.id].live.len();
        state.make_room(self.id, 0, len)?;
        let path = state.name_of(self.id, &self.path);
        state.begin_whole(Call::SetLen, &path)?;
        if len > had {
            let change = Change::Zeros { offset: had, len: len - had };
            state.inodes.get_mut(&self.id).expect(HELD).change(change);
        }
        state.answer(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        if !state.powered {
            return Err(eio());
        }
        Ok(state.inodes[&self.id].live.len())
    }
}

/// Fingerprint that does not look at long runs of zeros.
fn fingerprint_sparse(bytes: &[u8]) -> u64 {
    const ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];
    let parts = bytes.chunks(CHUNK_BYTES).enumerate();
    let full = parts.filter(|(_, part)| **part != ZEROS[..part.len()]);
    full.fold(bytes.len() as u64, |hash, (index, part)| mix(hash ^ index as u64 ^ fingerprint(part)))
}
