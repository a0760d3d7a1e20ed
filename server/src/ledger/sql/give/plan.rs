//! What a claim group is going to do: pure bookkeeping between its statements.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::LazyLock,
};

use coupon_domain::{
    Rejection,
    ids::{CouponId, TemplateId, UserId},
    stock::{Bucket, BucketKey},
    time::Timestamp,
};
use sea_orm::ConnectionTrait;

#[cfg(feature = "sabotage")]
use crate::faults;
use crate::{
    ledger::{
        GiveCommand, Given, GivenCoupon, LedgerError, NotGiven,
        sql::{
            refill::Proofs,
            rows::{HOLDING_COLUMNS, get, holding},
            statement::{Texts, query_by_keys, repeat},
        },
    },
    mint::Mint,
};

/// A command and how far it has come.
pub(super) struct Member {
    pub(super) command: GiveCommand,
    /// Read the user's rows of the template before writing.
    pub(super) read_first: bool,
    /// Read the template's buckets before taking from them.
    pub(super) count_stock: bool,
    /// Rounds that came to nothing.
    pub(super) tries: u32,
    /// The commit of one of them was not answered: until a round has read and committed, whatever
    /// fails leaves the outcome unknown.
    pub(super) unsettled: bool,
    pub(super) outcome: Option<Result<Given, NotGiven>>,
    /// This shard has too little for it, others may have more.
    pub(super) short: bool,
}

impl Member {
    pub(super) fn new(command: GiveCommand) -> Self {
        let read_first = command.pieces > 1 || command.template.rules.per_user_limit > 1;
        let (count_stock, unsettled, short) = (false, false, false);
        Self { command, read_first, count_stock, tries: 0, unsettled, outcome: None, short }
    }

    /// Ends it with an error that says nothing was changed, unless an earlier commit may have.
    pub(super) fn fail(&mut self, error: &LedgerError) {
        let unknown = || LedgerError::Unknown(error.to_string());
        let error = if self.unsettled { unknown() } else { error.clone() };
        self.outcome = Some(Err(error.into()));
    }

    /// Whether this writer has nothing more to do for it.
    pub(super) fn is_done(&self) -> bool {
        self.short || self.outcome.is_some()
    }
}

/// What a round says of a member.
pub(super) enum Verdict {
    Done(Result<Given, NotGiven>),
    /// This shard has too little.
    Short,
    /// Lost a race: read in the next round.
    Again,
}

/// A coupon to insert.
pub(super) struct NewCoupon<'a> {
    pub(super) id: CouponId,
    pub(super) claim_no: i64,
    pub(super) valid_until: Timestamp,
    pub(super) command: &'a GiveCommand,
    /// Index of the member in the round.
    member: usize,
}

/// A row of a user's holdings of one template.
pub(super) struct Held {
    coupon: GivenCoupon,
    request_id: String,
    fingerprint: i64,
}

type HeldByUser = HashMap<(UserId, TemplateId), Vec<Held>>;

static HELD: LazyLock<Texts> = LazyLock::new(|| held(""));
/// As [`HELD`], waiting for whoever is writing these rows.
static HELD_FOR_CERTAIN: LazyLock<Texts> = LazyLock::new(|| held(" FOR UPDATE"));

/// On SQLite, where there is one writer, nothing has to be locked.
fn held(lock: &str) -> Texts {
    let columns: Vec<String> =
        HOLDING_COLUMNS.split(", ").map(|column| format!("c.{column}")).collect();
    let columns = columns.join(", ");
    let order = "c.claim_no > 0 ORDER BY c.user_id, c.template_id, c.claim_no";
    let sqlite = |rows| {
        let tail = format!(
            ") SELECT DISTINCT {columns} FROM wanted CROSS JOIN coupon AS c \
             ON c.user_id = wanted.user_id AND c.template_id = wanted.template_id WHERE {order}"
        );
        repeat("WITH wanted (user_id, template_id) AS (VALUES ", "(?,?)", rows, &tail)
    };
    let mysql = |rows| {
        let head = format!(
            "SELECT {columns} FROM coupon AS c FORCE INDEX (coupon_user) \
             WHERE (c.user_id, c.template_id) IN ("
        );
        repeat(&head, "(?,?)", rows, &format!(") AND {order}{lock}"))
    };
    Texts::per_backend(sqlite, mysql)
}

