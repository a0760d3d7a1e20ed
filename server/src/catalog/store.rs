//! Reading and writing the meta database.

use std::sync::Arc;

use coupon_domain::{
    fingerprint::Fingerprint,
    ids::TemplateId,
    template::{Template, TemplateState},
    time::Timestamp,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DbErr,
    EntityTrait, QueryFilter, QueryOrder, QuerySelect, SqlErr, TransactionTrait,
    sea_query::OnConflict,
};

use super::{
    CatalogError,
    entity::{node, request_log, rule, template, test_clock},
    rules,
};
use crate::ledger::LedgerError;

/// The one row of `test_clock`.
const CLOCK_ID: i64 = 1;
/// Who calls, until callers have identities.
const CALLER: &str = "";

/// A request id and what it was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The caller's id.
    pub request_id: String,
    /// Of its body.
    pub fingerprint: Fingerprint,
    /// What it came to: a template's id, or a count.
    pub subject: i64,
    /// When.
    pub at: Timestamp,
}

/// What changes of a template; `None` = nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateChange {
    /// New name.
    pub display_name: Option<String>,
    /// New stock.
    pub total: Option<i64>,
    /// New start of claiming.
    pub claim_from: Option<Timestamp>,
    /// New end of claiming.
    pub claim_until: Option<Timestamp>,
    /// New state.
    pub state: Option<TemplateState>,
    /// Buckets per shard and time of publishing.
    pub published: Option<(u16, Timestamp)>,
}

impl TemplateChange {
    /// Carries the change out.
    pub(super) fn apply(&self, template: &mut Template) {
        if let Some(name) = &self.display_name {
            template.display_name.clone_from(name);
        }
        template.total = self.total.unwrap_or(template.total);
        template.claim_from = self.claim_from.unwrap_or(template.claim_from);
        template.claim_until = self.claim_until.unwrap_or(template.claim_until);
        template.state = self.state.unwrap_or(template.state);
        if let Some((buckets, at)) = self.published {
            template.buckets = buckets;
            template.published_at = Some(at);
        }
    }
}

fn corrupt(what: &str, id: i64) -> CatalogError {
    LedgerError::Corrupt(format!("template {id}: {what}")).into()
}

fn to_template(row: template::Model, rule: Option<&rule::Model>) -> Result<Template, CatalogError> {
    let id = row.template_id;
    let rule = rule.ok_or_else(|| corrupt("its rule is missing", id))?;
    Ok(Template {
        id: TemplateId::new(id).map_err(|_| corrupt("no id", id))?,
        display_name: row.display_name,
        merchant: row.merchant_id,
        state: TemplateState::from_stored(row.state).ok_or_else(|| corrupt("unknown state", id))?,
        rules: Arc::new(rules::from_json(&rule.content)?),
        total: row.total_count,
        claim_from: Timestamp::from_millis(row.claim_from),
        claim_until: Timestamp::from_millis(row.claim_until),
        buckets: u16::try_from(row.buckets).map_err(|_| corrupt("bad buckets", id))?,
        version: row.version,
        created_at: Timestamp::from_millis(row.created_at),
        published_at: row.published_at.map(Timestamp::from_millis),
    })
}

/// One template, and when it was last changed.
pub(super) async fn find(
    db: &DatabaseConnection,
    id: TemplateId,
) -> Result<Option<(Template, i64)>, CatalogError> {
    let Some(row) = template::Entity::find_by_id(id.get()).one(db).await? else { return Ok(None) };
    let rule = rule::Entity::find_by_id(row.rule_id).one(db).await?;
    let changed_at = row.changed_at;
    to_template(row, rule.as_ref()).map(|template| Some((template, changed_at)))
}

