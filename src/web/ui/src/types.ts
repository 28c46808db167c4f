// What goes over the wire, as far as the pages use it; docs/openapi.json has all of it.

export type JobStatus = "queued" | "running" | "waiting" | "needs_review" | "completed" | "failed" | "cancelled";
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Fields = { [key: string]: Json };

export interface Session {
  role: "viewer" | "operator" | "admin";
  caller: string;
  csrf_token: string | null;
  expires_at: string | null;
  pages: { dashboard: boolean; workspace: boolean; docs: boolean };
}

export interface Needs {
  what: string;
  text: string;
  command: string;
  approval_id?: number;
}

export interface Job {
  id: number;
  thread_id: string;
  status: JobStatus;
  priority: number;
  attempts: number;
  max_attempts: number;
  run_at: string;
  locked_at: string | null;
  task_summary: string;
  metadata: Fields;
  created_at: string;
  updated_at: string;
  completed_at: string | null;
  last_error: string | null;
  needs?: Needs;
}

export interface JobItem extends Job {
  cost_total: number;
  trigger_from_address: string | null;
  trigger_subject: string | null;
  /** Of whoever wrote the mail that made it; unset where no mail did. */
  sender_verified?: boolean;
  /** What a running one is at. */
  step?: { event_type: string; tool_name: string | null; about?: string; at: string };
}

export interface JobList {
  jobs: JobItem[];
  next_cursor?: string;
}

export interface Usage {
  cost_total: number;
  api_call_count: number;
  total_tokens: number;
}

export interface LogRow {
  id: number;
  sequence: number;
  event_type: string;
  tool_name: string | null;
  tool_action: string | null;
  input_data: Json;
  output_data: Json;
  tokens_used: Fields | null;
  duration_ms: number | null;
  created_at: string;
}

export interface LogPage {
  logs: LogRow[];
  next_cursor?: string;
}

export interface Actions {
  can_cancel: boolean;
  can_requeue: boolean;
  can_review_override: boolean;
  can_answer: boolean;
  can_approve: boolean;
}

export interface Approval {
  id: number;
  job_id: number;
  tool: string;
  args: Json;
  args_hash: string;
  reason: string;
  rule: string;
  state: string;
  created_at: string;
  command: string;
}

export type EffectState = "prepared" | "dispatched" | "confirmed" | "failed" | "unknown";

export interface Effect {
  id: number;
  job_id: number | null;
  tool: string;
  target: string;
  args_hash: string;
  origin: string;
  state: EffectState;
  rule: string;
  detail: Json;
  prepared_at: string;
  dispatched_at: string | null;
  settled_at: string | null;
}

export interface EffectList {
  effects: Effect[];
  next_cursor?: string;
}

export interface Message {
  id: number;
  thread_item_id: string;
  direction: string;
  from_address: string;
  to_addresses: string[];
  subject: string;
  body_text: string | null;
  received_at: string;
}

export interface JobDetail {
  job: Job;
  usage: Usage;
  trigger_email: Message | null;
  thread_messages: Message[];
  logs: LogRow[];
  logs_cursor?: string;
  actions: Actions;
  review_defaults: {
    max_iterations_per_task: number;
    max_tokens_per_task: number;
    /** 0: no limit. */
    max_job_cost_usd: number;
    max_run_seconds: number;
  };
  review_diagnostics: {
    stop_reason: string;
    explanation: string;
    limits: Fields;
    usage: Fields;
  } | null;
  approval?: Approval;
  effects: Effect[];
  written_paths: string[];
}

export interface Poll {
  job: Partial<Job> & { id: number; status: JobStatus };
  usage: Usage;
  actions: Actions;
  new_logs: LogRow[];
}

export interface Warning {
  name: string;
  text: string;
  mend: string;
}

export interface Model {
  role: string;
  provider: string;
  model: string;
  base_url: string;
  host: string;
  local: boolean;
  price: { input: number; output: number } | null;
  problem: string | null;
  /** Since the configuration was read, by kind. */
  failures: Record<string, number>;
  paused_seconds: number | null;
  failures_in_a_row: number;
  recent_failures: { at: string; kind: string; reason: string }[];
  last_answer: { at: string; latency_ms: number } | null;
}

export interface Refusal {
  backend: string;
  reason: string;
}

export interface Status {
  version: string;
  started_at: string;
  stopped: { at: string; by: string } | null;
  jobs: Record<JobStatus, number>;
  waiting: { id: number; status: JobStatus; subject: string; updated_at: string; needs: Needs | null }[];
  waiting_total: number;
  workers: { configured: number; busy: number };
  models: Model[];
  prompt_hosts: string[];
  workspace: { ok: boolean; problem: string | null };
  database: { ok: boolean; problem: string | null; size_bytes: number; schema_version: number };
  disk: { free_bytes: number; total_bytes: number; min_free_bytes: number; low: boolean };
  spend: { today: number; daily_limit: number };
  sandbox: { enabled: boolean; level: string; backend: string | null; refused: Refusal[]; problem: string | null };
  secrets: { name: string; source: string | null; since: string | null; problem: string | null }[];
  listening: { address: string; reach: string; guard: string }[];
  warnings: Warning[];
}

export interface Stats {
  costs: {
    lifetime_total: number;
    month_total: number;
    average_per_job: number;
    charged_job_count: number;
    api_call_count: number;
  };
}

