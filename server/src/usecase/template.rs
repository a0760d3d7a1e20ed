//! Templates: create, publish, pause, resume, end, raise (R8, R29, R36).

use std::sync::Arc;

use coupon_domain::{
    Rejection,
    ids::TemplateId,
    redemption::RequestMark,
    rules::UseWindow,
    template::{StateChange, Template, TemplateState},
};

use super::{
    Marked, NewTemplate, TemplatePage, TemplateQuery, TemplateStats, TemplateUpdate, UseCases,
};
use crate::{
    catalog::{Recorded, TemplateChange},
    error::ServiceError,
};

/// Version of the rules of a template: they are frozen at publish.
const FIRST_VERSION: i32 = 1;

impl UseCases {
    /// A template.
    ///
    /// # Errors
    /// There is none, or the catalog cannot be read.
    pub async fn template(&self, id: TemplateId) -> Result<Arc<Template>, ServiceError> {
        self.catalog.get(id).await?.ok_or_else(|| Rejection::TemplateNotFound.into())
    }

    /// A template that is to be claimed or issued. One that is a draft in memory may have been
    /// published by another node since: it is read again before anybody is refused for it.
    pub(super) async fn template_to_give(
        &self,
        id: TemplateId,
    ) -> Result<Arc<Template>, ServiceError> {
        let template = self.template(id).await?;
        if template.state != TemplateState::Draft {
            return Ok(template);
        }
        Ok(self.catalog.get_fresh(id).await?.unwrap_or(template))
    }