/// The rows that members must see before they write, by (user, template). Users without rows have
/// an empty entry: they were looked up. With a member whose commit was not answered, the read waits
/// until whatever still holds such rows has ended: a plain read proves nothing about it.
pub(super) async fn read_held(
    tx: &impl ConnectionTrait,
    round: &[&Member],
) -> Result<HeldByUser, LedgerError> {
    let keys: Vec<(UserId, TemplateId)> = round
        .iter()
        .filter(|member| member.read_first)
        .map(|member| (member.command.user, member.command.template.id))
        .collect();
    let mut held: HeldByUser = keys.iter().map(|key| (*key, Vec::new())).collect();
    let unsettled = round.iter().any(|member| member.unsettled);
    let texts = if unsettled { &HELD_FOR_CERTAIN } else { &HELD };
    let rows = query_by_keys(tx, texts, &keys, |(user, template), values| {
        values.extend([user.get().into(), template.get().into()]);
    });
    for row in rows.await? {
        let (template, found) = holding(&row)?;
        held.entry((found.user, template)).or_default().push(Held {
            coupon: found.coupon,
            request_id: get(&row, 6)?,
            fingerprint: found.fingerprint.to_stored(),
        });
    }
    Ok(held)
}

/// The buckets of one template and what the group takes from them.
struct Stock {
    buckets: Vec<Bucket>,
    taken: Vec<i64>,
    total: i64,
    left: i64,
    /// Whether the buckets are as read.
    counted: bool,
}

/// What a bucket that was not read is assumed to hold.
const PLENTY: i64 = 1 << 40;

/// A member's part in the round.
enum Part {
    /// Judged already.
    Done(Result<Given, NotGiven>),
    /// Wants the numbers from `first` on.
    Wants { first: i64 },
    /// Has inserted these.
    Has(Vec<GivenCoupon>),
    /// This shard has too little.
    Short,
    /// Clashed.
    Again,
}

/// A round under way.
pub(super) struct Plan {
    parts: Vec<Part>,
    stocks: BTreeMap<TemplateId, Stock>,
}

impl Plan {
    /// Judges replays and limits of the members whose rows were read.
    pub(super) fn judge(round: &[&Member], held: &HeldByUser) -> Self {
        let mut stocks = BTreeMap::new();
        let parts = round.iter().map(|member| {
            let command = &member.command;
            let part = match held.get(&(command.user, command.template.id)) {
                Some(held) => judge_held(command, held),
                None => Part::Wants { first: 1 },
            };
            if let Part::Wants { .. } = part {
                let total = command.template.total;
                stocks.entry(command.template.id).or_insert_with(|| Stock::of(total));
            }
            part
        });
        let parts = parts.collect();
        Self { parts, stocks }
    }

    /// Templates whose buckets must be read, because somebody has met an empty or closed one.
    pub(super) fn templates_to_count(&self, round: &[&Member]) -> Vec<TemplateId> {
        let counted = round.iter().filter(|member| member.count_stock);
        let ids: BTreeSet<TemplateId> = counted.map(|member| member.command.template.id).collect();
        ids.into_iter().filter(|id| self.stocks.contains_key(id)).collect()
    }

    /// Assumes that the buckets nobody has to read are open and full: the guarded update finds out,
    /// and what it refuses is tried again with the rows read.
    pub(super) fn assume_buckets(&mut self, round: &[&Member]) {
        for member in round {
            let template = &member.command.template;
            let unread = |stock: &&mut Stock| stock.buckets.is_empty() && !stock.counted;
            let Some(stock) = self.stocks.get_mut(&template.id).filter(unread) else { continue };
            for bucket in 0..template.buckets {
                let key = BucketKey { template: template.id, bucket };
                stock.push(Bucket { key, granted: PLENTY, issued: 0, open: true });
            }
        }
    }

