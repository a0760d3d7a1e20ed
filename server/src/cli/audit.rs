//! `coupon-server audit`.
#![allow(clippy::print_stdout, reason = "the command's answer goes to standard output")]

use std::fmt::Write;
use std::process::ExitCode;

use coupon_server::audit::{self, Report};
use coupon_server::config::Config;

/// Prints each check and each violation; fails when there is one.
pub(crate) async fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let report = Box::pin(audit::run(config)).await?;
    print!("{}", if json { as_json(&report) } else { as_text(&report) });
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_text(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let verdict = match check.violations.len() {
            0 => "clean".to_owned(),
            1 => "1 violation".to_owned(),
            many => format!("{many} violations"),
        };
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "{} {}: {} examined, {verdict}", check.id, check.title, check.examined);
        for violation in &check.violations {
            let _ = writeln!(text, "  {violation}");
        }
    }
    text
}

fn as_json(report: &Report) -> String {
    let checks = report.checks.iter().map(|check| {
        serde_json::json!({
            "id": check.id,
            "title": check.title,
            "examined": check.examined,
            "violations": check.violations,
        })
    });
    let checks: Vec<_> = checks.collect();
    format!("{}\n", serde_json::json!({ "clean": report.is_clean(), "checks": checks }))
}

#[cfg(test)]
mod tests {
    use coupon_server::audit::Check;

    use super::*;

    fn report() -> Report {
        let check =
            |id, examined, violations| Check { id, title: "stock adds up", examined, violations };
        Report {
            checks: vec![
                check("I1", 7, Vec::new()),
                check("I2", 3, vec!["bucket 5/0: issued 4, coupons 3".to_owned()]),
            ],
        }
    }

    #[test]
    fn text_has_a_line_per_check_and_per_violation() {
        assert_eq!(
            as_text(&report()),
            "I1 stock adds up: 7 examined, clean\n\
             I2 stock adds up: 3 examined, 1 violation\n  bucket 5/0: issued 4, coupons 3\n"
        );
    }

    #[test]
    fn json_says_the_same() {
        let value: serde_json::Value = serde_json::from_str(&as_json(&report())).unwrap();
        assert_eq!(value["clean"], false);
        assert_eq!(value["checks"][0]["violations"], serde_json::json!([]));
        assert_eq!(value["checks"][1]["examined"], 3);
    }
}
