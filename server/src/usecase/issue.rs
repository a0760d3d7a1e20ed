//! Issue: the merchant gives coupons (R27, R36).

use std::sync::Arc;

use coupon_domain::{
    Rejection,
    fingerprint::{Fingerprint, hash_request_id},
    ids::{CouponId, UserId},
};

use super::{Deadline, IssueCommand, Issued, UseCases, issue_fingerprint};
use crate::{error::ServiceError, ledger::GiveCommand};

impl UseCases {
    /// Gives every user the pieces named, each user all or none; one outcome per user, in order.
    ///
    /// # Errors
    /// No such template. Everything else is an outcome of a user.
    pub async fn issue(
        &self,
        command: IssueCommand,
        deadline: Deadline,
    ) -> Result<Vec<Issued>, ServiceError> {
        let template = self.template_to_give(command.template).await?;
        let now = self.clock.now();
        if let Some(rejection) = template.issue_rejection(now) {
            return Ok(self.refuse_unless_replayed(&command, rejection).await);
        }
        let gives = command.users.iter().map(|(user, pieces)| GiveCommand {
            user: *user,
            template: Arc::clone(&template),
            pieces: *pieces,
            request_id: command.request_id.clone(),
            fingerprint: fingerprint(&command, *user, *pieces),
            source: command.source.clone(),
            at: now,
            deadline,
            holds_unit: false,
        });
        let outcomes = self.give_in_groups(gives.collect()).await;
        let mut issued = Vec::with_capacity(outcomes.len());
        for ((user, _), outcome) in command.users.iter().zip(outcomes) {
            let result = match outcome {
                Ok(given) => {
                    Ok((given.coupons.iter().map(|coupon| coupon.id).collect(), given.replayed))
                }
                Err(error) => Err(self.not_given(template.id, error).await),
            };
            issued.push(Issued { user: *user, result });
        }
        Ok(issued)
    }

    /// The template refuses; but users who were given their pieces by this request are told so.
    async fn refuse_unless_replayed(
        &self,
        command: &IssueCommand,
        rejection: Rejection,
    ) -> Vec<Issued> {
        let mut issued = Vec::with_capacity(command.users.len());
        for (user, pieces) in &command.users {
            let result = match self.issued_before(command, *user, *pieces).await {
                Ok(Some(coupons)) => Ok((coupons, true)),
                Ok(None) => Err(rejection.into()),
                Err(error) => Err(error),
            };
            issued.push(Issued { user: *user, result });
        }
        issued
    }

    async fn issued_before(
        &self,
        command: &IssueCommand,
        user: UserId,
        pieces: u32,
    ) -> Result<Option<Vec<CouponId>>, ServiceError> {
        let request_hash = hash_request_id(&command.request_id);
        let held = self.ledger.held(user, command.template).await?;
        let same: Vec<_> = held.iter().filter(|held| held.request_hash == request_hash).collect();
        if same.is_empty() {
            return Ok(None);
        }
        if same.iter().any(|held| held.fingerprint != fingerprint(command, user, pieces)) {
            return Err(Rejection::IdempotencyKeyReused.into());
        }
        Ok(Some(same.into_iter().map(|held| held.coupon.id).collect()))
    }
}

fn fingerprint(command: &IssueCommand, user: UserId, pieces: u32) -> Fingerprint {
    issue_fingerprint(user, command.template, pieces, &command.source)
}
