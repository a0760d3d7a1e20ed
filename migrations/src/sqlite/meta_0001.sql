CREATE TABLE rule (
    rule_id INTEGER PRIMARY KEY,
    content TEXT NOT NULL
);

CREATE TABLE template (
    template_id  INTEGER PRIMARY KEY,
    rule_id      INTEGER NOT NULL,
    display_name TEXT    NOT NULL,
    merchant_id  INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    total_count  INTEGER NOT NULL,
    claim_from   INTEGER NOT NULL,
    claim_until  INTEGER NOT NULL,
    buckets      INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    published_at INTEGER,
    changed_at   INTEGER NOT NULL DEFAULT 0
);

-- Other nodes look for what has changed lately.
CREATE INDEX template_changed_at ON template (changed_at);

-- Who asked for which change of a template, and what it came to: a repeated request answers again.
CREATE TABLE request_log (
    caller      TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,
    fingerprint INTEGER NOT NULL,
    subject_id  INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (caller, request_id)
) WITHOUT ROWID;

CREATE INDEX request_log_at ON request_log (at);

-- Node numbers: the second up to which each may have minted ids, and who holds it until when.
CREATE TABLE node (
    node_id      INTEGER PRIMARY KEY,
    minted_until INTEGER NOT NULL,
    holder       TEXT    NOT NULL DEFAULT '',
    leased_until INTEGER NOT NULL DEFAULT 0
);

-- Background loops, and who runs each until when.
CREATE TABLE loop_lease (
    name         TEXT    PRIMARY KEY,
    holder       TEXT    NOT NULL,
    leased_until INTEGER NOT NULL
) WITHOUT ROWID;

-- Which shard every slot lives on; the same on meta and on every shard.
CREATE TABLE slot_map (
    map_version INTEGER PRIMARY KEY,
    shards      INTEGER NOT NULL,
    slots       TEXT    NOT NULL
);

-- The server's time under a test clock; no row otherwise.
CREATE TABLE test_clock (
    clock_id INTEGER PRIMARY KEY,
    now      INTEGER NOT NULL
);
