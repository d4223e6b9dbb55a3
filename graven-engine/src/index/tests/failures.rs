//! A disk that refuses to take more.

use super::*;
use graven_model::Code;

fn failure(bench: &Bench) -> Option<Code> {
    bench.index.failure().map(|error| error.code)
}

#[test]
fn with_a_full_disk_everything_stays_readable_and_is_written_when_there_is_room() {
    let mut bench = Bench::new(u64::MAX);
    bench.disk.set_room(Some(2));
    bench.fill(0..4);
    assert_eq!(failure(&bench), Some(Code::DiskFull));
    assert_eq!(bench.files().len(), 2);
    bench.check();
    bench.disk.set_room(None);
    bench.index.durable(80);
    assert_eq!(failure(&bench), None);
    assert_eq!(bench.files().len(), 4);
    bench.check();
}

#[test]
fn a_merge_that_finds_no_room_is_made_later() {
    let mut bench = Bench::new(u64::MAX);
    bench.disk.set_room(Some(8));
    bench.fill(0..8);
    assert_eq!(failure(&bench), Some(Code::DiskFull));
    assert_eq!(bench.files().len(), 8);
    bench.check();
    bench.disk.set_room(None);
    bench.fill(8..9);
    assert_eq!(failure(&bench), None);
    assert_eq!(bench.files().len(), 2);
    bench.check();
}

#[test]
fn a_close_that_cannot_write_says_so() {
    let mut bench = Bench::new(u64::MAX);
    bench.disk.set_room(Some(0));
    bench.fill(0..1);
    assert_eq!(bench.index.close().unwrap_err().code, Code::DiskFull);
    bench.disk.set_room(None);
    bench.index.close().unwrap();
    assert_eq!(bench.reopen(), 20);
}

#[test]
fn the_flusher_thread_reports_a_full_disk_and_tries_again() {
    let mut bench = Bench::new(u64::MAX);
    bench.disk.set_room(Some(0));
    bench.index = Index::open(&bench.env, &bench.dir, 64, false).unwrap().0;
    bench.fill(0..1);
    while failure(&bench).is_none() {
        std::thread::yield_now();
    }
    // More parts than may wait: the writer must not wait for a flusher that cannot write.
    bench.fill(1..12);
    bench.check();
    bench.disk.set_room(None);
    bench.index.settle();
    assert_eq!(failure(&bench), None);
    assert_eq!(bench.files().len(), 1 + 4, "one of level 1, four of level 0");
    bench.check();
    bench.index.close().unwrap();
}
