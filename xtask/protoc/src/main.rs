//! `protoc`, as shipped inside a crate: for machines that have none installed.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let path = protoc_bin_vendored::protoc_bin_path()
        .context("no protoc is shipped for this machine; install protobuf-compiler")?;
    let error = Command::new(&path).args(std::env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("{} does not run", path.display()))
}