export interface Day {
  date: string;
  outcomes: Partial<Record<JobStatus, number>>;
  /** US dollars. */
  cost: number;
  /** The same by model; the empty name stands for calls that nobody answered. */
  models: Record<string, number>;
}

interface Guarantee {
  name: string;
  required: boolean;
  given: boolean;
  reason: string;
}

export interface SandboxBackend {
  backend: string;
  guarantees: Guarantee[];
  /** Why no command would run in it. */
  problem: string | null;
}

export interface Sandbox {
  enabled: boolean;
  backend: string | null;
  level: string;
  guarantees: Guarantee[];
  backends: SandboxBackend[];
  problem: string | null;
  landlock_abi: number;
  sessions: number;
}

export interface SandboxTest {
  level: string;
  attempts: { name: string; guarantee: string | null; expect: string; outcome: string; detail: string; good: boolean }[];
}

export interface Setting {
  key: string;
  value: Json;
  origin: string;
  default: Json;
  environment: string;
  kind: string;
  doc: string;
  restart: boolean;
}

export interface Tool {
  name: string;
  description: string;
  access: string;
  group: string;
  parameters: Json;
}

export interface Diagnosis {
  listening: { address: string; reach: string; guard: string }[];
  servers: { purpose: string; host: string; latency_ms: number | null; problem: string | null }[];
}

export interface ModelTest {
  role: string;
  model: string;
  host: string;
  ok: boolean;
  latency_ms: number | null;
  tools: boolean | null;
  cost: number | null;
  problem: string | null;
}

export interface Token {
  id: number;
  name: string;
  role: string;
  allow: string[];
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

export interface StreamEvent {
  id: number;
  kind: string;
  job_id: number | null;
  data: Fields;
  at: string;
}

export interface Backup {
  name: string;
  kind: "full" | "database";
  created_at: string;
  size_bytes: number;
  schema_version: number | null;
  encrypted: boolean;
  verified_at: string | null;
  checked_at: string | null;
  problem: string | null;
}

export interface Backups {
  directory: string;
  backups: Backup[];
  keep_daily: number;
  keep_weekly: number;
  verify: boolean;
  recipients: number;
}

export interface Storage {
  measured_at: string;
  kinds: { kind: string; bytes: number | null; count: number | null; at_least: boolean; kept: string | null; problem: string | null }[];
}

export interface Notice {
  effect_id: number;
  at: string;
  way: string;
  to: string;
  kind: string;
  job_id: number | null;
  subject: string;
  state: EffectState;
  answer: string | null;
}

export interface Notifications {
  ways: { way: string; to: string | null; problem: string | null; told: string[]; keys: string[] }[];
  lately: Notice[];
}

export type LogLevel = "error" | "warn" | "info" | "debug" | "trace";

export interface LogLine {
  id: number;
  at: string;
  level: LogLevel;
  target: string;
  text: string;
  job_id: number | null;
  fields: Fields;
}

export interface LogList {
  lines: LogLine[];
  level: LogLevel;
}

/** A file or directory; the time of its last change is in nanoseconds since 1970. */
export interface Entry {
  name: string;
  relative_path: string;
  is_dir: boolean;
  size_bytes: number;
  mtime_ns: string;
}

export interface Tree {
  root: string;
  entries: Entry[];
  truncated: boolean;
}

export interface Trashed {
  trash_path: string;
  original_path: string;
  is_dir: boolean;
  size_bytes: number;
  job_id: number | null;
  deleted_at: string;
}

export interface OldVersion {
  id: number;
  size_bytes: number;
  sha256: string;
  replaced_at: string;
  job_id: number | null;
}

export interface ScriptReply {
  file: Entry;
  error: string | null;
}

export type MailDecision =
  | "job"
  | "joined"
  | "answered"
  | "approved"
  | "denied"
  | "stored"
  | "ignored"
  | "duplicate"
  | "loop"
  | "bounce"
  | "own"
  | "set_aside";

export interface MailReceived {
  id: number;
  email_id: number | null;
  mailbox: string;
  message_id: string | null;
  from_address: string | null;
  subject: string | null;
  size_bytes: number;
  verified: boolean;
  verification: unknown;
  decision: MailDecision;
  reason: string;
  decided_by: string | null;
  job_id: number | null;
  archive: string;
  archive_error: string | null;
  received_at: string;
  decided_at: string;
}

export interface MailReceivedList {
  received: MailReceived[];
  next_cursor: string | null;
}

export interface MailArtifact {
  artifact_id: number;
  label: string;
  original_filename: string | null;
  source_uri: string | null;
  size_bytes: number | null;
  scan_status: string;
  scan_result: string | null;
  conversion_status: string;
  markdown_path: string | null;
  error: string | null;
}

export interface MailReceivedDetail {
  received: MailReceived;
  headers: [string, string][];
  email: {
    to_addresses: string[];
    cc_addresses: string[];
    body_text: string | null;
    body_html: string | null;
  } | null;
  artifacts: MailArtifact[];
}

export interface MailOut {
  id: number;
  effect_id: number;
  job_id: number | null;
  kind: string;
  to_addresses: string[];
  cc_addresses: string[];
  subject: string;
  state: EffectState;
  attempts: number;
  next_attempt_at: string | null;
  answer: string | null;
  sent_copy: string;
  sent_copy_error: string | null;
  bounce: string | null;
  created_at: string;
  sent_at: string | null;
}

export interface MailOutList {
  outbox: MailOut[];
  next_cursor: string | null;
}

export interface MailOutDetail {
  outgoing: MailOut;
  body_text: string;
}
