//! `cargo xtask run`: a server to play with, and what to type next.

use std::{ffi::OsString, path::PathBuf, process::Command, process::ExitCode};

use crate::{cargo, services};

/// What `cargo xtask run` was asked.
pub(crate) struct Options {
    /// Build without optimisation.
    pub(crate) debug: bool,
    /// Address to listen on.
    pub(crate) listen: String,
    /// Folder of the data; none = `data/` in the workspace.
    pub(crate) data_dir: Option<PathBuf>,
    /// Further arguments for the server.
    pub(crate) args: Vec<OsString>,
}

/// Builds the server, prints what to try next and becomes the server, so that Ctrl-C reaches it and
/// it drains before it exits.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let binary = cargo::build_binaries(!options.debug, false)?.join("coupon-server");
    let data_dir = options.data_dir.clone().unwrap_or_else(|| cargo::root().join("data"));
    println!("{}", hints(&options.listen));
    println!("Data is kept in {}. Ctrl-C stops the server; its data stays.\n", data_dir.display());
    cargo::exec(
        Command::new(binary)
            .args(["serve", "--listen", &options.listen, "--data-dir"])
            .arg(data_dir)
            .args(&options.args),
    )
}

/// Builds the server, makes sure that the stores run, and becomes a cluster of API nodes and a worker
/// against them. The stores stay up.
pub(crate) fn run_distributed(debug: bool, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let bin_dir = cargo::build_binaries(!debug, true)?;
    let variables = services::up(&bin_dir)?;
    println!("{}", hints("127.0.0.1:50051"));
    println!("The stores stay up afterwards; `cargo xtask services down` stops them.\n");
    cargo::exec(Command::new(bin_dir.join("coupon-cluster")).args(args).envs(variables))
}

/// A template that the server accepts: 100.00 minus 50.00, 1,000 pieces, one per user.
const TEMPLATE: &str = r#"{
  "requestId": "try-create",
  "template": {
    "displayName": "100 minus 50",
    "totalCount": "1000",
    "claimFrom": "2026-01-01T00:00:00Z",
    "claimUntil": "2036-01-01T00:00:00Z",
    "rules": {
      "thresholdOff": {"thresholdMinor": "10000", "amountMinor": "5000"},
      "currencyCode": "CNY",
      "scope": {"all": {}},
      "stacking": "STACKING_MUTEX",
      "useWindow": {"afterClaim": {"days": 30}},
      "timeZone": "Asia/Shanghai",
      "perUserLimit": 1,
      "audience": "AUDIENCE_EVERYONE",
      "restorePolicy": "RESTORE_POLICY_IF_UNEXPIRED"
    }
  }
}"#;

fn hints(listen: &str) -> String {
    format!(
        r#"
Once it says `listening on`, try in another terminal (reflection is on, no proto files needed):

  # what is there, and is it well
  grpcurl -plaintext {listen} list
  grpcurl -plaintext {listen} grpc.health.v1.Health/Check

  # a template, published; its id is kept in $T
  T=$(grpcurl -plaintext -d '{TEMPLATE}' {listen} coupon.v1.TemplateService/CreateTemplate \
    | sed -n 's/.*"templateId": "\([0-9]*\)".*/\1/p'); echo "template $T"
  grpcurl -plaintext -d '{{"requestId": "try-publish", "templateId": "'$T'"}}' {listen} coupon.v1.TemplateService/PublishTemplate

  # user 1001 takes one; the same line again answers the same coupon, "replayed": true
  grpcurl -plaintext -d '{{"requestId": "try-claim", "userId": "1001", "templateId": "'$T'"}}' {listen} coupon.v1.CouponService/Claim
  grpcurl -plaintext -d '{{"userId": "1001"}}' {listen} coupon.v1.CouponService/ListCoupons

  # what it is worth for a cart
  grpcurl -plaintext -d '{{"userId": "1001", "cart": {{"currencyCode": "CNY", "lines": [{{"lineId": "1", "productId": "7", "quantity": "1", "amountMinor": "12000"}}]}}}}' {listen} coupon.v1.CouponService/Quote

  # the Rust SDK, and a flash sale of 20,000 users against a server of its own
  cargo run -p coupon-client --example claim -- $T 1002
  cargo xtask demo
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_address_in_every_grpcurl_line() {
        let text = hints("127.0.0.1:7");
        let calls = text.matches("grpcurl -plaintext").count();
        assert_eq!(calls, 7);
        assert_eq!(text.matches(" 127.0.0.1:7 ").count(), calls);
    }

    #[test]
    fn json_bodies_survive_the_quoting() {
        // Braces of JSON are doubled in the format string; an odd one would not balance here.
        let text = hints("127.0.0.1:7");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(
            text.contains(r#"{"requestId": "try-claim", "userId": "1001", "templateId": "'$T'"}"#)
        );
    }
}
