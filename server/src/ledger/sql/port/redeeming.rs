//! Redeeming: on the user's shard, in its lane.

use std::time::Instant;

use async_trait::async_trait;
use coupon_domain::{
    ids::{RedemptionId, UserId},
    redemption::Redemption,
    time::Timestamp,
};

use crate::ledger::{
    Fresh, LedgerError, NotRedeemed, RedeemCommand, Redeemed, Redeeming,
    sql::{SqlLedger, redeem, redeem::RedeemItem, replica},
};

#[async_trait]
impl Redeeming for SqlLedger {
    async fn redeem(
        &self,
        command: RedeemCommand,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<Redeemed, NotRedeemed> {
        let user = command.user();
        let no_lane = || LedgerError::Corrupt("a shard has no lanes".to_owned());
        let lane = self.shard_of(user)?.redeem_lane(user).ok_or_else(no_lane)?;
        let item = RedeemItem { command, at, deadline };
        let answer = lane.submit(vec![item]).map_err(|(error, _)| error)?;
        let dropped = || LedgerError::Unknown("the group was dropped".to_owned());
        answer.await.ok().and_then(|mut outcomes| outcomes.pop()).ok_or_else(dropped)?
    }

    async fn redemption(
        &self,
        user: UserId,
        order: &str,
        fresh: Fresh,
    ) -> Result<Option<Redemption>, LedgerError> {
        let db = &self.shard_of(user)?.db;
        if let Some(replica) = db.replica_for(fresh)
            && let Some(Some(found)) = replica::answer(redeem::by_order(replica, user, order)).await
        {
            return Ok(Some(found));
        }
        redeem::by_order(&db.read, user, order).await
    }

    async fn overdue(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, RedemptionId)>,
        limit: usize,
    ) -> Result<Vec<Redemption>, LedgerError> {
        let mut all = Vec::new();
        for shard in self.shards.iter() {
            all.extend(redeem::overdue(&shard.db.read, until, after, limit).await?);
        }
        all.sort_by_key(|redemption| (redemption.locked_until, redemption.id));
        all.truncate(limit);
        Ok(all)
    }
}
