CREATE TABLE IF NOT EXISTS rule (
    rule_id BIGINT     NOT NULL,
    content MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (rule_id)
) ENGINE = InnoDB;

-- Other nodes look for what has changed lately.
CREATE TABLE IF NOT EXISTS template (
    template_id  BIGINT       NOT NULL,
    rule_id      BIGINT       NOT NULL,
    display_name VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    merchant_id  BIGINT       NOT NULL,
    state        INT          NOT NULL,
    total_count  BIGINT       NOT NULL,
    claim_from   BIGINT       NOT NULL,
    claim_until  BIGINT       NOT NULL,
    buckets      INT          NOT NULL,
    version      INT          NOT NULL,
    created_at   BIGINT       NOT NULL,
    published_at BIGINT       NULL,
    changed_at   BIGINT       NOT NULL DEFAULT 0,
    PRIMARY KEY (template_id),
    KEY template_changed_at (changed_at)
) ENGINE = InnoDB;

-- Who asked for which change of a template, and what it came to: a repeated request answers again.
CREATE TABLE IF NOT EXISTS request_log (
    caller      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    request_id  VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    fingerprint BIGINT       NOT NULL,
    subject_id  BIGINT       NOT NULL,
    at          BIGINT       NOT NULL,
    PRIMARY KEY (caller, request_id),
    KEY request_log_at (at)
) ENGINE = InnoDB;

-- Node numbers: the second up to which each may have minted ids, and who holds it until when.
CREATE TABLE IF NOT EXISTS node (
    node_id      BIGINT       NOT NULL,
    minted_until BIGINT       NOT NULL,
    holder       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    leased_until BIGINT       NOT NULL DEFAULT 0,
    PRIMARY KEY (node_id)
) ENGINE = InnoDB;

-- Background loops, and who runs each until when.
CREATE TABLE IF NOT EXISTS loop_lease (
    name         VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    holder       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    leased_until BIGINT       NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB;

-- Which shard every slot lives on; the same on meta and on every shard.
CREATE TABLE IF NOT EXISTS slot_map (
    map_version BIGINT     NOT NULL,
    shards      INT        NOT NULL,
    slots       MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (map_version)
) ENGINE = InnoDB;

-- The server's time under a test clock; no row otherwise.
CREATE TABLE IF NOT EXISTS test_clock (
    clock_id BIGINT NOT NULL,
    now      BIGINT NOT NULL,
    PRIMARY KEY (clock_id)
) ENGINE = InnoDB;
