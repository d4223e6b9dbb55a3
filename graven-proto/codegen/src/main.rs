//! Writes `src/generated/` of graven-proto from its `.proto` files: the Rust, the descriptors for reflection, and the
//! checksums by which a test sees that all of it is of today's files. `cargo xtask proto` runs it.
//!
//! It stands outside the workspace, so that building Graven compiles neither a protobuf compiler nor a generator.

use anyhow::{Context, Result};
use prost::Message as _;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let crate_dir =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the generator lies inside graven-proto")?;
    let include = crate_dir.join("proto");
    let out = crate_dir.join("src/generated");
    graven(&include, &out)?;
    kurrentdb(&include, &out)
}

/// Graven's own interface, with a client.
fn graven(include: &Path, out: &Path) -> Result<()> {
    let source = include.join("graven/v1/graven.proto");
    let descriptors = protox::compile([&source], [include])?;
    fs::write(out.join("graven.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_transport(false)
        // The server answers from bytes it encoded itself; see graven/src/server/grpc.
        .build_server(false)
        .out_dir(out)
        .compile_fds(descriptors)?;
    write_checksum(&[source], &out.join("graven.proto.sha256"))
}

/// The interface KurrentDB's clients speak: messages alone, a file a package.
fn kurrentdb(include: &Path, out: &Path) -> Result<()> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(include.join("kurrentdb"))? {
        sources.push(entry?.path());
    }
    sources.sort();
    let descriptors = protox::compile(&sources, [include])?;
    let out_files = out.join("kurrentdb");
    fs::create_dir_all(&out_files)?;
    fs::write(out_files.join("descriptor.bin"), descriptors.encode_to_vec())?;
    // Maps of two entries, of which every event has one: a tree is the cheaper kind.
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .out_dir(&out_files)
        .compile_fds(descriptors)?;
    write_checksum(&sources, &out_files.join("proto.sha256"))
}

/// The checksum of what is in the files, one after the other.
fn write_checksum(sources: &[PathBuf], to: &Path) -> Result<()> {
    let mut hash = Sha256::new();
    for source in sources {
        hash.update(fs::read(source)?);
    }
    let sum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(to, sum + "\n")?;
    Ok(())
}
