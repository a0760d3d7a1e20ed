//! Generates the messages, clients and services of `coupon.v1` without an installed protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 6] = [
    "coupon/v1/cart.proto",
    "coupon/v1/coupon.proto",
    "coupon/v1/error.proto",
    "coupon/v1/redemption.proto",
    "coupon/v1/template.proto",
    "coupon/dev/v1/clock.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("coupon_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(descriptors)?;
    Ok(())
}
