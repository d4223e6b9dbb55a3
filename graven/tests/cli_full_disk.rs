//! A disk that fills up: appends are refused with their own error, what is stored stays and is read, and when there is
//! room again an import completes in the order of its file.

mod cli_support;

use cli_support::{GRAVEN, Ran, Server, cloud_events, command, file, finish};
use std::path::Path;

/// A small disk of its own, until it is dropped.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount<'a>(dir: &'a Path, size: &str) -> SmallDisk<'a> {
        finish(command("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir)).ok();
        SmallDisk(dir)
    }

    fn resize(&self, size: &str) {
        finish(command("mount").args(["-o", &format!("remount,size={size}")]).arg(self.0)).ok();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        finish(command("umount").arg(self.0));
    }
}

fn graven(args: &[&str]) -> Ran {
    let settings = [("GRAVEN_STORE_SEGMENT_SIZE", "1 MiB"), ("GRAVEN_STORE_FREE_SPACE_RESERVE", "1 MiB")];
    finish(command(GRAVEN).args(args).envs(settings))
}

#[test]
fn an_import_stops_at_a_full_disk_and_completes_in_order_when_there_is_room() {
    if !rustix::process::geteuid().is_root() {
        // Only root can make a disk; the engine's own tests fill a simulated one.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = cloud_events(60_000, 100);
    let path = file(dir.path(), "loans.ndjson", &text);
    let mount = dir.path().join("disk");
    std::fs::create_dir(&mount).unwrap();
    let disk = SmallDisk::mount(&mount, "12m");
    let data = mount.join("data");
    let data_text = data.to_str().unwrap();
    graven(&["import", &path, "--data", data_text]).failed(6, &["GRV-1404", "what came before stays"]);
    let stored = graven(&["export", "--data", data_text]).ok().out;
    assert!(!stored.is_empty() && stored.len() < text.len());
    assert!(text.starts_with(&stored), "the log is a prefix of the file");

    let server = Server::spawn(
        command(GRAVEN).args(["serve", "--listen", "127.0.0.1:0", "--data", data_text]).args([
            "--set",
            "store.segment_size=1 MiB",
            "--set",
            "store.free_space_reserve=1 MiB",
        ]),
    );
    let large = format!("[\"{}\"]", "x".repeat(3 << 20));
    let large = file(dir.path(), "large.json", large);
    server
        .graven(&["append", "a", "--type", "T", "--data", &format!("@{large}")])
        .failed(6, &["GRV-1404", "hint: "]);
    assert_eq!(server.graven(&["read", "loan-1", "--limit", "1"]).ok().out.lines().count(), 1);
    disk.resize("64m");
    server.graven(&["append", "a", "--type", "T", "--data", &format!("@{large}")]).ok();
    assert!(server.stop().success());

    graven(&["import", &path, "--data", data_text]).ok();
    let all = graven(&["export", "--data", data_text, "--category", "loan"]).ok().out;
    assert!(all == text, "everything is there, in order");
}
