-- Jobs, their threads, logs, steps and effects. Times are integer microseconds UTC; JSON is text.

-- Texts that many rows share (prompts, tool schemas), by SHA-256.
CREATE TABLE texts (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Small state of the daemon itself, such as whether everything is stopped.
CREATE TABLE runtime_state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Items of threads: mail, and the text of requests made in other ways.
CREATE TABLE emails (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL UNIQUE,
    in_reply_to TEXT,
    references_header TEXT NOT NULL DEFAULT '[]',
    thread_id TEXT NOT NULL,
    from_address TEXT NOT NULL,
    to_addresses TEXT NOT NULL DEFAULT '[]',
    cc_addresses TEXT NOT NULL DEFAULT '[]',
    subject TEXT NOT NULL DEFAULT '',
    body_text TEXT,
    body_html TEXT,
    attachments TEXT NOT NULL DEFAULT '[]',
    origin TEXT NOT NULL CHECK (origin IN ('owner', 'host', 'contact', 'tool', 'memory', 'attachment', 'web', 'stranger')),
    received_at INTEGER NOT NULL,
    downloaded_at INTEGER NOT NULL,
    folder TEXT NOT NULL DEFAULT 'INBOX',
    is_actionable INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX emails_thread ON emails (thread_id, received_at);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id TEXT NOT NULL,
    trigger_email_id INTEGER REFERENCES emails (id) ON DELETE SET NULL,
    parent_job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'waiting', 'needs_review', 'completed', 'failed', 'cancelled')),
    priority INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 3,
    run_at INTEGER NOT NULL,
    -- Whether run_at was still to come when it was set. A claim clears it of jobs that have become due and looks at no
    -- others, so that jobs for later cost it nothing.
    later INTEGER NOT NULL DEFAULT 0,
    -- The lease: a token that only its holder knows, and its end in CLOCK_MONOTONIC of one boot.
    lease INTEGER,
    lease_boot TEXT,
    lease_until INTEGER,
    locked_at INTEGER,
    locked_by TEXT,
    has_new_context INTEGER NOT NULL DEFAULT 0,
    task_summary TEXT NOT NULL DEFAULT '',
    metadata TEXT NOT NULL DEFAULT '{}',
    -- What a needs_review job waits for: answer, approval, limits, time, prompt, model, budget, review;
    -- of a waiting one that is held until its attachments are in place: release; NULL otherwise.
    needs TEXT,
    last_error TEXT,
    -- Grows when a finished job starts over: steps of earlier epochs are history, not context.
    epoch INTEGER NOT NULL DEFAULT 0,
    -- Running sums; nothing is ever summed over the log.
    log_seq INTEGER NOT NULL DEFAULT 0,
    step_seq INTEGER NOT NULL DEFAULT 0,
    -- Where the steps stood when the present run began, and how many runs in a row ended with the daemon before they
    -- had added one: a job that brings the daemon down each time must not run for ever.
    claimed_step INTEGER NOT NULL DEFAULT 0,
    orphaned INTEGER NOT NULL DEFAULT 0,
    iterations INTEGER NOT NULL DEFAULT 0,
    api_calls INTEGER NOT NULL DEFAULT 0,
    tokens INTEGER NOT NULL DEFAULT 0,
    cost_nanos INTEGER NOT NULL DEFAULT 0,
    first_usage_at INTEGER,
    last_usage_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    completed_at INTEGER
) STRICT;
-- The order of a claim; run_at is in it because the clock may have been set back since.
CREATE INDEX jobs_claim ON jobs (priority DESC, created_at, id, run_at) WHERE status = 'queued' AND later = 0;
CREATE INDEX jobs_later ON jobs (run_at) WHERE status = 'queued' AND later = 1;
CREATE INDEX jobs_due ON jobs (run_at) WHERE status = 'queued';
CREATE INDEX jobs_lease ON jobs (lease_until) WHERE status = 'running';
CREATE INDEX jobs_created ON jobs (created_at);
CREATE INDEX jobs_status ON jobs (status, id);
CREATE INDEX jobs_completed ON jobs (completed_at, status) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_thread ON jobs (thread_id);
CREATE INDEX jobs_parent ON jobs (parent_job_id) WHERE parent_job_id IS NOT NULL;
CREATE INDEX jobs_parent_named ON jobs (json_extract(metadata, '$.parent_job_id'))
    WHERE json_extract(metadata, '$.parent_job_id') IS NOT NULL;
