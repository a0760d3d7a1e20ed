//! `coupon-echo`: the bare tonic server that the benches compare with. It does nothing but answer.
#![allow(clippy::print_stdout)] // whoever starts it reads its address there

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
};

use anyhow::Context as _;
use clap::Parser;
use coupon_tests::bench::echo::EchoService;
use tonic::transport::{Server, server::TcpIncoming};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers every call of coupon.bench.v1.EchoService/Echo with a fixed number of bytes
#[derive(Debug, Parser)]
#[command(name = "coupon-echo", version)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Size of the encoded answer when the request does not name one, in bytes
    #[arg(long, default_value_t = 128)]
    response_bytes: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}; choose another --listen", args.listen))?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let addr = listener.local_addr()?;
    println!("listening on {addr}");
    std::io::stdout().flush()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = EchoService::new(args.response_bytes);
    Server::builder().add_service(service).serve_with_incoming(incoming).await?;
    Ok(())
}
