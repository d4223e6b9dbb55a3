//! Chores of the repository, called as `cargo xtask CHORE`; `cargo xtask` alone lists them.

mod bench;
mod check;
mod clients;
mod fuzz;
mod house;
mod openapi;
mod openssl;
mod oracles;
mod postgres;
mod proto;
mod shell;
mod soak;
mod steps;

use anyhow::Result;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask CHORE

  test                        every check, then every test; what continuous integration runs
  check                       the checks alone: formatting, house rules, lints
  openapi                     write graven/openapi.json anew from the server's own description
  proto                       write the Rust of graven.proto anew
  bench [--quick] [OPTIONS]   measure Graven beside its peers; bench --help lists the options
  clients                     install KurrentDB's clients, which some tests drive a server with
  soak [--minutes N]          drive a server under kills and judge what it said; --seed N repeats its choices,
                              --nodes N has several share a journal in PostgreSQL
  fuzz TARGET [--seconds N]   search for inputs that break a decoder, 60 seconds unless told; no TARGET lists them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome: Result<()> = match words.as_slice() {
        ["test"] => check::test(),
        ["check"] => check::check(),
        ["openapi"] => openapi::write(),
        ["proto"] => proto::write(),
        ["clients"] => clients::install(),
        ["bench", arguments @ ..] => bench::measure(arguments),
        ["soak", arguments @ ..] => soak::measure(arguments),
        ["fuzz"] => fuzz::list(),
        ["fuzz", target] => fuzz::search(target, fuzz::SECONDS_DEFAULT),
        ["fuzz", target, "--seconds", seconds] => match seconds.parse() {
            Ok(seconds) => fuzz::search(target, seconds),
            Err(_) => return usage(),
        },
        [] | ["--help" | "-h" | "help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => return usage(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}
