//! `[limits]`, `[prompt]`, `[tool_result_cache]`, `[loop_detector]`

use crate::config::{
    section::section,
    value::{Bytes, Days, Seconds},
};

section! {
    /// How far one job may go.
    pub struct Limits = "limits" {
        /// Model calls per run of a job, unless it was given more or less.
        max_iterations_per_task: u32 = 50, env "AGENT_LIMITS_MAX_ITERATIONS_PER_TASK", in 1..=10_000;
        /// Tokens per run of a job, prompts and answers together, unless it was given more or less.
        max_tokens_per_task: u32 = 1_000_000, env "AGENT_LIMITS_MAX_TOKENS_PER_TASK", in 1..=100_000_000;
        /// US dollars per job, unless it was given more or less; 0 = no limit of its own.
        max_job_cost_usd: f64 = 2.0, in 0.0..=1_000_000.0;
        /// US dollars per UTC day, all jobs together; 0 = no limit.
        max_daily_cost_usd: f64 = 10.0, env "AGENT_MAX_DAILY_COST_USD", in 0.0..=1_000_000.0;
        /// What a call to a model with unknown price counts, in US dollars per million tokens.
        unknown_price_usd: f64 = 75.0, in 0.0..=1_000_000.0;
        /// Share of a limit from which the model may ask for more.
        limit_approach_factor: f64 = 0.8, in 0.0..=1.0;
        /// Answers, each with the results of its calls, that are kept whole; twice as many start the first stage of
        /// compaction.
        message_history_window: u32 = 8, env "AGENT_LIMITS_MESSAGE_HISTORY_WINDOW", in 1..=10_000;
        /// Characters that one prompt may have.
        max_prompt_chars: u32 = 400_000, env "AGENT_LIMITS_MAX_PROMPT_CHARS", in 1000..=100_000_000;
        /// Characters of one tool result that the model sees; the rest is stored and named.
        max_result_chars: u32 = 40_000, in 100..=10_000_000;
        /// Model for summaries. Unset: the small model.
        summarization_model: Option<String> = None, env "AGENT_LIMITS_SUMMARIZATION_MODEL";
        /// Tokens that a summary may have.
        summarization_max_tokens: u32 = 2000, env "AGENT_LIMITS_SUMMARIZATION_MAX_TOKENS";
        /// Time for a summary; after it the rule-based one is used.
        summarization_timeout_seconds: Seconds = Seconds::new(30), env "AGENT_LIMITS_SUMMARIZATION_TIMEOUT_SECONDS";
        /// Newest messages that a summary leaves alone.
        summarization_keep_recent: u32 = 6, env "AGENT_LIMITS_SUMMARIZATION_KEEP_RECENT";
        /// Characters of the conversation's end that are summarized.
        summarization_max_input_chars: u32 = 80_000, env "AGENT_LIMITS_SUMMARIZATION_MAX_INPUT_CHARS";
        /// Time for one tool call.
        tool_timeout_default_seconds: Seconds = Seconds::new(120), env "AGENT_LIMITS_TOOL_TIMEOUT_DEFAULT_SECONDS";
        /// Time for a command that names none.
        tool_timeout_command_seconds: Seconds = Seconds::new(300), env "AGENT_LIMITS_TOOL_TIMEOUT_COMMAND_SECONDS", in Seconds::new(1)..=Seconds::new(86_400);
        /// Shortest pause after a rate limit when the provider names none.
        rate_limit_backoff_seconds: Seconds = Seconds::new(30);
        /// Time one run of a job may take.
        max_run_seconds: Seconds = Seconds::new(3600);
        /// Mails that jobs may send per hour, all together; what the daemon itself tells the owner is not counted.
        max_emails_per_hour: u32 = 10, env "AGENT_MAX_EMAILS_PER_HOUR", in 0..=100_000;
        /// The same per 24 hours.
        max_emails_per_day: u32 = 100, in 0..=1_000_000;
        /// Tool calls of one answer that are taken; the rest is answered `not run`.
        max_calls_per_answer: u32 = 64;
        /// Read-only tool calls of one answer that run at once.
        parallel_reads: u32 = 4, in 1..=64;
    }
}

section! {
    /// When a job goes round in circles.
    pub struct LoopDetector = "loop_detector" {
        /// Watch for loops.
        enabled: bool = true;
        /// The same call with the same result this many times stops the run.
        same_call: u32 = 4, in 2..=1000;
        /// This many steps without a new result or effect stop the run.
        no_progress: u32 = 12, in 2..=10_000;
    }
}

section! {
    /// What the model is told about itself.
    pub struct Prompt = "prompt" {
        /// The prompt file; a relative name is looked for beside the configuration file.
        agent_file: String = "AGENT.md".into(), env "AGENT_PROMPT_AGENT_FILE";
        /// Bytes of it that are used.
        max_context_file_bytes: Bytes = Bytes(65536), env "AGENT_PROMPT_MAX_CONTEXT_FILE_BYTES";
        /// Characters of the task text that the first prompt carries whole.
        max_initial_context_body_chars: u32 = 20_000, env "AGENT_EMAIL_MAX_INITIAL_CONTEXT_BODY_CHARS";
    }
}

section! {
    /// Large tool results, kept as files that the model can read in parts.
    pub struct ToolResultCache = "tool_result_cache" {
        /// Keep them.
        enabled: bool = true, env "AGENT_TOOL_RESULT_CACHE_ENABLED";
        /// Where, relative to the workspace.
        root: String = ".assistant/cache/tool-results".into(), env "AGENT_TOOL_RESULT_CACHE_ROOT", check crate::config::check::relative;
        /// Smallest result that is kept.
        min_bytes: Bytes = Bytes(4096), env "AGENT_TOOL_RESULT_CACHE_MIN_BYTES";
        /// How long.
        retention_days: Days = Days::new(7), env "AGENT_TOOL_RESULT_CACHE_RETENTION_DAYS";
    }
}
