//! Claim: the user takes one coupon (R9, R10, R45, R46).

use std::sync::Arc;

use coupon_domain::{
    Rejection,
    coupon::{Coupon, CouponStatus},
    fingerprint::hash_request_id,
    ids::TemplateId,
    rules::Audience,
    template::{Template, TemplateState},
    time::Timestamp,
};

use super::{ClaimCommand, Claimed, Deadline, UseCases, claim_fingerprint};
#[cfg(feature = "sabotage")]
use crate::faults;
use crate::{
    error::ServiceError,
    gate::{GateClaim, Recall, Verdict},
    ledger::{GiveCommand, Given, GivenCoupon, NotGiven},
};

/// A claim on its way.
struct Passage {
    command: ClaimCommand,
    template: Arc<Template>,
    gate: GateClaim,
    now: Timestamp,
}

/// Where a claim goes after the gate.
enum Step {
    Answered(Result<Claimed, ServiceError>),
    ToLedger(GiveCommand),
}

impl UseCases {
    /// Takes one coupon.
    ///
    /// # Errors
    /// The first that applies: no such template, (a replay is answered,) not published, paused, not
    /// started, ended, not eligible, limit reached, sold out; or a failure of what it stands on.
    pub async fn claim(
        &self,
        command: ClaimCommand,
        deadline: Deadline,
    ) -> Result<Claimed, ServiceError> {
        let passage = self.arrive(command).await?;
        match self.pass_gate(&passage, deadline).await {
            Step::Answered(answer) => answer,
            Step::ToLedger(give) => {
                let outcome = self.ledger.give(vec![give]).await.pop();
                self.conclude(&passage, outcome).await
            }
        }
    }

    /// Takes one coupon for each command; the commands travel together.
    pub async fn claim_many(
        &self,
        commands: Vec<ClaimCommand>,
        deadline: Deadline,
    ) -> Vec<Result<Claimed, ServiceError>> {
        // All at the gate at once: it may be a call away, and takes them together.
        let passing = commands.into_iter().map(async |command| {
            let passage = self.arrive(command).await?;
            let step = self.pass_gate(&passage, deadline).await;
            Ok((passage, step))
        });
        let mut answers = Vec::with_capacity(passing.len());
        let (mut passages, mut parcel) = (Vec::new(), Vec::new());
        for passed in futures::future::join_all(passing).await {
            match passed {
                Err(error) => answers.push(Err(error)),
                Ok((_, Step::Answered(answer))) => answers.push(answer),
                Ok((passage, Step::ToLedger(give))) => {
                    passages.push((answers.len(), passage));
                    answers.push(Err(ServiceError::Unknown));
                    parcel.push(give);
                }
            }
        }
        let outcomes = self.give_in_groups(parcel).await;
        for ((index, passage), outcome) in passages.into_iter().zip(outcomes) {
            answers[index] = self.conclude(&passage, Some(outcome)).await;
        }
        answers
    }

    /// Gives in parcels of at most a group, all under way at once.
    pub(super) async fn give_in_groups(
        &self,
        commands: Vec<GiveCommand>,
    ) -> Vec<Result<Given, NotGiven>> {
        let group_max = self.config.claims.group_max.max(1);
        if commands.len() <= group_max {
            return if commands.is_empty() { Vec::new() } else { self.ledger.give(commands).await };
        }
        let mut parcels = Vec::new();
        let mut rest = commands.into_iter();
        loop {
            let parcel: Vec<GiveCommand> = rest.by_ref().take(group_max).collect();
            if parcel.is_empty() {
                break;
            }
            parcels.push(self.ledger.give(parcel));
        }
        futures::future::join_all(parcels).await.into_iter().flatten().collect()
    }

    async fn arrive(&self, command: ClaimCommand) -> Result<Passage, ServiceError> {
        let template = self.template_to_give(command.template).await?;
        let gate = GateClaim {
            user: command.user,
            request_hash: hash_request_id(&command.request_id),
            fingerprint: claim_fingerprint(command.user, command.template, &command.source),
        };
        Ok(Passage { command, template, gate, now: self.clock.now() })
    }

    async fn pass_gate(&self, passage: &Passage, deadline: Deadline) -> Step {
        let Passage { template, gate, now, .. } = passage;
        #[cfg(feature = "sabotage")]
        if faults::arrives(template.id) {
            return Step::Answered(Err(Rejection::SoldOut.into()));
        }
        if let Some(rejection) = template.claim_rejection(*now) {
            return Step::Answered(self.refuse_unless_replay(passage, rejection).await);
        }
        if template.rules.audience == Audience::Named {
            match self.check_eligible(passage).await {
                Ok(None) => {}
                Ok(Some(claimed)) => return Step::Answered(Ok(claimed)),
                Err(error) => return Step::Answered(Err(error)),
            }
        }
        let holds_unit = match self.gate.admit(template, *gate).await {
            Verdict::Replay(holding) => {
                return Step::Answered(Ok(passage.claimed(holding.coupon, true)));
            }
            Verdict::KeyReused => {
                return Step::Answered(Err(Rejection::IdempotencyKeyReused.into()));
            }
            Verdict::Limit => return Step::Answered(Err(Rejection::LimitReached.into())),
            Verdict::SoldOut => return Step::Answered(Err(Rejection::SoldOut.into())),
            Verdict::Admitted => true,
            Verdict::Pending | Verdict::Dry => false,
            Verdict::NotLoaded => {
                self.loader.request(template);
                false
            }
        };
        Step::ToLedger(GiveCommand {
            user: passage.command.user,
            template: Arc::clone(template),
            pieces: 1,
            request_id: passage.command.request_id.clone(),
            fingerprint: gate.fingerprint,
            source: passage.command.source.clone(),
            at: *now,
            deadline,
            holds_unit,
        })
    }

