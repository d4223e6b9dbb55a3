//! Writes `src/generated/` of graven-proto from its `.proto` file: the Rust, the descriptor for reflection, and the
//! checksum by which a test sees that both are of today's file. `cargo xtask proto` runs it.
//!
//! It stands outside the workspace, so that building Graven compiles neither a protobuf compiler nor a generator.

use anyhow::{Context, Result};
use prost::Message as _;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

fn main() -> Result<()> {
    let crate_dir =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the generator lies inside graven-proto")?;
    let include = crate_dir.join("proto");
    let out = crate_dir.join("src/generated");
    let source = include.join("graven/v1/graven.proto");
    let descriptors = protox::compile([&source], [&include])?;
    fs::write(out.join("graven.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_transport(false)
        // The server answers from bytes it encoded itself; see graven/src/server/grpc.
        .build_server(false)
        .out_dir(&out)
        .compile_fds(descriptors)?;
    let sum: String = Sha256::digest(fs::read(&source)?).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(out.join("graven.proto.sha256"), sum + "\n")?;
    Ok(())
}
