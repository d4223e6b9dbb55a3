//! `graven`: the one binary. The command line is in [`cli`], settings in [`config`], HTTP in [`server`], bundles of
//! evidence in [`audit`], a witness for other people's logs in [`witness`].

mod audit;
mod cli;
mod config;
mod server;
mod witness;

/// Appends are allocated on one thread and freed on another all the time, which is where the C library's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