/// A page of (when a template was last changed, its id), in that order, behind `after`.
pub(super) async fn changed(
    db: &DatabaseConnection,
    after: (i64, i64),
    limit: u64,
) -> Result<Vec<(i64, i64)>, CatalogError> {
    let (at, id) = after;
    let same = Condition::all()
        .add(template::Column::ChangedAt.eq(at))
        .add(template::Column::TemplateId.gt(id));
    let behind = Condition::any().add(template::Column::ChangedAt.gt(at)).add(same);
    Ok(template::Entity::find()
        .select_only()
        .column(template::Column::ChangedAt)
        .column(template::Column::TemplateId)
        .filter(template::Column::ChangedAt.gte(at))
        .filter(behind)
        .order_by_asc(template::Column::ChangedAt)
        .order_by_asc(template::Column::TemplateId)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?)
}

/// A page of templates, newest first.
pub(super) async fn list(
    db: &DatabaseConnection,
    state: Option<TemplateState>,
    merchant: Option<i64>,
    before: Option<TemplateId>,
    limit: u64,
) -> Result<Vec<Template>, CatalogError> {
    let mut query = template::Entity::find()
        .filter(template::Column::TemplateId.lt(before.map_or(i64::MAX, TemplateId::get)))
        .order_by_desc(template::Column::TemplateId)
        .limit(limit);
    if let Some(state) = state {
        query = query.filter(template::Column::State.eq(state.to_stored()));
    }
    if let Some(merchant) = merchant {
        query = query.filter(template::Column::MerchantId.eq(merchant));
    }
    let rows = query.all(db).await?;
    let ids = rows.iter().map(|row| row.rule_id);
    let found = rule::Entity::find().filter(rule::Column::RuleId.is_in(ids)).all(db).await?;
    let rule_of = |row: &template::Model| found.iter().find(|rule| rule.rule_id == row.rule_id);
    rows.into_iter()
        .map(|row| {
            let rule = rule_of(&row);
            to_template(row, rule)
        })
        .collect()
}

/// What a request id was used for.
pub(super) async fn recorded(
    db: &DatabaseConnection,
    request_id: &str,
) -> Result<Option<Recorded>, CatalogError> {
    let key = (CALLER.to_owned(), request_id.to_owned());
    let row = request_log::Entity::find_by_id(key).one(db).await?;
    Ok(row.map(|row| Recorded {
        request_id: row.request_id,
        fingerprint: Fingerprint::from_stored(row.fingerprint),
        subject: row.subject_id,
        at: Timestamp::from_millis(row.at),
    }))
}

/// Records a request. [`CatalogError::Raced`] when another call under its id was faster: the caller
/// finds that one's outcome when it looks again.
pub(super) async fn record(
    db: &impl ConnectionTrait,
    recorded: &Recorded,
) -> Result<(), CatalogError> {
    let row = request_log::ActiveModel {
        caller: Set(CALLER.to_owned()),
        request_id: Set(recorded.request_id.clone()),
        fingerprint: Set(recorded.fingerprint.to_stored()),
        subject_id: Set(recorded.subject),
        at: Set(recorded.at.as_millis()),
    };
    match request_log::Entity::insert(row).exec_without_returning(db).await {
        Err(error) if is_duplicate(&error) => Err(CatalogError::Raced),
        other => Ok(other.map(drop)?),
    }
}

