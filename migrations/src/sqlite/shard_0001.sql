-- Every hot table is clustered by an id that grows with time and has exactly one index that begins
-- with the user; every other index grows with time.

CREATE TABLE coupon (
    coupon_id        INTEGER PRIMARY KEY,
    user_id          INTEGER NOT NULL,
    template_id      INTEGER NOT NULL,
    claim_no         INTEGER NOT NULL,
    template_version INTEGER NOT NULL,
    status           INTEGER NOT NULL DEFAULT 0,
    request_id       TEXT    NOT NULL,
    fingerprint      INTEGER NOT NULL,
    source           TEXT    NOT NULL DEFAULT '',
    claimed_at       INTEGER NOT NULL,
    valid_until      INTEGER NOT NULL,
    redemption_id    INTEGER,
    locked_until     INTEGER,
    used_at          INTEGER,
    reissue_of       INTEGER
);

-- Wallet, per-user limit and idempotency in one.
CREATE UNIQUE INDEX coupon_user ON coupon (user_id, template_id, claim_no);

-- Expiry sweeps; the rowid, which is coupon_id, completes the key.
CREATE INDEX coupon_valid_until ON coupon (valid_until);

CREATE TABLE stock_bucket (
    template_id INTEGER NOT NULL,
    bucket      INTEGER NOT NULL,
    granted     INTEGER NOT NULL,
    issued      INTEGER NOT NULL DEFAULT 0,
    open        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (template_id, bucket),
    CHECK (0 <= issued AND issued <= granted)
) WITHOUT ROWID;

CREATE TABLE redemption (
    redemption_id     INTEGER PRIMARY KEY,
    user_id           INTEGER NOT NULL,
    order_id          TEXT    NOT NULL,
    state             INTEGER NOT NULL,
    evaluation        TEXT,
    first_locked_at   INTEGER,
    locked_until      INTEGER,
    closed_at         INTEGER,
    locks             TEXT    NOT NULL,
    close_request_id  TEXT,
    close_fingerprint INTEGER
);

CREATE UNIQUE INDEX redemption_order ON redemption (user_id, order_id);

-- Only live locks have a locked_until.
CREATE INDEX redemption_locked_until ON redemption (locked_until) WHERE locked_until IS NOT NULL;

CREATE TABLE coupon_operation (
    operation_id INTEGER PRIMARY KEY,
    coupon_id    INTEGER,
    user_id      INTEGER,
    template_id  INTEGER NOT NULL,
    order_id     TEXT    NOT NULL DEFAULT '',
    operation    INTEGER NOT NULL,
    from_status  INTEGER,
    to_status    INTEGER NOT NULL,
    coupons      INTEGER NOT NULL DEFAULT 1,
    at           INTEGER NOT NULL,
    caller       TEXT    NOT NULL DEFAULT ''
);

CREATE TABLE alarm (
    kind   INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    hop    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, minute)
) WITHOUT ROWID;

CREATE TABLE refund (
    user_id       INTEGER NOT NULL,
    order_id      TEXT    NOT NULL,
    request_id    TEXT    NOT NULL,
    redemption_id INTEGER NOT NULL,
    coupons       TEXT    NOT NULL,
    restored_at   INTEGER NOT NULL,
    PRIMARY KEY (user_id, order_id, request_id)
) WITHOUT ROWID;

CREATE TABLE audience (
    user_id     INTEGER NOT NULL,
    template_id INTEGER NOT NULL,
    PRIMARY KEY (user_id, template_id)
) WITHOUT ROWID;

-- How much of the template's total this shard has been handed; what is missing to its share is added
-- to its buckets in the same transaction, so that repeating a grant changes nothing.
CREATE TABLE stock_grant (
    template_id INTEGER PRIMARY KEY,
    handed      INTEGER NOT NULL
);

-- Pieces taken from this shard's buckets that have not arrived at another shard yet.
CREATE TABLE transfer_out (
    transfer_id INTEGER PRIMARY KEY,
    template_id INTEGER NOT NULL,
    to_shard    INTEGER NOT NULL,
    pieces      INTEGER NOT NULL,
    sent_at     INTEGER NOT NULL
);

-- Transfers that have arrived: a repeated one changes nothing.
CREATE TABLE transfer_applied (
    transfer_id INTEGER PRIMARY KEY,
    template_id INTEGER NOT NULL,
    pieces      INTEGER NOT NULL,
    applied_at  INTEGER NOT NULL
);

-- Counts folded from coupon_operation, and how far the fold has come.
CREATE TABLE template_stat (
    template_id INTEGER PRIMARY KEY,
    locked      INTEGER NOT NULL DEFAULT 0,
    used        INTEGER NOT NULL DEFAULT 0,
    expired     INTEGER NOT NULL DEFAULT 0,
    voided      INTEGER NOT NULL DEFAULT 0,
    reissued    INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE stat_fold (
    fold_id         INTEGER PRIMARY KEY,
    folded_up_to    INTEGER NOT NULL,
    as_of           INTEGER NOT NULL
);

INSERT INTO stat_fold (fold_id, folded_up_to, as_of) VALUES (1, 0, 0);

-- Which shard every slot lives on, as this shard was told.
CREATE TABLE shard_slot_map (
    map_version INTEGER PRIMARY KEY,
    shard       INTEGER NOT NULL,
    shards      INTEGER NOT NULL,
    slots       TEXT    NOT NULL
);

-- When this database last heard from a node, for judging how far a replica lags behind.
CREATE TABLE heartbeat (
    heartbeat_id INTEGER PRIMARY KEY,
    beaten_at    INTEGER NOT NULL
);