CREATE INDEX jobs_workspace ON jobs (id) WHERE json_extract(metadata, '$.source') = 'workspace';
CREATE INDEX jobs_trigger_email ON jobs (trigger_email_id) WHERE trigger_email_id IS NOT NULL;
CREATE UNIQUE INDEX jobs_one_open_per_thread ON jobs (thread_id)
    WHERE status IN ('queued', 'running', 'waiting', 'needs_review');

-- How many jobs stand where, kept by triggers so that no page ever counts rows.
CREATE TABLE job_counts (
    status TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_count_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts VALUES (new.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER jobs_count_delete AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET count = count - 1 WHERE status = old.status;
END;
CREATE TRIGGER jobs_count_update AFTER UPDATE OF status ON jobs WHEN old.status <> new.status BEGIN
    UPDATE job_counts SET count = count - 1 WHERE status = old.status;
    INSERT INTO job_counts VALUES (new.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;

-- Row counts for the statistics, kept in the same way.
CREATE TABLE row_counts (
    name TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO row_counts VALUES ('emails', 0), ('task_logs', 0), ('charged_jobs', 0);
CREATE TRIGGER emails_count_insert AFTER INSERT ON emails BEGIN
    UPDATE row_counts SET count = count + 1 WHERE name = 'emails';
END;
CREATE TRIGGER emails_count_delete AFTER DELETE ON emails BEGIN
    UPDATE row_counts SET count = count - 1 WHERE name = 'emails';
END;
CREATE TRIGGER charged_jobs_count_update AFTER UPDATE OF cost_nanos ON jobs
    WHEN old.cost_nanos <= 0 AND new.cost_nanos > 0 BEGIN
    UPDATE row_counts SET count = count + 1 WHERE name = 'charged_jobs';
END;
CREATE TRIGGER charged_jobs_count_delete AFTER DELETE ON jobs WHEN old.cost_nanos > 0 BEGIN
    UPDATE row_counts SET count = count - 1 WHERE name = 'charged_jobs';
END;

-- How many jobs ended in which way, those among them that were erased later.
INSERT INTO row_counts VALUES ('ended:completed', 0), ('ended:failed', 0), ('ended:cancelled', 0);
CREATE TRIGGER jobs_ended AFTER UPDATE OF status ON jobs
    WHEN old.status <> new.status AND new.status IN ('completed', 'failed', 'cancelled') BEGIN
    UPDATE row_counts SET count = count + 1 WHERE name = 'ended:' || new.status;
END;

-- What the API shows of a job's course. Redacted before it is stored.
CREATE TABLE task_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    tool_name TEXT,
    tool_action TEXT,
    input_data TEXT,
    output_data TEXT,
    tokens_used TEXT,
    duration_ms INTEGER,
    created_at INTEGER NOT NULL,
    UNIQUE (job_id, sequence)
) STRICT;
CREATE TRIGGER task_logs_count_insert AFTER INSERT ON task_logs BEGIN
    UPDATE row_counts SET count = count + 1 WHERE name = 'task_logs';
END;
CREATE TRIGGER task_logs_count_delete AFTER DELETE ON task_logs BEGIN
    UPDATE row_counts SET count = count - 1 WHERE name = 'task_logs';
END;

-- The conversation of a job with its model, append-only: a checkpoint is a position in it.
CREATE TABLE steps (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('prompt', 'answer', 'result', 'note', 'summary')),
    body TEXT NOT NULL,
    -- Prompt text or tool list, stored once.
    text_hash BLOB REFERENCES texts (hash),
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX steps_text ON steps (text_hash) WHERE text_hash IS NOT NULL;

-- What people tell a job; consumed only when the step that used it is stored.
CREATE TABLE supervisor_instructions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- instruction, answer (to a question of the job's) or override (came with a review)
    kind TEXT NOT NULL CHECK (kind IN ('instruction', 'answer', 'override')),
    instruction TEXT NOT NULL,
    created_by TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    consumed_at INTEGER
) STRICT;
CREATE INDEX supervisor_instructions_job ON supervisor_instructions (job_id);

-- Everything that outlives a job or leaves the machine, written before it is done.
CREATE TABLE effects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
    -- The model's call that led to it, unique within a job: how a resumed run finds what it had begun.
    call_key TEXT,
    tool TEXT NOT NULL,
    target TEXT NOT NULL,
    args_hash TEXT NOT NULL,
    origin TEXT NOT NULL,
    rule TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'dispatched', 'confirmed', 'failed', 'unknown')),
    detail TEXT NOT NULL DEFAULT '{}',
    prepared_at INTEGER NOT NULL,
    dispatched_at INTEGER,
    settled_at INTEGER
) STRICT;
CREATE INDEX effects_job ON effects (job_id, id);
CREATE UNIQUE INDEX effects_call ON effects (job_id, call_key) WHERE call_key IS NOT NULL;
-- Few at any time; a statement uses it when it repeats the condition word for word.
CREATE INDEX effects_open ON effects (id) WHERE state IN ('prepared', 'dispatched', 'unknown');
INSERT INTO row_counts VALUES ('effects:prepared', 0), ('effects:dispatched', 0), ('effects:confirmed', 0),
    ('effects:failed', 0), ('effects:unknown', 0);