    /// The template refuses; but whoever has won gets that answer again, until the replay window
    /// after the end has passed.
    async fn refuse_unless_replay(
        &self,
        passage: &Passage,
        rejection: Rejection,
    ) -> Result<Claimed, ServiceError> {
        let Passage { template, now, .. } = passage;
        let window_end = template.claim_until.plus(self.config.claims.replay_window());
        if template.state == TemplateState::Draft || *now >= window_end {
            return Err(rejection.into());
        }
        match self.recall(passage).await? {
            Some(claimed) => Ok(claimed),
            None => Err(rejection.into()),
        }
    }

    /// A named user, or a replay.
    async fn check_eligible(&self, passage: &Passage) -> Result<Option<Claimed>, ServiceError> {
        if let Some(claimed) = self.recall(passage).await? {
            return Ok(Some(claimed));
        }
        let command = &passage.command;
        if self.ledger.is_named(command.user, command.template).await? {
            return Ok(None);
        }
        Err(Rejection::NotEligible.into())
    }

    /// What this request has won before, if anything.
    async fn recall(&self, passage: &Passage) -> Result<Option<Claimed>, ServiceError> {
        let Passage { command, template, gate, .. } = passage;
        match self.gate.recall(template, *gate).await {
            Recall::Replay(holding) => return Ok(Some(passage.claimed(holding.coupon, true))),
            Recall::KeyReused => return Err(Rejection::IdempotencyKeyReused.into()),
            Recall::Nothing => return Ok(None),
            Recall::Unknown => {}
        }
        let held = self.ledger.held(command.user, command.template).await?;
        let Some(same) = held.iter().find(|held| held.request_hash == gate.request_hash) else {
            return Ok(None);
        };
        if same.fingerprint != gate.fingerprint {
            return Err(Rejection::IdempotencyKeyReused.into());
        }
        Ok(Some(passage.claimed(same.coupon, true)))
    }

    async fn conclude(
        &self,
        passage: &Passage,
        outcome: Option<Result<Given, NotGiven>>,
    ) -> Result<Claimed, ServiceError> {
        match outcome {
            Some(Ok(given)) => match given.coupons.first() {
                Some(coupon) => Ok(passage.claimed(*coupon, given.replayed)),
                None => Err(ServiceError::Internal("a claim was given nothing".to_owned())),
            },
            Some(Err(refused)) => Err(self.not_given(passage.template.id, refused).await),
            None => Err(ServiceError::Unknown),
        }
    }

    /// Says why the ledger gave nothing. Closed buckets say that the template has changed: the
    /// catalog knows to what.
    pub(super) async fn not_given(&self, template: TemplateId, error: NotGiven) -> ServiceError {
        match error {
            #[cfg(feature = "sabotage")]
            NotGiven::Refused(Rejection::SoldOut) => {
                faults::note_sold_out(template);
                Rejection::SoldOut.into()
            }
            NotGiven::Refused(rejection) => rejection.into(),
            NotGiven::Failed(error) => error.into(),
            NotGiven::Closed => match self.catalog.get_fresh(template).await {
                Ok(Some(template)) => match template.claim_rejection(self.clock.now()) {
                    Some(rejection) => rejection.into(),
                    None => ServiceError::Unavailable("the template is opening; try again".into()),
                },
                Ok(None) => Rejection::TemplateNotFound.into(),
                Err(error) => error.into(),
            },
        }
    }
}

impl Passage {
    /// The coupon as it was when won.
    fn claimed(&self, coupon: GivenCoupon, replayed: bool) -> Claimed {
        let validity = self.template.validity(coupon.claimed_at);
        Claimed {
            coupon: Coupon {
                id: coupon.id,
                user: self.command.user,
                template: self.template.id,
                template_version: self.template.version,
                claim_no: coupon.claim_no,
                status: CouponStatus::Available,
                source: self.command.source.clone(),
                claimed_at: coupon.claimed_at,
                valid_until: validity.valid_until,
                redemption: None,
                locked_until: None,
                used_at: None,
                reissue_of: None,
            },
            use_from: validity.use_from,
            replayed,
        }
    }
}
