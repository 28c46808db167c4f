// How much of what a job may use is used: of its present run, or of its last one.

import { Bar, Card, useNow } from "../components/basics";
import { duration, integer, money } from "../format";
import { runs } from "../runs";
import { t } from "../texts";
import type { Fields, JobDetail, LogRow } from "../types";

/** Of the money of a job, 0 of which is no limit. */
export const spent = (cost: number, most: number) => `${money(cost)} / ${most ? money(most) : t.job.noLimit}`;

export function Limits({ detail, rows }: { detail: JobDetail; rows: LogRow[] }) {
  const { usage, review_defaults, job, review_diagnostics } = detail;
  // What a review has set holds until the run that it is for has ended, what the job was made with for all of them.
  const set: Fields = { ...(job.metadata.limits as Fields), ...(job.metadata.admin_review_override as Fields) };
  const limit = (name: string, base: number) => {
    const own = set[name] ?? review_diagnostics?.limits[name.replace("_per_task", "")];
    return typeof own === "number" ? own : base;
  };
  const tokens = limit("max_tokens_per_task", review_defaults.max_tokens_per_task);
  const iterations = limit("max_iterations_per_task", review_defaults.max_iterations_per_task);
  const counted = review_diagnostics?.usage.iterations_used;
  const used = typeof counted === "number" ? counted : rows.filter(({ event_type }) => event_type === "llm_request").length;
  const seconds = review_defaults.max_run_seconds;
  const dollars = limit("max_job_cost_usd", review_defaults.max_job_cost_usd);
  return (
    <Card title={t.job.limits}>
      <Bar label={t.job.iterations} value={used} most={iterations} text={`${integer(used)} / ${integer(iterations)}`} />
      <Bar label={t.job.tokens} value={usage.total_tokens} most={tokens} text={`${integer(usage.total_tokens)} / ${integer(tokens)}`} />
      <Bar label={t.job.money} value={usage.cost_total} most={dollars} text={spent(usage.cost_total, dollars)} />
      <TimeBar since={job.locked_at} rows={rows} most={seconds * 1000} />
    </Card>
  );
}

/** A run that goes on is as long as it is held; how long the last one was, its log tells. */
function TimeBar({ since, rows, most }: { since: string | null; rows: LogRow[]; most: number }) {
  const now = useNow(since ? 1000 : 60_000);
  const last = since ? undefined : runs(rows).at(-1);
  const used = since ? Math.max(0, now - new Date(since).getTime()) : last ? last.end - last.start : 0;
  return <Bar label={t.job.time} value={used} most={most} text={`${duration(used)} / ${duration(most)}`} />;
}