CREATE TRIGGER effects_count_insert AFTER INSERT ON effects BEGIN
    UPDATE row_counts SET count = count + 1 WHERE name = 'effects:' || new.state;
END;
CREATE TRIGGER effects_count_delete AFTER DELETE ON effects BEGIN
    UPDATE row_counts SET count = count - 1 WHERE name = 'effects:' || old.state;
END;
CREATE TRIGGER effects_count_update AFTER UPDATE OF state ON effects WHEN old.state <> new.state BEGIN
    UPDATE row_counts SET count = count - 1 WHERE name = 'effects:' || old.state;
    UPDATE row_counts SET count = count + 1 WHERE name = 'effects:' || new.state;
END;

-- Old contents of files that an effect replaced; the bytes lie in the state directory under `name`.
CREATE TABLE kept_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    effect_id INTEGER REFERENCES effects (id) ON DELETE SET NULL,
    path TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    -- Where the old content came from.
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX kept_files_effect ON kept_files (effect_id);
CREATE INDEX kept_files_path ON kept_files (path, id);

-- Where contents of the workspace came from, as far as they are trusted less than the results of tools are.
CREATE TABLE file_origins (
    path TEXT PRIMARY KEY,
    origin TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What lies in the trash and where it came from.
CREATE TABLE trash (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trash_path TEXT NOT NULL UNIQUE,
    original_path TEXT NOT NULL,
    is_dir INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
    deleted_at INTEGER NOT NULL
) STRICT;
CREATE INDEX trash_job ON trash (job_id);

-- One question to a person about one exact call; single use.
CREATE TABLE approvals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    call_key TEXT NOT NULL,
    tool TEXT NOT NULL,
    args TEXT NOT NULL,
    args_hash TEXT NOT NULL,
    reason TEXT NOT NULL,
    rule TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used', 'void')),
    created_at INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT,
    decision_reason TEXT
) STRICT;
CREATE INDEX approvals_job ON approvals (job_id, id);
CREATE INDEX approvals_pending ON approvals (id) WHERE state = 'pending';

-- The event stream, for replay.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    job_id INTEGER,
    data TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_job ON events (job_id) WHERE job_id IS NOT NULL;

-- What people and programs did by hand.
CREATE TABLE manual_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_type TEXT NOT NULL,
    job_id INTEGER,
    payload TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX manual_events_job ON manual_events (job_id) WHERE job_id IS NOT NULL;

-- The password of the dashboard, as an argon2id hash in PHC form; one row at most.
CREATE TABLE web_password (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    hash TEXT NOT NULL,
    set_at INTEGER NOT NULL
) STRICT;

-- Browsers that are logged in, and tokens of programs: by the SHA-256 of what they send.
CREATE TABLE web_sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    address TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE web_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    allow TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT;

-- Answers to POSTs that carried an Idempotency-Key, kept 24 hours.
CREATE TABLE idempotency (
    key TEXT NOT NULL,
    caller TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    status INTEGER,
    body BLOB,
    content_type TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;

-- Money per UTC day: reserved before a call, settled after it.
CREATE TABLE spend_days (
    day TEXT PRIMARY KEY,
    reserved_nanos INTEGER NOT NULL DEFAULT 0,
    settled_nanos INTEGER NOT NULL DEFAULT 0,
    calls INTEGER NOT NULL DEFAULT 0,
    tokens INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
-- The same by model; the empty name stands for calls of which nobody knows who answered.
CREATE TABLE spend_models (
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    nanos INTEGER NOT NULL,
    PRIMARY KEY (day, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE reservations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER REFERENCES jobs (id) ON DELETE CASCADE,
    day TEXT NOT NULL,
    nanos INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX reservations_job ON reservations (job_id);
