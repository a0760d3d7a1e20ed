//! A checkout that uses the best coupons of a user: quote, lock, pay, then confirm or cancel:
//! `cargo run -p coupon-client --example checkout -- USER_ID [ENDPOINT]`.
#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::env;

use anyhow::Context as _;
use coupon_client::{ClientConfig, CouponClient, v1};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let user_id = args.next().context("give USER_ID [ENDPOINT]")?.parse()?;
    let endpoint = args.next().unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let client = CouponClient::connect(ClientConfig::new(endpoint)).await?;
    let order_id = format!("order-{}", coupon_client::new_request_id());
    checkout(&client, user_id, order_id, cart()).await
}

async fn checkout(
    client: &CouponClient,
    user_id: i64,
    order_id: String,
    cart: v1::Cart,
) -> anyhow::Result<()> {
    let quote = v1::QuoteRequest { user_id, cart: Some(cart.clone()), coupon_ids: Vec::new() };
    let Some(best) = client.quote(quote).await?.best else {
        println!("no coupon of the user fits the cart");
        return Ok(());
    };
    let lock = v1::LockRequest {
        user_id,
        order_id: order_id.clone(),
        coupon_ids: best.coupons.iter().map(|coupon| coupon.coupon_id).collect(),
        cart: Some(cart),
        // The customer pays what was shown or is asked again, never a surprise.
        expected_discount_minor: Some(best.discount_minor),
        ..Default::default()
    };
    let paid = match client.lock(lock).await {
        Ok(locked) => pay(&locked.redemption.unwrap_or_default()),
        // Cancel even when the lock failed: it may have been taken without an answer.
        Err(error) => Err(error.into()),
    };
    if let Err(error) = paid {
        let cancel = v1::CancelRequest { user_id, order_id, ..Default::default() };
        client.cancel(cancel).await?;
        return Err(error.context("not paid, the coupons are free again"));
    }
    let confirm = v1::ConfirmRequest { user_id, order_id, ..Default::default() };
    let used = client.confirm(confirm).await?.redemption.unwrap_or_default();
    println!("paid {} after {} off", used.payable_minor, used.discount_minor);
    Ok(())
}

/// Stands for the payment provider.
fn pay(redemption: &v1::Redemption) -> anyhow::Result<()> {
    println!("charging {} {}", redemption.payable_minor, redemption.currency_code);
    Ok(())
}

fn cart() -> v1::Cart {
    let line = v1::CartLine {
        line_id: "1".to_owned(),
        product_id: 10,
        merchant_id: 0,
        category: "digital".to_owned(),
        quantity: 1,
        amount_minor: 19_900,
    };
    v1::Cart { currency_code: "CNY".to_owned(), lines: vec![line], ..v1::Cart::default() }
}
