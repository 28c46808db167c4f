-- Retention finds by age what has had its time.
CREATE INDEX task_logs_age ON task_logs (created_at);
CREATE INDEX kept_files_age ON kept_files (created_at);
CREATE INDEX trash_age ON trash (deleted_at);
CREATE INDEX manual_events_age ON manual_events (created_at);
CREATE INDEX idempotency_age ON idempotency (created_at);
