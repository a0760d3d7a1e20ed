//! Runs one input outside libFuzzer: shows what it decodes to, and whether every property holds.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to its user on stdout")]

use std::{env, fs, process::ExitCode};

use coupon_fuzz::{Case, run};

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: fuzz-input FILE");
        return ExitCode::FAILURE;
    };
    let data = match fs::read(&path) {
        Ok(data) => data,
        Err(error) => {
            eprintln!("error: cannot read {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    };
    println!("{:#?}", Case::decode(&data));
    // Panics where a property does not hold, as under libFuzzer, so that a debugger stops there too.
    run(&data);
    println!("every property holds");
    ExitCode::SUCCESS
}