    /// A page of templates.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn templates(&self, query: TemplateQuery) -> Result<TemplatePage, ServiceError> {
        let limit = u64::try_from(query.page_size).unwrap_or(u64::MAX).saturating_add(1);
        let mut templates =
            self.catalog.list(query.state, query.merchant, query.before, limit).await?;
        let more = templates.len() > query.page_size;
        templates.truncate(query.page_size);
        let next = templates.last().filter(|_| more).map(|template| template.id);
        Ok(TemplatePage { templates, next })
    }

    /// What a request id was used for; refuses one that came with another body.
    pub(super) async fn recorded(
        &self,
        request: &RequestMark,
    ) -> Result<Option<Recorded>, ServiceError> {
        match self.catalog.recorded(&request.request_id).await? {
            Some(found) if found.fingerprint != request.fingerprint => {
                Err(Rejection::IdempotencyKeyReused.into())
            }
            found => Ok(found),
        }
    }

    fn record_of(&self, request: RequestMark, subject: TemplateId) -> Recorded {
        let RequestMark { request_id, fingerprint } = request;
        Recorded { request_id, fingerprint, subject: subject.get(), at: self.clock.now() }
    }

    /// The template that a recorded request made or changed.
    async fn recorded_template(
        &self,
        request: &RequestMark,
    ) -> Result<Option<Arc<Template>>, ServiceError> {
        let Some(recorded) = self.recorded(request).await? else { return Ok(None) };
        let id = TemplateId::new(recorded.subject)
            .map_err(|error| ServiceError::Internal(error.to_string()))?;
        self.template(id).await.map(Some)
    }

    /// Stores a draft.
    ///
    /// # Errors
    /// The request id was used otherwise, or a failure.
    pub async fn create_template(
        &self,
        marked: Marked<NewTemplate>,
    ) -> Result<Arc<Template>, ServiceError> {
        let Marked { command: new, request } = marked;
        if let Some(found) = self.recorded_template(&request).await? {
            return Ok(found);
        }
        let template = Template {
            id: self.mint.template()?,
            display_name: new.display_name,
            merchant: new.merchant,
            state: TemplateState::Draft,
            rules: Arc::new(new.rules),
            total: new.total,
            claim_from: new.claim_from,
            claim_until: new.claim_until,
            buckets: 0,
            version: FIRST_VERSION,
            created_at: self.clock.now(),
            published_at: None,
        };
        let recorded = self.record_of(request, template.id);
        Ok(self.catalog.create(template, &recorded).await?)
    }

    /// DRAFT -> ACTIVE: hands the stock out, flips the state, opens the buckets, in this order and
    /// each safe to repeat, so that a crash in between is mended by publishing again or by the next
    /// start.
    ///
    /// # Errors
    /// No such template, its state, the request id used otherwise, or a failure.
    pub async fn publish_template(
        &self,
        marked: Marked<(TemplateId, Option<u16>)>,
    ) -> Result<Arc<Template>, ServiceError> {
        let Marked { command: (id, wanted), request } = marked;
        if let Some(found) = self.recorded_template(&request).await? {
            self.settle_buckets(&found).await?;
            return Ok(found);
        }
        let template = self.template(id).await?;
        let state = template.state.change(StateChange::Publish)?;
        let default = self.config.claims.buckets_for(template.total);
        let buckets = wanted.unwrap_or_else(|| u16::try_from(default).unwrap_or(u16::MAX)).max(1);
        // A publish that was cut off has dealt its stock already: its number of buckets stands.
        let buckets = self.ledger.grant(id, buckets, template.total).await?.buckets;
        let now = self.clock.now();
        let change = TemplateChange {
            state: Some(state),
            published: Some((buckets, now)),
            ..TemplateChange::default()
        };
        let recorded = self.record_of(request, id);
        let published = self.catalog.change(&template, &change, &recorded).await?;
        self.settle_buckets(&published).await?;
        Ok(published)
    }

    /// Pause, resume or end. When it answers, every later claim and issue obeys.
    ///
    /// # Errors
    /// No such template, its state, the request id used otherwise, or a failure.
    pub async fn change_template(
        &self,
        marked: Marked<(TemplateId, StateChange)>,
    ) -> Result<Arc<Template>, ServiceError> {
        let Marked { command: (id, change), request } = marked;
        if let Some(found) = self.recorded_template(&request).await? {
            self.settle_buckets(&found).await?;
            return Ok(found);
        }
        let template = self.template(id).await?;
        let state = Some(template.state.change(change)?);
        let change = TemplateChange { state, ..TemplateChange::default() };
        let recorded = self.record_of(request, id);
        let changed = self.catalog.change(&template, &change, &recorded).await?;
        self.settle_buckets(&changed).await?;
        Ok(changed)
    }

    /// Raises the stock, moves the claim window, renames.
    ///
    /// # Errors
    /// No such template, it has ended, stock that falls, a window that is none, the request id used
    /// otherwise, or a failure.
    pub async fn update_template(
        &self,
        marked: Marked<TemplateUpdate>,
    ) -> Result<Arc<Template>, ServiceError> {
        let Marked { command: update, request } = marked;
        if let Some(found) = self.recorded_template(&request).await? {
            self.settle_buckets(&found).await?;
            return Ok(found);
        }
        let template = self.template(update.template).await?;
        if template.state == TemplateState::Ended {
            return Err(Rejection::TemplateEnded.into());
        }
        if update.total.is_some_and(|total| total < template.total) {
            return Err(Rejection::StockNotRaised.into());
        }
        check_window(&template, &update)?;
        let change = TemplateChange {
            display_name: update.display_name,
            total: update.total,
            claim_from: update.claim_from,
            claim_until: update.claim_until,
            ..TemplateChange::default()
        };
        let recorded = self.record_of(request, template.id);
        let changed = self.catalog.change(&template, &change, &recorded).await?;
        self.settle_buckets(&changed).await?;
        Ok(changed)
    }

    /// Makes a published template's buckets agree with the catalog: all of its stock granted, open
    /// exactly while ACTIVE. Safe to repeat; run after every change and for every template at the
    /// start, it finishes what a crash has cut off.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn settle_buckets(&self, template: &Template) -> Result<(), ServiceError> {
        if template.state == TemplateState::Draft {
            return Ok(());
        }
        // What is missing is never told from what the buckets hold: pieces on their way between two
        // shards are in no bucket, and would be granted twice.
        let granted = self.ledger.grant(template.id, template.buckets, template.total).await?;
        if granted.pieces > 0 {
            self.gate.forget(template.id);
        }
        let open = template.state == TemplateState::Active;
        let rows = self.ledger.buckets(template.id).await?;
        if rows.iter().any(|(_, row)| row.open != open) {
            self.ledger.set_open(template.id, open).await?;
        }
        Ok(())
    }

    /// Counts of a template's coupons.
    ///
    /// # Errors
    /// No such template, or a failure.
    pub async fn template_stats(&self, id: TemplateId) -> Result<TemplateStats, ServiceError> {
        let template = self.template(id).await?;
        let counts = self.ledger.counts(id).await?;
        let issued = self.ledger.buckets(id).await?.iter().map(|(_, row)| row.issued).sum();
        Ok(TemplateStats {
            total: template.total,
            issued,
            locked: counts.locked,
            used: counts.used,
            expired: counts.expired,
            voided: counts.voided,
            reissued: counts.reissued,
            as_of: counts.as_of,
        })
    }
}

/// The claim window after an update is one, and ends by the end of a fixed use window.
fn check_window(template: &Template, update: &TemplateUpdate) -> Result<(), ServiceError> {
    let from = update.claim_from.unwrap_or(template.claim_from);
    let until = update.claim_until.unwrap_or(template.claim_until);
    if from >= until {
        let description = format!("must be after claim_from, {from}");
        return Err(ServiceError::invalid("template.claim_until", description));
    }
    match template.rules.use_window {
        UseWindow::Fixed { until: end, .. } if until > end => {
            let description = format!("must not be after the end of the use window, {end}");
            Err(ServiceError::invalid("template.claim_until", description))
        }
        _ => Ok(()),
    }
}