    /// Takes in the buckets of those templates as read, ordered by template and bucket.
    pub(super) fn load_buckets(&mut self, templates: &[TemplateId], buckets: Vec<Bucket>) {
        for template in templates {
            if let Some(stock) = self.stocks.get_mut(template) {
                stock.counted = true;
            }
        }
        for bucket in buckets {
            if let Some(stock) = self.stocks.get_mut(&bucket.key.template) {
                stock.push(bucket);
            }
        }
    }

    /// Gives stock to the members in their order, each all or nothing. `proofs`: what is known of the
    /// stock of all shards, where this is one of several.
    pub(super) fn allot(&mut self, round: &[&Member], proofs: Option<&Proofs>) {
        for (part, member) in self.parts.iter_mut().zip(round) {
            let Part::Wants { .. } = part else { continue };
            let command = &member.command;
            let Some(stock) = self.stocks.get_mut(&command.template.id) else { continue };
            let pieces = i64::from(command.pieces);
            let open = !stock.buckets.is_empty() && stock.buckets.iter().all(|bucket| bucket.open);
            if open && pieces <= stock.left {
                stock.left -= pieces;
                stock.take(command.user, pieces);
            } else if !member.read_first {
                // A replay comes before any refusal: look for one first.
                *part = Part::Again;
            } else if open {
                *part = match proofs {
                    None => Part::Done(Err(stock.refusal(pieces))),
                    Some(proofs) if proofs.prove_sold_out(&command.template, pieces) => {
                        Part::Done(Err(Rejection::SoldOut.into()))
                    }
                    Some(_) => Part::Short,
                };
            } else {
                *part = Part::Done(Err(NotGiven::Closed));
            }
        }
    }

    /// The coupons to insert, in the order of their ids: the table is appended to, not filled in.
    pub(super) fn wanted<'a>(
        &self,
        round: &[&'a Member],
        mint: &Mint,
    ) -> Result<Vec<NewCoupon<'a>>, LedgerError> {
        let wants = |part: &Part| match part {
            Part::Wants { first } => Some(*first),
            _ => None,
        };
        let parts = self.parts.iter().zip(round).enumerate();
        let mut taking: Vec<_> = parts
            .filter_map(|(member, (part, entry))| Some((member, wants(part)?, &entry.command)))
            .collect();
        // Ids minted in one 1024th of a second are ordered by slot. The rest of the key makes the
        // order the same in every group: two that meet wait for each other, neither blocks both.
        taking.sort_unstable_by_key(|(_, _, command)| {
            (command.user.slot(), command.user, command.template.id)
        });
        let mut wanted = Vec::with_capacity(taking.len());
        for (member, first, command) in taking {
            let valid_until = command.template.validity(command.at).valid_until;
            for claim_no in first..first + i64::from(command.pieces) {
                let id = mint.coupon(command.user)?;
                wanted.push(NewCoupon { id, claim_no, valid_until, command, member });
            }
        }
        Ok(wanted)
    }

    /// Notes which coupons are in. False when a member has only some of its pieces: the round must
    /// be rolled back.
    pub(super) fn note_inserted(
        &mut self,
        round: &[&Member],
        wanted: &[NewCoupon<'_>],
        inserted: &HashSet<CouponId>,
    ) -> bool {
        let mut coupons: BTreeMap<usize, Vec<GivenCoupon>> = BTreeMap::new();
        for coupon in wanted {
            let got = coupons.entry(coupon.member).or_default();
            if inserted.contains(&coupon.id) {
                got.push(GivenCoupon {
                    id: coupon.id,
                    claim_no: coupon.claim_no,
                    claimed_at: coupon.command.at,
                    valid_until: coupon.valid_until,
                });
            }
        }
        let mut clashed = HashSet::new();
        for (member, got) in coupons {
            let command = &round[member].command;
            if got.is_empty() {
                self.parts[member] = Part::Again;
                clashed.insert(command.template.id);
                if let Some(stock) = self.stocks.get_mut(&command.template.id) {
                    stock.take(command.user, -i64::from(command.pieces));
                }
            } else if got.len() < usize::try_from(command.pieces).unwrap_or(usize::MAX) {
                return false;
            } else {
                self.parts[member] = Part::Has(got);
            }
        }
        self.reconsider(round, &clashed);
        true
    }

    /// Whoever fell short because of a member that then took nothing is judged again.
    fn reconsider(&mut self, round: &[&Member], clashed: &HashSet<TemplateId>) {
        for (part, member) in self.parts.iter_mut().zip(round) {
            let fell_short = matches!(
                part,
                Part::Short | Part::Done(Err(NotGiven::Refused(Rejection::SoldOut)))
            );
            if fell_short && clashed.contains(&member.command.template.id) {
                *part = Part::Again;
            }
        }
    }

    /// Per template: its buckets, and how many pieces the group takes from each.
    pub(super) fn takings(&self) -> impl Iterator<Item = (&[Bucket], &[i64])> {
        self.stocks
            .values()
            .filter(|stock| stock.taken.iter().any(|taken| *taken > 0))
            .map(|stock| (stock.buckets.as_slice(), stock.taken.as_slice()))
    }

    /// Every coupon the round inserts.
    pub(super) fn given(&self) -> impl Iterator<Item = &GivenCoupon> {
        self.parts.iter().flat_map(|part| match part {
            Part::Has(coupons) => coupons.as_slice(),
            _ => &[],
        })
    }

    /// The end of it.
    pub(super) fn into_verdicts(self) -> Vec<Verdict> {
        let verdict = |part| match part {
            Part::Done(outcome) => Verdict::Done(outcome),
            Part::Has(coupons) => Verdict::Done(Ok(Given { coupons, replayed: false })),
            Part::Short => Verdict::Short,
            Part::Wants { .. } | Part::Again => Verdict::Again,
        };
        self.parts.into_iter().map(verdict).collect()
    }
}

