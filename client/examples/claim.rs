//! A service that lets a user take a coupon:
//! `cargo run -p coupon-client --example claim -- TEMPLATE_ID USER_ID [ENDPOINT]`.
#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::env;

use anyhow::Context as _;
use coupon_client::{ClientConfig, CouponClient, v1};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let template_id = args.next().context("give TEMPLATE_ID USER_ID [ENDPOINT]")?.parse()?;
    let user_id = args.next().context("give USER_ID after the template id")?.parse()?;
    let endpoint = args.next().unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());

    let client = CouponClient::connect(ClientConfig::new(endpoint)).await?;
    // The request id is minted by the client; store one of your own to survive a restart.
    let claim = v1::ClaimRequest { user_id, template_id, ..Default::default() };
    match client.claim(claim).await {
        Ok(won) => println!("won {}", won.coupon.context("an answer without coupon")?.name),
        Err(error) => match error.reason() {
            Some(v1::ErrorReason::SoldOut) => println!("sold out"),
            Some(v1::ErrorReason::LimitReached) => println!("the user has had as many as allowed"),
            _ => return Err(error.into()),
        },
    }
    Ok(())
}
