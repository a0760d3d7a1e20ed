//! `coupon-server-sabotaged`: the server with planted faults and failpoints, under a name of its own
//! so that nobody takes it for the real one. See `faults.rs`.

#[path = "../main.rs"]
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    server::main()
}
