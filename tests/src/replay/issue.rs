//! The start of a campaign: its templates published, its recipients' coupons issued.

use anyhow::{Context, Result, ensure};
use coupon_client::v1::{
    Audience, CreateTemplateRequest, DirectOff, IssueOutcome, IssueRequest, IssueUser,
    PublishTemplateRequest, RestorePolicy, Scope, Stacking, Template, TemplateRules, UseWindow,
    scope, template_rules, use_window,
};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::data::{Campaign, CampaignCoupon};
use super::drive::{CURRENCY, Drive, instant};

/// Most users that one Issue takes.
const ISSUE_USERS_MAX: usize = 1_000;

/// What one Issue answered, and for which coupon of the journey.
struct Issued {
    coupon: usize,
    outcomes: Vec<IssueOutcome>,
}

impl Drive<'_> {
    /// Publishes the campaign's templates and gives every recipient their coupons. A coupon that
    /// nobody receives is not published: a template needs a stock.
    pub(crate) async fn start_campaign(&mut self, campaign: usize) -> Result<()> {
        let campaign = &self.journey.campaigns[campaign];
        if campaign.recipients.is_empty() {
            return Ok(());
        }
        let this = &*self;
        let published: Vec<(usize, i64)> = stream::iter(campaign.coupons.iter().copied())
            .map(
                |coupon| async move { anyhow::Ok((coupon, this.publish(campaign, coupon).await?)) },
            )
            .buffered(self.in_flight)
            .try_collect()
            .await?;
        for &(coupon, template_id) in &published {
            self.template_ids[coupon] = template_id;
            self.tally.templates += 1;
        }
        let this = &*self;
        // Stacked coupons apply by id, so a user's coupons are minted in the order of the file:
        // lanes of users run side by side, the templates within a lane one after the other.
        let lane = campaign.recipients.len().div_ceil(self.in_flight).min(ISSUE_USERS_MAX);
        let issued: Vec<Vec<Issued>> = stream::iter(campaign.recipients.chunks(lane))
            .map(|users| this.issue_lane(campaign, users))
            .buffer_unordered(self.in_flight)
            .try_collect()
            .await?;
        for answer in issued.into_iter().flatten() {
            self.keep(answer);
        }
        Ok(())
    }

    async fn publish(&self, campaign: &Campaign, coupon: usize) -> Result<i64> {
        let plan = &self.journey.coupons[coupon];
        let name = || format!("template {} of campaign {}", plan.upc, campaign.campaign_id);
        let create = CreateTemplateRequest {
            template: Some(template(campaign, plan)),
            ..CreateTemplateRequest::default()
        };
        let created = self.client.create_template(create).await;
        let created = created.with_context(|| format!("cannot create {}", name()))?;
        let template_id = created.template.map_or(0, |template| template.template_id);
        ensure!(template_id > 0, "the server answered no id for {}", name());
        let publish = PublishTemplateRequest { template_id, ..PublishTemplateRequest::default() };
        let published = self.client.publish_template(publish).await;
        published.with_context(|| format!("cannot publish {}", name()))?;
        Ok(template_id)
    }

    /// Gives some recipients all coupons of the campaign, one template after the other.
    async fn issue_lane(&self, campaign: &Campaign, users: &[i64]) -> Result<Vec<Issued>> {
        let mut answers = Vec::with_capacity(campaign.coupons.len());
        for &coupon in &campaign.coupons {
            let plan = &self.journey.coupons[coupon];
            let user = |&user_id: &i64| IssueUser { user_id, count: plan.per_household };
            let request = IssueRequest {
                template_id: self.template_ids[coupon],
                users: users.iter().map(user).collect(),
                source: format!("campaign-{}", campaign.campaign_id),
                ..IssueRequest::default()
            };
            let response = self.client.issue(request).await.with_context(|| {
                format!("cannot issue {} of campaign {}", plan.upc, campaign.campaign_id)
            })?;
            ensure!(
                response.outcomes.len() == users.len(),
                "{} outcomes for {} users of {}",
                response.outcomes.len(),
                users.len(),
                plan.upc
            );
            answers.push(Issued { coupon, outcomes: response.outcomes });
        }
        Ok(answers)
    }

    /// Notes who holds what; everybody must have got all their pieces.
    fn keep(&mut self, answer: Issued) {
        let plan = &self.journey.coupons[answer.coupon];
        for outcome in answer.outcomes {
            let user_id = outcome.user_id;
            let given = outcome.coupon_ids.len() as u64;
            self.tally.issued += given;
            if given != u64::from(plan.per_household.unsigned_abs()) {
                let why = outcome.error.map_or_else(String::new, |error| error.message);
                self.tally.violation(format!(
                    "user {user_id} got {given} of {} pieces of {}: {why}",
                    plan.per_household, plan.upc
                ));
            }
            self.wallets.insert((user_id, answer.coupon), outcome.coupon_ids);
        }
    }
}

/// A coupon of a campaign as the platform's template.
fn template(campaign: &Campaign, plan: &CampaignCoupon) -> Template {
    let (from, until) = (Some(instant(campaign.start)), Some(instant(campaign.end)));
    let scope = scope::Kind::Products(scope::Products { product_ids: plan.product_ids.clone() });
    let window = use_window::Kind::Fixed(use_window::Fixed { use_from: from, valid_until: until });
    let rules = TemplateRules {
        benefit: Some(template_rules::Benefit::DirectOff(DirectOff {
            amount_minor: plan.amount_cents,
        })),
        currency_code: CURRENCY.to_owned(),
        scope: Some(Scope { kind: Some(scope) }),
        stacking: Stacking::Stackable.into(),
        use_window: Some(UseWindow { kind: Some(window) }),
        time_zone: "UTC".to_owned(),
        per_user_limit: plan.per_household,
        audience: Audience::Everyone.into(),
        restore_policy: RestorePolicy::IfUnexpired.into(),
        restore_days: 0,
        per_order_limit: 1,
        ..TemplateRules::default()
    };
    let recipients = i64::try_from(campaign.recipients.len()).unwrap_or(i64::MAX);
    Template {
        display_name: format!("campaign {}, coupon {}", campaign.campaign_id, plan.upc),
        rules: Some(rules),
        total_count: recipients.saturating_mul(plan.per_household.into()),
        claim_from: from,
        claim_until: until,
        ..Template::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_stock_for_every_recipient_and_the_campaigns_window() {
        let campaign = Campaign {
            campaign_id: 3,
            start: 1_000,
            end: 2_000,
            recipients: vec![4, 6, 8],
            coupons: vec![0],
        };
        let plan = CampaignCoupon {
            campaign: 0,
            upc: "555".to_owned(),
            amount_cents: 120,
            per_household: 2,
            product_ids: vec![9],
        };
        let template = template(&campaign, &plan);
        assert_eq!(template.total_count, 6);
        assert_eq!(template.claim_from, Some(instant(1_000)));
        assert_eq!(template.claim_until, Some(instant(2_000)));
        let rules = template.rules.expect("rules");
        assert_eq!(rules.per_user_limit, 2);
        assert_eq!(rules.stacking(), Stacking::Stackable);
    }
}
