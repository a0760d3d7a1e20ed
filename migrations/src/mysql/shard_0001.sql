-- Every hot table is clustered by an id that grows with time and has exactly one index that begins
-- with the user; every other index grows with time. `cargo xtask tidy` checks the rules.

-- coupon_user is wallet, per-user limit and idempotency in one; coupon_valid_until is for sweeps.
CREATE TABLE IF NOT EXISTS coupon (
    coupon_id        BIGINT      NOT NULL,
    user_id          BIGINT      NOT NULL,
    template_id      BIGINT      NOT NULL,
    claim_no         BIGINT      NOT NULL,
    template_version INT         NOT NULL,
    status           INT         NOT NULL DEFAULT 0,
    request_id       VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    fingerprint      BIGINT      NOT NULL,
    source           VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    claimed_at       BIGINT      NOT NULL,
    valid_until      BIGINT      NOT NULL,
    redemption_id    BIGINT      NULL,
    locked_until     BIGINT      NULL,
    used_at          BIGINT      NULL,
    reissue_of       BIGINT      NULL,
    PRIMARY KEY (coupon_id),
    UNIQUE KEY coupon_user (user_id, template_id, claim_no),
    KEY coupon_valid_until (valid_until, coupon_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS stock_bucket (
    template_id BIGINT NOT NULL,
    bucket      INT    NOT NULL,
    granted     BIGINT NOT NULL,
    issued      BIGINT NOT NULL DEFAULT 0,
    open        INT    NOT NULL DEFAULT 0,
    PRIMARY KEY (template_id, bucket),
    CONSTRAINT stock_bucket_bounds CHECK (0 <= issued AND issued <= granted)
) ENGINE = InnoDB;

-- Only live locks have a locked_until.
CREATE TABLE IF NOT EXISTS redemption (
    redemption_id     BIGINT       NOT NULL,
    user_id           BIGINT       NOT NULL,
    order_id          VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    state             INT          NOT NULL,
    evaluation        MEDIUMTEXT   CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    first_locked_at   BIGINT       NULL,
    locked_until      BIGINT       NULL,
    closed_at         BIGINT       NULL,
    locks             MEDIUMTEXT   CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    close_request_id  VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    close_fingerprint BIGINT       NULL,
    PRIMARY KEY (redemption_id),
    UNIQUE KEY redemption_order (user_id, order_id),
    KEY redemption_locked_until (locked_until, redemption_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS coupon_operation (
    operation_id BIGINT       NOT NULL,
    coupon_id    BIGINT       NULL,
    user_id      BIGINT       NULL,
    template_id  BIGINT       NOT NULL,
    order_id     VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    operation    INT          NOT NULL,
    from_status  INT          NULL,
    to_status    INT          NOT NULL,
    coupons      BIGINT       NOT NULL DEFAULT 1,
    at           BIGINT       NOT NULL,
    caller       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    PRIMARY KEY (operation_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS alarm (
    kind   INT    NOT NULL,
    minute BIGINT NOT NULL,
    hop    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, minute)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS refund (
    user_id       BIGINT       NOT NULL,
    order_id      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    request_id    VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    redemption_id BIGINT       NOT NULL,
    coupons       MEDIUMTEXT   CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    restored_at   BIGINT       NOT NULL,
    PRIMARY KEY (user_id, order_id, request_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS audience (
    user_id     BIGINT NOT NULL,
    template_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, template_id)
) ENGINE = InnoDB;

-- How much of the template's total this shard has been handed; what is missing to its share is added
-- to its buckets in the same transaction, so that repeating a grant changes nothing.
CREATE TABLE IF NOT EXISTS stock_grant (
    template_id BIGINT NOT NULL,
    handed      BIGINT NOT NULL,
    PRIMARY KEY (template_id)
) ENGINE = InnoDB;

-- Pieces taken from this shard's buckets that have not arrived at another shard yet.
CREATE TABLE IF NOT EXISTS transfer_out (
    transfer_id BIGINT NOT NULL,
    template_id BIGINT NOT NULL,
    to_shard    INT    NOT NULL,
    pieces      BIGINT NOT NULL,
    sent_at     BIGINT NOT NULL,
    PRIMARY KEY (transfer_id)
) ENGINE = InnoDB;

-- Transfers that have arrived: a repeated one changes nothing.
CREATE TABLE IF NOT EXISTS transfer_applied (
    transfer_id BIGINT NOT NULL,
    template_id BIGINT NOT NULL,
    pieces      BIGINT NOT NULL,
    applied_at  BIGINT NOT NULL,
    PRIMARY KEY (transfer_id)
) ENGINE = InnoDB;

-- Counts folded from coupon_operation, and how far the fold has come.
CREATE TABLE IF NOT EXISTS template_stat (
    template_id BIGINT NOT NULL,
    locked      BIGINT NOT NULL DEFAULT 0,
    used        BIGINT NOT NULL DEFAULT 0,
    expired     BIGINT NOT NULL DEFAULT 0,
    voided      BIGINT NOT NULL DEFAULT 0,
    reissued    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (template_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS stat_fold (
    fold_id      BIGINT NOT NULL,
    folded_up_to BIGINT NOT NULL,
    as_of        BIGINT NOT NULL,
    PRIMARY KEY (fold_id)
) ENGINE = InnoDB;

INSERT IGNORE INTO stat_fold (fold_id, folded_up_to, as_of) VALUES (1, 0, 0);

-- Which shard every slot lives on, as this shard was told.
CREATE TABLE IF NOT EXISTS shard_slot_map (
    map_version BIGINT     NOT NULL,
    shard       INT        NOT NULL,
    shards      INT        NOT NULL,
    slots       MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (map_version)
) ENGINE = InnoDB;

-- When this database last heard from a node, for judging how far a replica lags behind.
CREATE TABLE IF NOT EXISTS heartbeat (
    heartbeat_id BIGINT NOT NULL,
    beaten_at    BIGINT NOT NULL,
    PRIMARY KEY (heartbeat_id)
) ENGINE = InnoDB;