/// Whether another row has the same key.
pub(super) fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// Stores a template with its rule and the request that made it.
pub(super) async fn create(
    db: &DatabaseConnection,
    new: &Template,
    request: &Recorded,
    changed_at: i64,
) -> Result<(), CatalogError> {
    let rule_id = new.id.get();
    let rule_row =
        rule::ActiveModel { rule_id: Set(rule_id), content: Set(rules::to_json(&new.rules)?) };
    let row = template::ActiveModel {
        template_id: Set(new.id.get()),
        rule_id: Set(rule_id),
        display_name: Set(new.display_name.clone()),
        merchant_id: Set(new.merchant),
        state: Set(new.state.to_stored()),
        total_count: Set(new.total),
        claim_from: Set(new.claim_from.as_millis()),
        claim_until: Set(new.claim_until.as_millis()),
        buckets: Set(i32::from(new.buckets)),
        version: Set(new.version),
        created_at: Set(new.created_at.as_millis()),
        published_at: Set(new.published_at.map(Timestamp::as_millis)),
        changed_at: Set(changed_at),
    };
    let tx = db.begin().await?;
    rule::Entity::insert(rule_row).exec_without_returning(&tx).await?;
    template::Entity::insert(row).exec_without_returning(&tx).await?;
    record(&tx, request).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes a template if it is still as `before` says, and records the request. Answers the time of
/// change that was stored: `now` by the wall clock, and always later than the one before.
pub(super) async fn change(
    db: &DatabaseConnection,
    before: &Template,
    change: &TemplateChange,
    request: &Recorded,
    now: i64,
) -> Result<i64, CatalogError> {
    let tx = db.begin().await?;
    let last: Option<i64> = template::Entity::find_by_id(before.id.get())
        .select_only()
        .column(template::Column::ChangedAt)
        .into_tuple()
        .one(&tx)
        .await?;
    let last = last.unwrap_or(0);
    let changed_at = now.max(last + 1);
    let mut after = before.clone();
    change.apply(&mut after);
    let row = template::ActiveModel {
        display_name: Set(after.display_name),
        total_count: Set(after.total),
        claim_from: Set(after.claim_from.as_millis()),
        claim_until: Set(after.claim_until.as_millis()),
        state: Set(after.state.to_stored()),
        buckets: Set(i32::from(after.buckets)),
        published_at: Set(after.published_at.map(Timestamp::as_millis)),
        changed_at: Set(changed_at),
        ..Default::default()
    };
    let done = template::Entity::update_many()
        .set(row)
        .filter(template::Column::TemplateId.eq(before.id.get()))
        .filter(template::Column::State.eq(before.state.to_stored()))
        .filter(template::Column::TotalCount.eq(before.total))
        .filter(template::Column::ClaimFrom.eq(before.claim_from.as_millis()))
        .filter(template::Column::ClaimUntil.eq(before.claim_until.as_millis()))
        .filter(template::Column::DisplayName.eq(before.display_name.as_str()))
        .filter(template::Column::ChangedAt.eq(last))
        .exec(&tx)
        .await?;
    if done.rows_affected != 1 {
        tx.rollback().await?;
        return Err(CatalogError::Raced);
    }
    record(&tx, request).await?;
    tx.commit().await?;
    Ok(changed_at)
}

/// Deletes request ids recorded before an instant.
pub(super) async fn purge_requests(
    db: &DatabaseConnection,
    before: Timestamp,
) -> Result<u64, CatalogError> {
    let old = request_log::Column::At.lt(before.as_millis());
    Ok(request_log::Entity::delete_many().filter(old).exec(db).await?.rows_affected)
}

/// The second up to which a node may have minted.
pub(super) async fn minted_until(
    db: &DatabaseConnection,
    node_id: u8,
) -> Result<i64, CatalogError> {
    let row = node::Entity::find_by_id(i64::from(node_id)).one(db).await?;
    Ok(row.map_or(0, |row| row.minted_until))
}

/// Stores the second up to which a node may mint.
pub(super) async fn keep_minted_until(
    db: &DatabaseConnection,
    node_id: u8,
    until: i64,
) -> Result<(), CatalogError> {
    let row = node::ActiveModel {
        node_id: Set(i64::from(node_id)),
        minted_until: Set(until),
        ..Default::default()
    };
    let replace = OnConflict::column(node::Column::NodeId)
        .update_column(node::Column::MintedUntil)
        .to_owned();
    node::Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

/// The time of the test clock.
pub(super) async fn test_clock(db: &DatabaseConnection) -> Result<Option<Timestamp>, CatalogError> {
    let row = test_clock::Entity::find_by_id(CLOCK_ID).one(db).await?;
    Ok(row.map(|row| Timestamp::from_millis(row.now)))
}

/// Stores the time of the test clock.
pub(super) async fn keep_test_clock(
    db: &DatabaseConnection,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let row = test_clock::ActiveModel { clock_id: Set(CLOCK_ID), now: Set(now.as_millis()) };
    let replace = OnConflict::column(test_clock::Column::ClockId)
        .update_column(test_clock::Column::Now)
        .to_owned();
    test_clock::Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}
