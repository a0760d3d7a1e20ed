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
    published_at INTEGER
);

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

-- Node numbers and the second up to which each may mint ids.
CREATE TABLE node (
    node_id      INTEGER PRIMARY KEY,
    minted_until INTEGER NOT NULL
);

-- The server's time under a test clock; no row otherwise.
CREATE TABLE test_clock (
    clock_id INTEGER PRIMARY KEY,
    now      INTEGER NOT NULL
);
