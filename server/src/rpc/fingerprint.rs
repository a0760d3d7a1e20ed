//! Fingerprints of mutating requests: their decoded fields without the id, so that a resend is known
//! by what it means. They are stored, so the order of the fields never changes.

use std::time::Duration;

use coupon_domain::{
    cart::Cart,
    fingerprint::{Fingerprint, Fingerprinter},
    ids::{CouponId, TemplateId, UserId},
    money::Minor,
    redemption::{ForceVerb, LineQuantity, RefundOf, VoidCommand},
    rules::{
        Audience, Benefit, CodeSet, Exclusions, KeptDiscount, RestorePolicy, Rules, Scope,
        Stacking, ThresholdBase, UseWindow,
    },
    template::StateChange,
    time::Timestamp,
};

use crate::usecase::{NewTemplate, TemplateUpdate};

/// Of a Lock.
pub(super) struct LockFields<'a> {
    pub(super) user: UserId,
    pub(super) order: &'a str,
    pub(super) coupons: &'a [CouponId],
    pub(super) cart: &'a Cart,
    /// `None` when the caller left it to the configuration.
    pub(super) ttl: Option<Duration>,
    pub(super) expected_discount: Option<Minor>,
}

pub(super) fn lock(fields: &LockFields<'_>) -> Fingerprint {
    let prints = Fingerprinter::new("lock").number(fields.user.get()).text(fields.order);
    let prints = prints.numbers(fields.coupons.iter().map(|coupon| coupon.get()));
    let prints = optional(cart(prints, fields.cart), fields.ttl.map(millis));
    let prints = optional(prints, fields.expected_discount.map(Minor::get));
    let shipping = fields.cart.shipping;
    if shipping == Minor::ZERO { prints } else { prints.number(shipping.get()) }.finish()
}

/// Of a Confirm or Cancel, named by `verb`.
pub(super) fn close(verb: &str, user: UserId, order: &str, coupons: &[CouponId]) -> Fingerprint {
    let prints = Fingerprinter::new(verb).number(user.get()).text(order);
    prints.numbers(coupons.iter().map(|coupon| coupon.get())).finish()
}

/// Of a Restore.
pub(super) fn restore(user: UserId, order: &str, of: &RefundOf) -> Fingerprint {
    let prints = Fingerprinter::new("restore").number(user.get()).text(order);
    match of {
        RefundOf::Everything => prints.number(0).finish(),
        RefundOf::Parts { lines, shipping } => {
            let prints = prints.number(1).number(length(lines.len()));
            let line = |prints: Fingerprinter, line: &LineQuantity| {
                prints.text(&line.line_id).number(line.quantity)
            };
            lines.iter().fold(prints, line).number((*shipping).into()).finish()
        }
    }
}

/// Of a ForceConfirm or ForceCancel.
pub(super) fn force(
    verb: ForceVerb,
    user: UserId,
    order: &str,
    operator: &str,
    reason: &str,
) -> Fingerprint {
    let verb = match verb {
        ForceVerb::Confirm => "force_confirm",
        ForceVerb::Cancel => "force_cancel",
    };
    let prints = Fingerprinter::new(verb).number(user.get()).text(order);
    prints.text(operator).text(reason).finish()
}

pub(super) fn void_coupon(command: VoidCommand) -> Fingerprint {
    let prints = Fingerprinter::new("void_coupon");
    prints.number(command.user.get()).number(command.coupon.get()).finish()
}

pub(super) fn create_template(template: &NewTemplate) -> Fingerprint {
    let prints = Fingerprinter::new("create_template");
    let prints = prints.text(&template.display_name).number(template.merchant);
    let prints = rules(prints, &template.rules).number(template.total);
    let prints = instant(instant(prints, template.claim_from), template.claim_until);
    rarer_rules(prints, &template.rules).finish()
}

pub(super) fn update_template(update: &TemplateUpdate) -> Fingerprint {
    let prints = Fingerprinter::new("update_template").number(update.template.get());
    let prints = match &update.display_name {
        Some(name) => prints.number(1).text(name),
        None => prints.number(0),
    };
    let prints = optional(prints, update.total);
    let prints = optional(prints, update.claim_from.map(Timestamp::as_millis));
    optional(prints, update.claim_until.map(Timestamp::as_millis)).finish()
}

pub(super) fn publish_template(template: TemplateId, buckets: Option<u16>) -> Fingerprint {
    let prints = Fingerprinter::new("publish_template").number(template.get());
    optional(prints, buckets.map(i64::from)).finish()
}

pub(super) fn state_change(template: TemplateId, change: StateChange) -> Fingerprint {
    let verb = match change {
        StateChange::Publish => "publish_template",
        StateChange::Pause => "pause_template",
        StateChange::Resume => "resume_template",
        StateChange::End => "end_template",
    };
    Fingerprinter::new(verb).number(template.get()).finish()
}

