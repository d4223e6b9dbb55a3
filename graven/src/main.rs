//! `graven`: the one binary. The command line is in [`cli`], settings in [`config`], HTTP in [`server`].

mod cli;
mod config;
mod server;

fn main() -> std::process::ExitCode {
    cli::main()
}
