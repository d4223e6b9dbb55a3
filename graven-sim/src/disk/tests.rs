use super::*;

fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("/d")).unwrap();
    disk
}

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

fn put(disk: &SimDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.open(&path(name), Open::Create).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn put_durably(disk: &SimDisk, name: &str, bytes: &[u8]) {
    put(disk, name, bytes).sync_data().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
}

#[test]
fn an_unsynced_name_may_be_there_or_not_a_synced_one_is() {
    let disk = disk();
    put_durably(&disk, "old", b"old");
    put(&disk, "new", b"new").sync_data().unwrap();
    let mut new_left = 0;
    for seed in 0..100 {
        let after = disk.fork_unsynced().crash(seed);
        assert_eq!(after.bytes_of(&path("old")).unwrap(), b"old");
        new_left += u32::from(after.bytes_of(&path("new")).is_some());
    }
    assert!((10..90).contains(&new_left), "{new_left}");
}

#[test]
fn an_unsynced_rename_leaves_the_old_file_or_the_new_one() {
    let disk = disk();
    put_durably(&disk, "a", b"old");
    put(&disk, "a.tmp", b"new").sync_data().unwrap();
    disk.rename(&path("a.tmp"), &path("a")).unwrap();
    assert_eq!(disk.bytes_of(&path("a")).unwrap(), b"new");
    let mut left = std::collections::BTreeMap::new();
    for seed in 0..100 {
        let bytes = disk.fork_unsynced().crash(seed).bytes_of(&path("a")).unwrap();
        *left.entry(bytes).or_insert(0) += 1;
    }
    assert_eq!(left.len(), 2, "{left:?}");
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(disk.crash(1).bytes_of(&path("a")).unwrap(), b"new");
}

#[test]
fn a_removed_file_may_come_back_until_the_directory_is_synced() {
    let disk = disk();
    put_durably(&disk, "a", b"bytes");
    disk.remove(&path("a")).unwrap();
    assert_eq!(disk.open(&path("a"), Open::Read).err().unwrap().kind(), io::ErrorKind::NotFound);
    let back = (0..100).filter(|seed| disk.fork_unsynced().crash(*seed).bytes_of(&path("a")).is_some());
    assert!((10..90).contains(&back.count()));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert!((0..20).all(|seed| disk.fork_unsynced().crash(seed).bytes_of(&path("a")).is_none()));
}

#[test]
fn a_directory_may_be_lost_with_all_its_files_until_its_parent_is_synced() {
    let disk = disk();
    disk.create_dir(Path::new("/d/sub")).unwrap();
    put_in(&disk, "/d/sub");
    let lost = (0..100).filter(|seed| {
        let after = disk.fork_unsynced().crash(*seed);
        after.list(Path::new("/d/sub")).is_err() && after.bytes_of(Path::new("/d/sub/a")).is_none()
    });
    assert!((10..90).contains(&lost.count()));
    disk.sync_dir(Path::new("/d")).unwrap();
    let all = (0..20).all(|seed| disk.fork_unsynced().crash(seed).bytes_of(Path::new("/d/sub/a")).is_some());
    assert!(all);
}

fn put_in(disk: &SimDisk, dir: &str) {
    let dir = Path::new(dir);
    disk.open(&dir.join("a"), Open::Create).unwrap().sync_data().unwrap();
    disk.sync_dir(dir).unwrap();
}

#[test]
fn a_handle_from_before_a_crash_is_dead() {
    let disk = disk();
    let file = put(&disk, "a", b"a");
    file.sync_data().unwrap();
    let guard = disk.lock(&path("LOCK")).unwrap();
    assert_eq!(disk.lock(&path("LOCK")).err().unwrap().kind(), io::ErrorKind::WouldBlock);
    let after = disk.crash(3);
    assert!(
        file.write_at(b"zombie", 0).is_err()
            && file.sync_data().is_err()
            && file.read_at(&mut [0], 0).is_err()
    );
    assert!(disk.open(&path("a"), Open::Read).is_err() && disk.list(Path::new("/d")).is_err());
    let held_after = after.lock(&path("LOCK")).unwrap();
    drop(guard);
    assert!(after.lock(&path("LOCK")).is_err(), "the lock of a dead process frees nobody else's");
    drop(held_after);
    assert!(after.lock(&path("LOCK")).is_ok());
}

#[test]
fn a_killed_process_leaves_what_it_wrote() {
    let disk = disk();
    let file = put(&disk, "a", b"written");
    let after = disk.kill();
    assert!(file.sync_data().is_err());
    assert_eq!(after.bytes_of(&path("a")).unwrap(), b"written");
    assert!(
        (0..20)
            .any(|seed| after.fork_unsynced().crash(seed).bytes_of(&path("a")) != Some(b"written".to_vec()))
    );
}

#[test]
fn the_power_goes_at_the_call_it_was_told_to() {
    let disk = disk();
    let file = put(&disk, "a", b"1");
    disk.power_off_after(2);
    file.write_at(b"2", 1).unwrap();
    file.sync_data().unwrap();
    assert!(disk.is_powered());
    assert!(file.write_at(b"3", 2).is_err());
    assert!(!disk.is_powered() && file.sync_data().is_err());
}

#[test]
fn a_full_disk_refuses_and_takes_again() {
    let disk = disk();
    let file = put(&disk, "a", &[1; 4_096]);
    disk.set_capacity(8_192);
    assert_eq!(disk.free_bytes(Path::new("/d")).unwrap(), 4_096);
    file.write_at(&[2; 4_096], 4_096).unwrap();
    assert_eq!(file.write_at(&[3; 1], 8_192).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(&[4; 4_096], 0).unwrap();
    disk.set_capacity(12_288);
    file.write_at(&[3; 1], 8_192).unwrap();
    drop(file);
    disk.remove(&path("a")).unwrap();
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn faults_come_as_planned() {
    let disk = disk();
    let (a, b) = (put(&disk, "a", b"aaaa"), put(&disk, "b", b"bbbb"));
    disk.inject(Fault::eio(Call::Read).on("/a").after(1));
    assert!(b.read_at(&mut [0], 0).is_ok() && a.read_at(&mut [0], 0).is_ok());
    assert!(a.read_at(&mut [0], 0).is_err());
    assert!(a.read_at(&mut [0], 0).is_ok());
    disk.inject(Fault::eio(Call::Write).with(Trouble::Misdirected(512)));
    a.write_at(b"lost", 0).unwrap();
    assert_eq!(disk.bytes_of(&path("a")).unwrap()[..4], *b"aaaa");
    assert_eq!(disk.bytes_of(&path("a")).unwrap()[512..], *b"lost");
    disk.inject(Fault::eio(Call::Sync).times(u64::MAX));
    assert!(a.sync_data().is_err() && b.sync_data().is_err() && b.sync_data().is_err());
    disk.clear_faults();
    assert!(b.sync_data().is_ok());
    disk.inject_chance(Call::Read, 500_000);
    let failed = (0..1_000).filter(|_| a.read_at(&mut [0], 0).is_err()).count();
    assert!((400..600).contains(&failed), "{failed}");
}

#[test]
fn rot_at_rest_is_seen_by_readers_and_survives_a_crash() {
    let disk = disk();
    put_durably(&disk, "a", b"abc");
    disk.flip(&path("a"), 1, 0);
    assert_eq!(disk.bytes_of(&path("a")).unwrap(), b"acc");
    assert_eq!(disk.crash(1).bytes_of(&path("a")).unwrap(), b"acc");
    let disk = disk.fork();
    disk.cut(&path("a"), 1);
    assert_eq!(disk.bytes_of(&path("a")).unwrap(), b"a");
    disk.lose(&path("a"));
    assert!(disk.crash(1).bytes_of(&path("a")).is_none());
}

#[test]
fn a_fork_is_a_disk_of_its_own() {
    let disk = disk();
    let file = put(&disk, "a", b"before");
    let fork = disk.fork();
    file.write_at(b"after!", 0).unwrap();
    assert_eq!(fork.bytes_of(&path("a")).unwrap(), b"before");
    assert_eq!(fork.crash(1).bytes_of(&path("a")).unwrap(), b"before", "a fork is durable");
}

#[test]
fn names_are_listed_sorted_with_directories() {
    let disk = disk();
    disk.create_dir(Path::new("/d/sub/deep")).unwrap();
    put(&disk, "z", b"");
    put(&disk, "a", b"");
    assert_eq!(disk.list(Path::new("/d")).unwrap(), ["a", "sub", "z"]);
    assert_eq!(disk.list(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(
        disk.open(Path::new("/nowhere/a"), Open::Create).err().unwrap().kind(),
        io::ErrorKind::NotFound
    );
}

#[test]
fn the_same_calls_leave_the_same_trace() {
    let run = |bytes: &[u8]| {
        let disk = disk();
        put_durably(&disk, "a", bytes);
        put(&disk, "b", bytes);
        disk.trace()
    };
    assert_eq!(run(b"x"), run(b"x"));
    assert_ne!(run(b"x"), run(b"y"));
}

impl SimDisk {
    /// A copy with all that is pending, to crash one state many times.
    fn fork_unsynced(&self) -> SimDisk {
        let state = self.0.lock();
        SimDisk::of(State { names: state.names.clone(), inodes: state.inodes.clone(), ..state.reborn() })
    }
}