impl Stock {
    fn of(total: i64) -> Self {
        Self { buckets: Vec::new(), taken: Vec::new(), total, left: 0, counted: false }
    }

    fn push(&mut self, bucket: Bucket) {
        self.left += bucket.left();
        self.buckets.push(bucket);
        self.taken.push(0);
    }

    fn take(&mut self, user: UserId, pieces: i64) {
        let buckets = u16::try_from(self.buckets.len()).unwrap_or(u16::MAX);
        let bucket = user.slot().bucket(buckets);
        #[cfg(feature = "sabotage")]
        let bucket = faults::bucket_of(user, buckets).unwrap_or(bucket);
        if let Some(taken) = self.taken.get_mut(usize::from(bucket)) {
            *taken += pieces;
        }
    }

    /// Why `pieces` cannot be had where this is all the stock there is. "Sold out" is said only when the pieces given add up to the total,
    /// or when fewer are left than this member wants.
    fn refusal(&self, pieces: i64) -> NotGiven {
        let issued: i64 = self.buckets.iter().map(|bucket| bucket.issued).sum();
        let taken: i64 = self.taken.iter().sum();
        if issued + taken + pieces > self.total {
            return Rejection::SoldOut.into();
        }
        LedgerError::Unavailable("stock of the template is being moved; try again".into()).into()
    }
}

fn judge_held(command: &GiveCommand, held: &[Held]) -> Part {
    let same: Vec<&Held> =
        held.iter().filter(|held| held.request_id == command.request_id).collect();
    if !same.is_empty() {
        let fingerprint = command.fingerprint.to_stored();
        if same.iter().any(|held| held.fingerprint != fingerprint) {
            return Part::Done(Err(Rejection::IdempotencyKeyReused.into()));
        }
        let coupons = same.into_iter().map(|held| held.coupon).collect();
        return Part::Done(Ok(Given { coupons, replayed: true }));
    }
    let count = i64::try_from(held.len()).unwrap_or(i64::MAX);
    #[cfg(feature = "sabotage")]
    let count = if faults::is(faults::Fault::SeparateLimit) { i64::MIN / 2 } else { count };
    if count + i64::from(command.pieces) > i64::from(command.template.rules.per_user_limit) {
        return Part::Done(Err(Rejection::LimitReached.into()));
    }
    let last = held.last().map_or(0, |held| held.coupon.claim_no);
    Part::Wants { first: last + 1 }
}
