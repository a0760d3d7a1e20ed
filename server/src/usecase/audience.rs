//! Naming users for a template (R27).

use coupon_domain::{
    Rejection,
    ids::{TemplateId, UserId},
    redemption::RequestMark,
    template::TemplateState,
};

use super::{Marked, UseCases};
use crate::{catalog::Recorded, error::ServiceError};

impl UseCases {
    /// Names users; says how many were not named before.
    ///
    /// # Errors
    /// No such template, it has ended, the request id was used otherwise; or a failure.
    pub async fn add_audience(
        &self,
        marked: Marked<(TemplateId, Vec<UserId>)>,
    ) -> Result<i64, ServiceError> {
        let Marked { command: (id, users), request } = marked;
        if let Some(recorded) = self.recorded(&request).await? {
            return Ok(recorded.subject);
        }
        if self.template(id).await?.state == TemplateState::Ended {
            return Err(Rejection::TemplateEnded.into());
        }
        let subject = self.ledger.add_audience(id, &users).await?;
        let RequestMark { request_id, fingerprint } = request;
        let at = self.clock.now();
        self.catalog.record(&Recorded { request_id, fingerprint, subject, at }).await?;
        Ok(subject)
    }
}
