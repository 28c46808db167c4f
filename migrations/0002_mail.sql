-- Mail: what came, what was decided about it, what goes out, and what was made of attachments.

-- How far each mailbox is read (user@host/folder). Moves by one message at a time, in the transaction that stores the
-- decision about it.
CREATE TABLE mail_cursors (
    mailbox TEXT PRIMARY KEY,
    uid_validity INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every message that came, with the one decision about it.
CREATE TABLE mail_received (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    -- Its item in a thread; NULL of a duplicate and of what could not be read.
    email_id INTEGER REFERENCES emails (id) ON DELETE SET NULL,
    message_id TEXT,
    -- SHA-256 of the message; NULL when it was not fetched.
    content_hash BLOB CHECK (length(content_hash) = 32),
    size_bytes INTEGER NOT NULL,
    from_address TEXT,
    subject TEXT,
    -- Names and values of its headers, as JSON.
    headers TEXT NOT NULL DEFAULT '[]',
    -- What DKIM, ARC, DMARC and trusted servers say of the sender, as JSON.
    verification TEXT NOT NULL DEFAULT '{}',
    verified INTEGER NOT NULL DEFAULT 0,
    decision TEXT NOT NULL CHECK (decision IN ('job', 'joined', 'answered', 'approved', 'denied', 'stored', 'ignored',
        'duplicate', 'loop', 'bounce', 'own', 'set_aside')),
    reason TEXT NOT NULL,
    -- A person who decided otherwise later.
    decided_by TEXT,
    job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
    -- The message itself, a file of the state directory.
    raw_name TEXT,
    -- Whether it is to be moved to the archive folder: none, due, done, failed.
    archive TEXT NOT NULL DEFAULT 'none' CHECK (archive IN ('none', 'due', 'done', 'failed')),
    archive_error TEXT,
    -- When the server got it (INTERNALDATE, RFC 9051).
    received_at INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    UNIQUE (mailbox, uid_validity, uid)
) STRICT;
CREATE INDEX mail_received_message ON mail_received (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX mail_received_content ON mail_received (content_hash) WHERE content_hash IS NOT NULL;
CREATE INDEX mail_received_email ON mail_received (email_id) WHERE email_id IS NOT NULL;
CREATE INDEX mail_received_job ON mail_received (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX mail_received_decision ON mail_received (decision, id);
CREATE INDEX mail_received_raw ON mail_received (raw_name) WHERE raw_name IS NOT NULL;
CREATE INDEX mail_received_archive ON mail_received (id) WHERE archive = 'due';
CREATE INDEX mail_received_age ON mail_received (decided_at);

-- Every mail that goes out. Its state is that of its effect.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    effect_id INTEGER NOT NULL UNIQUE REFERENCES effects (id) ON DELETE CASCADE,
    job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
    -- agent: a job's own; result: the answer to who asked; question, approval, notice, progress: told by the daemon; test
    kind TEXT NOT NULL CHECK (kind IN ('agent', 'result', 'question', 'approval', 'notice', 'progress', 'test')),
    -- What is told once is told once: such as job, status and reason.
    once TEXT UNIQUE,
    -- Made before it is sent.
    message_id TEXT NOT NULL UNIQUE,
    in_reply_to TEXT,
    thread_id TEXT,
    from_address TEXT NOT NULL,
    to_addresses TEXT NOT NULL,
    cc_addresses TEXT NOT NULL DEFAULT '[]',
    subject TEXT NOT NULL,
    body_text TEXT NOT NULL,
    attachments TEXT NOT NULL DEFAULT '[]',
    disclosure_added INTEGER NOT NULL DEFAULT 0,
    -- The message itself, a file of the state directory.
    raw_name TEXT,
    -- Whether it counts against the limits of mails per hour and day.
    counted INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,
    -- The server's last answer.
    answer TEXT,
    sent_copy TEXT NOT NULL DEFAULT 'none' CHECK (sent_copy IN ('none', 'due', 'done', 'failed')),
    sent_copy_error TEXT,
    -- What a mail that came back says.
    bounce TEXT,
    created_at INTEGER NOT NULL,
    sent_at INTEGER
) STRICT;
CREATE INDEX outbox_job ON outbox (job_id, id) WHERE job_id IS NOT NULL;
CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX outbox_copy ON outbox (id) WHERE sent_copy = 'due';
CREATE INDEX outbox_counted ON outbox (created_at) WHERE counted = 1;
CREATE INDEX outbox_age ON outbox (created_at);

-- Codes by which a reply decides about one exact request, once; by SHA-256.
CREATE TABLE mail_codes (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- What the request was when the code was made: it is void once that is something else.
    request TEXT NOT NULL,
    outbox_id INTEGER REFERENCES outbox (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX mail_codes_job ON mail_codes (job_id);
CREATE INDEX mail_codes_outbox ON mail_codes (outbox_id) WHERE outbox_id IS NOT NULL;

-- What was made of attachments and links.
CREATE TABLE artifacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email_id INTEGER NOT NULL REFERENCES emails (id) ON DELETE CASCADE,
    source_type TEXT NOT NULL CHECK (source_type IN ('attachment', 'youtube_url')),
    source_label TEXT NOT NULL,
    source_uri TEXT,
    original_filename TEXT,
    content_type TEXT,
    -- The message that it lies in, a file of the state directory; nobody outside the daemon learns its name.
    raw_name TEXT,
    -- Its number in there.
    part INTEGER,
    raw_sha256 TEXT,
    raw_size_bytes INTEGER,
    scan_status TEXT NOT NULL CHECK (scan_status IN ('pending', 'clean', 'infected', 'error', 'skipped', 'not_applicable')),
    scan_result TEXT,
    conversion_status TEXT NOT NULL CHECK (conversion_status IN ('pending', 'ready', 'unsupported', 'failed', 'skipped')),
    markdown_path TEXT,
    markdown_sha256 TEXT,
    markdown_size_bytes INTEGER,
    error TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX artifacts_email ON artifacts (email_id, id);
CREATE INDEX artifacts_pending ON artifacts (id) WHERE scan_status = 'pending' OR conversion_status = 'pending';