pub(super) fn add_audience_users(template: TemplateId, users: &[UserId]) -> Fingerprint {
    let prints = Fingerprinter::new("add_audience_users").number(template.get());
    prints.numbers(users.iter().map(|user| user.get())).finish()
}

fn cart(prints: Fingerprinter, cart: &Cart) -> Fingerprinter {
    let prints = prints.text(cart.currency.as_str()).number(length(cart.lines.len()));
    cart.lines.iter().fold(prints, |prints, line| {
        let prints = prints.text(&line.line_id).number(line.product).number(line.merchant);
        prints.text(&line.category).number(line.quantity).number(line.amount.get())
    })
}

fn rules(prints: Fingerprinter, rules: &Rules) -> Fingerprinter {
    let prints = benefit(prints, &rules.benefit).text(rules.currency.as_str());
    let prints = scope(prints, &rules.scope).number(match rules.stacking {
        Stacking::Exclusive => 1,
        Stacking::Stackable | Stacking::OneOf(_) => 2,
    });
    let prints = match rules.use_window {
        UseWindow::Fixed { from, until } => instant(instant(prints.number(1), from), until),
        UseWindow::AfterClaim { days } => prints.number(2).number(days.into()),
    };
    let prints = prints.text(rules.time_zone.name()).number(rules.per_user_limit.into());
    let prints = prints.number(match rules.audience {
        Audience::Everyone => 1,
        Audience::Named => 2,
    });
    match rules.restore {
        RestorePolicy::Never => prints.number(1),
        RestorePolicy::IfUnexpired => prints.number(2),
        RestorePolicy::Extend { days } => prints.number(3).number(days.into()),
        RestorePolicy::Reissue { days } => prints.number(4).number(days.into()),
    }
}

fn benefit(prints: Fingerprinter, benefit: &Benefit) -> Fingerprinter {
    match *benefit {
        Benefit::ThresholdOff { threshold, amount, .. } => {
            prints.number(1).number(threshold.get()).number(amount.get())
        }
        Benefit::DirectOff { amount } => prints.number(2).number(amount.get()),
        Benefit::Percentage { pay_bps, max_discount, threshold } => {
            let prints = prints.number(3).number(pay_bps.into());
            optional(prints, max_discount.map(Minor::get)).number(threshold.get())
        }
    }
}

fn scope(prints: Fingerprinter, scope: &Scope) -> Fingerprinter {
    match scope {
        Scope::All => prints.number(1),
        Scope::Merchants(ids) => prints.number(2).numbers(ids.as_slice().iter().copied()),
        Scope::Categories(codes) => texts(prints.number(3), codes),
        Scope::Products(ids) => prints.number(4).numbers(ids.as_slice().iter().copied()),
    }
}

/// Each only when it is there, after a number of its own.
fn rarer_rules(mut prints: Fingerprinter, rules: &Rules) -> Fingerprinter {
    if let Benefit::ThresholdOff { every: true, max_discount, .. } = rules.benefit {
        prints = optional(prints.number(1), max_discount.map(Minor::get));
    }
    if rules.threshold_base == ThresholdBase::AfterEarlierCoupons {
        prints = prints.number(2);
    }
    let excluded = &rules.excluded;
    if *excluded != Exclusions::default() {
        prints = prints.number(3).numbers(excluded.merchants.as_slice().iter().copied());
        prints = texts(prints, &excluded.categories);
        prints = prints.numbers(excluded.products.as_slice().iter().copied());
    }
    if rules.with_shipping {
        prints = prints.number(4);
    }
    if rules.min_payable > Minor::ZERO {
        prints = prints.number(5).number(rules.min_payable.get());
    }
    if let Stacking::OneOf(group) = &rules.stacking {
        prints = prints.number(6).text(group);
    }
    if let Some(limit) = rules.per_order_limit {
        prints = prints.number(7).number(limit.into());
    }
    if rules.kept_discount == KeptDiscount::ClawBack {
        prints = prints.number(8);
    }
    prints
}

fn texts(prints: Fingerprinter, codes: &CodeSet) -> Fingerprinter {
    let codes = codes.as_slice();
    codes.iter().fold(prints.number(length(codes.len())), |prints, code| prints.text(code))
}

fn instant(prints: Fingerprinter, at: Timestamp) -> Fingerprinter {
    prints.number(at.as_millis())
}

fn optional(prints: Fingerprinter, value: Option<i64>) -> Fingerprinter {
    match value {
        Some(value) => prints.number(1).number(value),
        None => prints.number(0),
    }
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
