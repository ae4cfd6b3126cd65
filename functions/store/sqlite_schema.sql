-- The schema of a new SQLite file: what the migrations make, in one script. A test compares the two.
-- Written by: PYTHONPATH=tests python -m support.sqlite_schema
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE envs (
    namespace VARCHAR(255) NOT NULL,
    status TEXT,
    lastping DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE nonces (
    provider VARCHAR(255) NOT NULL,
    nonce VARCHAR(255),
    nanoseconds BIGINT DEFAULT '0' NOT NULL
);
CREATE TABLE stage_attempts (
    workflow VARCHAR(255) NOT NULL,
    stage VARCHAR(16) NOT NULL,
    attempt INTEGER NOT NULL,
    executor INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    job_uid VARCHAR(255),
    started_at DATETIME,
    ended_at DATETIME,
    outcome VARCHAR(16),
    exit_code INTEGER,
    reason TEXT,
    PRIMARY KEY (workflow, stage, attempt, executor),
    CONSTRAINT ck_stage_attempts_ended CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    FOREIGN KEY(workflow) REFERENCES jobs (workflowid) ON DELETE CASCADE
);
CREATE TABLE history (
    workflow VARCHAR(255) NOT NULL,
    step INTEGER NOT NULL,
    at DATETIME NOT NULL,
    before VARCHAR(16) NOT NULL,
    after VARCHAR(16) NOT NULL,
    status INTEGER NOT NULL,
    event TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    cause TEXT NOT NULL,
    facts TEXT,
    digest VARCHAR(64) DEFAULT '' NOT NULL,
    PRIMARY KEY (workflow, step)
);
CREATE TABLE jobs (
    agreementid VARCHAR(255) NOT NULL,
    workflowid VARCHAR(255) NOT NULL,
    owner VARCHAR(255),
    status INTEGER,
    statustext VARCHAR(255),
    laststatusupdate DATETIME DEFAULT (CURRENT_TIMESTAMP),
    datecreated DATETIME DEFAULT (CURRENT_TIMESTAMP) NOT NULL,
    datefinished DATETIME,
    configlogurl TEXT,
    publishlogurl TEXT,
    algologurl TEXT,
    outputsurl TEXT,
    ddo TEXT,
    namespace VARCHAR(255),
    stopreq SMALLINT DEFAULT 0,
    removed SMALLINT DEFAULT 0,
    workflow TEXT,
    provider VARCHAR(255),
    phase VARCHAR(16) DEFAULT 'queued' NOT NULL,
    attempt INTEGER DEFAULT '0' NOT NULL,
    step INTEGER DEFAULT '0' NOT NULL,
    executor INTEGER DEFAULT '0' NOT NULL,
    ran_seconds INTEGER DEFAULT '0' NOT NULL,
    job_uid VARCHAR(255),
    job_created_at DATETIME,
    waiting TEXT,
    runs_since DATETIME,
    wake_at DATETIME DEFAULT '1970-01-01 00:00:00.000000',
    deadline DATETIME,
    limits TEXT DEFAULT '{}' NOT NULL,
    halt TEXT,
    ending TEXT,
    expired BOOLEAN DEFAULT 0 NOT NULL,
    reported BOOLEAN DEFAULT 0 NOT NULL,
    admin_files TEXT,
    warnings TEXT,
    chain_id VARCHAR(255),
    idempotency_key VARCHAR(255),
    origin VARCHAR(255),
    adopted BOOLEAN DEFAULT 1 NOT NULL,
    findings VARCHAR(8) DEFAULT ('') NOT NULL,
    held_until DATETIME,
    head VARCHAR(64) DEFAULT ('') NOT NULL,
    policy TEXT,
    traceparent VARCHAR(55) DEFAULT ('') NOT NULL,
    dialect VARCHAR(16) DEFAULT 'ocean' NOT NULL,
    salt VARCHAR(64) DEFAULT ('') NOT NULL,
    evidence TEXT,
    logged_step INTEGER DEFAULT '0' NOT NULL,
    agreement_key TEXT GENERATED ALWAYS AS (CASE WHEN length(agreementid) IN (40, 64) AND trim(lower(agreementid), '0123456789abcdef') = '' THEN lower(agreementid) WHEN length(agreementid) IN (42, 66) AND lower(agreementid) LIKE '0x%' AND trim(substr(lower(agreementid), 3), '0123456789abcdef') = '' THEN substr(lower(agreementid), 3) ELSE agreementid END) STORED,
    owner_key TEXT GENERATED ALWAYS AS (CASE WHEN length(owner) IN (40, 64) AND trim(lower(owner), '0123456789abcdef') = '' THEN lower(owner) WHEN length(owner) IN (42, 66) AND lower(owner) LIKE '0x%' AND trim(substr(lower(owner), 3), '0123456789abcdef') = '' THEN substr(lower(owner), 3) ELSE owner END) STORED,
    CONSTRAINT ck_jobs_phase CHECK (phase IN ('queued', 'configure', 'algorithm', 'filter', 'check', 'publish', 'held', 'release', 'finished')),
    CONSTRAINT ck_jobs_finished CHECK ((phase = 'finished') = (datefinished IS NOT NULL)),
    CONSTRAINT ck_jobs_wakes_up CHECK (phase = 'finished' OR wake_at IS NOT NULL)
);
CREATE TABLE intents (
    id INTEGER NOT NULL,
    workflow VARCHAR(255),
    kind VARCHAR(16) NOT NULL,
    stage VARCHAR(16),
    attempt INTEGER,
    executor INTEGER,
    event VARCHAR(32),
    scope VARCHAR(512),
    due_at DATETIME NOT NULL,
    wake_at DATETIME NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT ck_intents_event CHECK (kind <> 'emit' OR event IS NOT NULL),
    CONSTRAINT ck_intents_scope CHECK (workflow IS NOT NULL OR (kind = 'emit' AND scope IS NOT NULL)),
    CONSTRAINT ck_intents_stage CHECK (kind NOT IN ('create_job', 'delete_job') OR (stage IS NOT NULL AND attempt IS NOT NULL)),
    FOREIGN KEY(workflow) REFERENCES jobs (workflowid) ON DELETE CASCADE
);
CREATE TABLE tick (
    id INTEGER NOT NULL,
    level INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT ck_tick_one_row CHECK (id = 1)
);
CREATE TABLE slots (
    environment VARCHAR(255) NOT NULL,
    PRIMARY KEY (environment)
);
CREATE TABLE dead_letters (
    id INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    at DATETIME NOT NULL,
    reason TEXT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE used_nonces (
    nanoseconds BIGINT NOT NULL,
    provider VARCHAR(255) NOT NULL,
    PRIMARY KEY (nanoseconds, provider)
);
CREATE TABLE holds (
    workflow VARCHAR(255) NOT NULL,
    identity TEXT,
    recipient TEXT NOT NULL,
    head VARCHAR(64) DEFAULT '' NOT NULL,
    manifest TEXT,
    PRIMARY KEY (workflow),
    FOREIGN KEY(workflow) REFERENCES jobs (workflowid) ON DELETE CASCADE
);
CREATE TABLE decisions (
    workflow VARCHAR(255) NOT NULL,
    by VARCHAR(42) NOT NULL,
    at DATETIME NOT NULL,
    text TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (workflow, by),
    FOREIGN KEY(workflow) REFERENCES jobs (workflowid) ON DELETE CASCADE
);
CREATE TABLE freezes (
    scope VARCHAR(512) NOT NULL,
    at DATETIME NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (scope)
);
CREATE TABLE policy_runs (
    policy VARCHAR(63) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    at DATETIME NOT NULL,
    workflow VARCHAR(255) NOT NULL,
    PRIMARY KEY (policy, owner, at, workflow)
);
CREATE TABLE tes_tasks (
    workflow VARCHAR(255) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    name TEXT NOT NULL,
    name_start VARCHAR(255) NOT NULL,
    state VARCHAR(16) NOT NULL,
    created_at DATETIME NOT NULL,
    size INTEGER NOT NULL,
    warnings TEXT,
    outputs TEXT,
    logs TEXT,
    PRIMARY KEY (workflow),
    FOREIGN KEY(workflow) REFERENCES jobs (workflowid) ON DELETE CASCADE
);
CREATE TABLE tes_tags (
    workflow VARCHAR(255) NOT NULL,
    key VARCHAR(32) NOT NULL,
    value VARCHAR(32) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    created_at DATETIME NOT NULL,
    PRIMARY KEY (workflow, key),
    FOREIGN KEY(workflow) REFERENCES jobs (workflowid) ON DELETE CASCADE
);
CREATE TABLE log_leaves (
    position BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    subject VARCHAR(512) NOT NULL,
    data VARCHAR(64) NOT NULL,
    PRIMARY KEY (position)
);
CREATE TABLE log_nodes (
    level INTEGER NOT NULL,
    position BIGINT NOT NULL,
    hash VARCHAR(64) NOT NULL,
    PRIMARY KEY (level, position)
);
CREATE TABLE log_checkpoints (
    size BIGINT NOT NULL,
    at DATETIME NOT NULL,
    root VARCHAR(64) NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (size)
);
CREATE TABLE log_waiting (
    data VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    subject VARCHAR(512) NOT NULL,
    PRIMARY KEY (data)
);
CREATE TABLE log_copies (
    place TEXT NOT NULL,
    size BIGINT NOT NULL,
    cosignatures TEXT NOT NULL,
    PRIMARY KEY (place, size)
);
CREATE TABLE log_size (
    id INTEGER NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT ck_log_size_one_row CHECK (id = 1)
);
CREATE INDEX ix_dead_letters_at ON dead_letters (at);
CREATE INDEX ix_dead_letters_event ON dead_letters (event_id);
CREATE UNIQUE INDEX unique_namespace ON envs (namespace);
CREATE INDEX ix_intents_outgoing ON intents (wake_at) WHERE kind = 'emit';
CREATE INDEX ix_intents_wake ON intents (wake_at) WHERE kind <> 'emit';
CREATE INDEX ix_intents_workflow ON intents (workflow);
CREATE INDEX ix_jobs_agreement ON jobs (agreement_key, datecreated, workflowid);
CREATE INDEX ix_jobs_created ON jobs (datecreated, workflowid);
CREATE INDEX ix_jobs_dialect ON jobs (dialect, datecreated, workflowid) WHERE dialect <> 'ocean';
CREATE INDEX ix_jobs_environment ON jobs (namespace, datecreated, workflowid);
CREATE INDEX ix_jobs_held ON jobs (held_until) WHERE phase = 'held';
CREATE INDEX ix_jobs_origin ON jobs (datecreated, workflowid) WHERE origin IS NOT NULL;
CREATE INDEX ix_jobs_owner ON jobs (owner_key, datecreated, workflowid);
CREATE INDEX ix_jobs_queued ON jobs (namespace, datecreated, workflowid) WHERE phase = 'queued';
CREATE INDEX ix_jobs_running ON jobs (namespace) WHERE phase NOT IN ('queued', 'held', 'release', 'finished');
CREATE INDEX ix_jobs_unfinished ON jobs (datecreated, workflowid) WHERE datefinished IS NULL;
CREATE INDEX ix_jobs_unlogged ON jobs (workflowid) WHERE step > logged_step;
CREATE INDEX ix_jobs_unsuccessful ON jobs (datecreated, workflowid) WHERE phase = 'finished' AND (status <> 70 OR stopreq <> 0);
CREATE INDEX ix_jobs_wake ON jobs (wake_at) WHERE wake_at IS NOT NULL;
CREATE UNIQUE INDEX uniq_agreementid_workflowid ON jobs (agreementid, workflowid);
CREATE UNIQUE INDEX ux_jobs_idempotency_key ON jobs (provider, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX ux_jobs_live_agreement ON jobs (agreement_key) WHERE datefinished IS NULL;
CREATE UNIQUE INDEX ux_jobs_workflowid ON jobs (workflowid);
CREATE INDEX ix_log_copies_size ON log_copies (size);
CREATE INDEX ix_log_leaves_no_heads ON log_leaves (data) WHERE kind <> 'history';
CREATE INDEX ix_log_leaves_parts ON log_leaves ((position >> 16), substr(data, 1, 16));
CREATE UNIQUE INDEX ux_nonces_provider ON nonces (provider);
CREATE INDEX ix_tes_tags ON tes_tags (key, value, owner, created_at, workflow);
CREATE INDEX ix_tes_tasks_created ON tes_tasks (created_at, workflow);
CREATE INDEX ix_tes_tasks_name ON tes_tasks (name_start, owner);
CREATE INDEX ix_tes_tasks_owner ON tes_tasks (owner, created_at, workflow);
CREATE INDEX ix_tes_tasks_state ON tes_tasks (state, owner, created_at, workflow);
CREATE TRIGGER history_lines_stay_on_delete BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'lines of the history are never changed and never deleted'); END;
CREATE TRIGGER history_lines_stay_on_update BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'lines of the history are never changed and never deleted'); END;
INSERT INTO tick VALUES (1, 0, 0);
INSERT INTO log_size VALUES (1, 0);
INSERT INTO alembic_version VALUES ('0002');
