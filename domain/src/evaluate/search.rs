//! Which of the usable coupons to combine.

use crate::{
    cart::Cart,
    evaluate::apply::{Usable, in_order_applied},
    money::Minor,
    template::Stacking,
};

/// The best combination found, in the order to apply, and whether it is proven that no legal one
/// saves more.
pub(super) fn best<'u, 'a>(
    usable: &'u [Usable<'a>],
    cart: &Cart,
) -> Option<(Vec<&'u Usable<'a>>, bool)> {
    let single =
        usable.iter().max_by_key(|one| (one.alone, std::cmp::Reverse(one.candidate.coupon)))?;
    let mut left: Vec<Minor> = cart.lines.iter().map(|line| line.amount).collect();
    let mut stack = in_order_applied(usable);
    stack.retain(|one| {
        one.candidate.rules.stacking == Stacking::Stackable && one.take(&mut left).0 > Minor::ZERO
    });
    let amount: Minor = cart.lines.iter().map(|line| line.amount).sum();
    let saved = amount.less(left.iter().copied().sum());
    let chosen = if saved > single.alone { stack } else { vec![single] };
    Some((chosen, false))
}
