use super::super::{create, open};
use super::*;
use std::process::Command;

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![("checkpoint", b"one".to_vec()), ("tile/0/000", vec![7; 8192]), ("empty", Vec::new())]
}

fn write(path: &Path) {
    let mut sink = create(path).unwrap();
    files().iter().for_each(|(name, bytes)| sink.put(name, bytes).unwrap());
    sink.finish().unwrap();
}

fn expect(path: &Path) {
    let found = open(path).unwrap();
    assert_eq!(found.paths(), ["checkpoint", "empty", "tile/0/000"]);
    for (name, bytes) in files() {
        assert_eq!(found.read(name), Ok(bytes));
    }
    assert!(found.read("other").is_err());
}

#[test]
fn what_is_written_is_read_back_from_every_kind_of_place() {
    let room = tempfile::tempdir().unwrap();
    for name in ["folder", "a.tar", "a.tar.zst"] {
        let path = room.path().join(name);
        write(&path);
        expect(&path);
        assert_eq!(create(&path).map(drop).unwrap_err().code, Code::ExportExists);
    }
}

#[test]
fn archives_go_back_and_forth_with_tar() {
    let room = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let status = Command::new("tar").current_dir(room.path()).args(arguments).status().unwrap();
        assert!(status.success());
    };
    write(&room.path().join("ours.tar"));
    std::fs::create_dir(room.path().join("unpacked")).unwrap();
    run(&["xf", "ours.tar", "-C", "unpacked"]);
    expect(&room.path().join("unpacked"));
    run(&["cf", "theirs.tar", "--format=ustar", "-C", "unpacked", "."]);
    expect(&room.path().join("theirs.tar"));
}

#[test]
fn links_and_ways_out_are_refused() {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("folder");
    write(&folder);
    std::os::unix::fs::symlink("/etc/passwd", folder.join("policy")).unwrap();
    assert_eq!(open(&folder).map(drop).unwrap_err().code, Code::BundleUnreadable);
    let status =
        Command::new("tar").args(["cf", "a.tar", "-C", "folder", "."]).current_dir(room.path()).status();
    assert!(status.unwrap().success());
    assert_eq!(open(&room.path().join("a.tar")).map(drop).unwrap_err().code, Code::BundleUnreadable);
    for name in ["../up", "/etc/passwd", "a//b", "a/./b", "sp ace", "ä"] {
        let path = room.path().join("bad.tar");
        let mut sink = TarSink::new(File::create(&path).unwrap(), |_| Ok(()));
        sink.put(name, b"x").unwrap();
        sink.finish().unwrap();
        assert_eq!(open(&path).map(drop).unwrap_err().code, Code::BundleUnreadable, "{name}");
    }
}

#[test]
fn a_damaged_or_cut_archive_is_refused() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("a.tar");
    write(&path);
    let whole = std::fs::read(&path).unwrap();
    for end in [0, 1, 511, 512, 700, 1024, 2000, whole.len() - 1024] {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(open(&path).map(drop).unwrap_err().code, Code::BundleUnreadable, "{end}");
    }
    let mut damaged = whole.clone();
    damaged[3] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(open(&path).map(drop).unwrap_err().code, Code::BundleUnreadable);
    std::fs::write(&path, [&whole[..whole.len() - 1024], &whole[..]].concat()).unwrap();
    assert_eq!(
        open(&path).map(drop).unwrap_err().code,
        Code::BundleUnreadable,
        "a file that stands there twice"
    );
    let packed = zstd::encode_all(&whole[..whole.len() / 2], 0).unwrap();
    std::fs::write(&path, &packed[..packed.len() - 3]).unwrap();
    assert_eq!(open(&path).map(drop).unwrap_err().code, Code::BundleUnreadable);
}
