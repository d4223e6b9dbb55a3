//! `seeds` lists the targets; `seeds TARGET FOLDER` writes the target's seeds there, for libFuzzer to begin from.

use graven_fuzz::{TARGETS, Target};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(folder)) = (arguments.next(), arguments.next()) else {
        for target in TARGETS {
            println!("{}", target.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(target) = Target::named(&name) else {
        eprintln!("error: there is no target {name:?}; `cargo xtask fuzz` lists them");
        return ExitCode::from(2);
    };
    match write(target, &PathBuf::from(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write seeds to {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(target: &Target, folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:03}")), seed)?;
    }
    Ok(())
}
