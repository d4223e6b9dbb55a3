//! A disk that refuses to take more.

use super::*;
use crate::env::{Disk, DiskFile, MappedFile, Open, RealDisk};
use graven_model::Code;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The real disk with room for a number of new files.
struct FillingDisk {
    room: AtomicUsize,
}

impl Disk for FillingDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if how == Open::Create {
            let taken =
                self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1));
            taken.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        }
        RealDisk.open(path, how)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(path)
    }
    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        RealDisk.map(path)
    }
}

fn bench_with_room(room: usize) -> (Bench, Arc<FillingDisk>) {
    let disk = Arc::new(FillingDisk { room: AtomicUsize::new(room) });
    let env = Env { disk: Arc::clone(&disk) as Arc<dyn Disk>, ..Env::real() };
    (Bench::with_env(env, u64::MAX), disk)
}

fn fill(bench: &mut Bench, rounds: std::ops::Range<usize>) {
    for round in rounds {
        bench.append(&drafts(round * 20..round * 20 + 20));
        bench.seal();
    }
}

#[test]
fn with_a_full_disk_everything_stays_readable_and_is_written_when_there_is_room() {
    let (mut bench, disk) = bench_with_room(2);
    fill(&mut bench, 0..4);
    assert_eq!(bench.index.failure().unwrap().code, Code::DiskFull);
    assert_eq!(bench.files().len(), 2);
    bench.check();
    disk.room.store(usize::MAX, Ordering::SeqCst);
    bench.index.durable(80);
    assert_eq!(bench.index.failure(), None);
    assert_eq!(bench.files().len(), 4);
    bench.check();
}

#[test]
fn a_merge_that_finds_no_room_is_made_later() {
    let (mut bench, disk) = bench_with_room(8);
    fill(&mut bench, 0..8);
    assert_eq!(bench.index.failure().unwrap().code, Code::DiskFull);
    assert_eq!(bench.files().len(), 8);
    bench.check();
    disk.room.store(usize::MAX, Ordering::SeqCst);
    fill(&mut bench, 8..9);
    assert_eq!(bench.index.failure(), None);
    assert_eq!(bench.files().len(), 2);
    bench.check();
}

#[test]
fn a_close_that_cannot_write_says_so() {
    let (mut bench, disk) = bench_with_room(0);
    fill(&mut bench, 0..1);
    assert_eq!(bench.index.close().unwrap_err().code, Code::DiskFull);
    disk.room.store(usize::MAX, Ordering::SeqCst);
    bench.index.close().unwrap();
    assert_eq!(bench.reopen(), 20);
}

#[test]
fn the_flusher_thread_reports_a_full_disk_and_tries_again() {
    let (mut bench, disk) = bench_with_room(0);
    bench.index = Index::open(&bench.env, &bench.path(), 64, false).unwrap().0;
    fill(&mut bench, 0..1);
    while bench.index.failure().is_none() {
        std::thread::yield_now();
    }
    // More parts than may wait: the writer must not wait for a flusher that cannot write.
    fill(&mut bench, 1..12);
    bench.check();
    disk.room.store(usize::MAX, Ordering::SeqCst);
    bench.index.settle();
    assert_eq!(bench.index.failure(), None);
    assert_eq!(bench.files().len(), 1 + 4, "one of level 1, four of level 0");
    bench.check();
    bench.index.close().unwrap();
}
