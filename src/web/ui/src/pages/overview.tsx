// Does anything need me, what is it doing, what does it cost.

import { useEffect } from "preact/hooks";
import { get, may, post } from "../api";
import { Bar, Card, Command, Empty, Problem, Skeleton, Time, useNow } from "../components/basics";
import { Columns, type Series } from "../components/chart";
import { AnswerBox, ApprovalBox } from "../components/decide";
import { attempt } from "../components/dialog";
import { Resolve } from "../components/resolve";
import { integer, money } from "../format";
import { type Live, useLive } from "../live";
import { go } from "../router";
import { t } from "../texts";
import type { Approval, Day, Effect, EffectList, Job, JobList, JobStatus, Stats, Status } from "../types";
import { subject } from "./jobs";
import { Now } from "./now";

const JOBS = /^(job\.created|job\.status|approval|stop|resume)$/;
const OUTCOMES: JobStatus[] = ["completed", "failed", "cancelled"];

export function OverviewPage() {
  useEffect(() => void (document.title = t.page(t.nav.overview)), []);
  const status = useLive<Status>((signal) => get("/api/status", signal), [], ({ kind }) => JOBS.test(kind));
  if (status.error) return <Problem error={status.error} retry={status.reload} />;
  if (!status.data) return <Skeleton lines={10} />;
  const empty = Object.values(status.data.jobs).every((count) => count === 0);
  return (
    <div class="page">
      <h1>{t.nav.overview}</h1>
      {empty && may("operator") && <Tries />}
      <Needs status={status} />
      <div class="columns">
        <Now />
        <Next />
      </div>
      <Money status={status.data} />
    </div>
  );
}

function Needs({ status }: { status: Live<Status> }) {
  const approvals = useLive<{ approvals: Approval[] }>(
    (signal) => (may("operator") ? get("/api/approvals", signal) : Promise.resolve({ approvals: [] })),
    [],
    ({ kind }) => kind === "approval" || kind === "job.status",
  );
  const unknown = useLive<EffectList>((signal) => get("/api/effects?state=unknown&limit=20", signal), [], ({ kind }) => kind === "effect.state");
  const { waiting, waiting_total, warnings, sandbox, models } = status.data!;
  const pending = approvals.data?.approvals ?? [];
  const effects = unknown.data?.effects ?? [];
  const findings = [
    ...warnings,
    ...models.filter(({ problem }) => problem).map(({ model, problem }) => ({ name: model, text: `${model}: ${problem}`, mend: "assistantctl doctor" })),
    ...(sandbox.enabled && sandbox.problem ? [{ name: "sandbox", text: sandbox.problem, mend: "assistantctl sandbox test" }] : []),
  ];
  const asked = new Set(pending.map(({ job_id }) => job_id));
  const others = waiting.filter(({ id, needs }) => !asked.has(id) || needs?.what !== "approval");
  const done = () => {
    status.reload();
    approvals.reload();
  };
  if (!pending.length && !others.length && !effects.length && !findings.length) return <p class="calm">{t.overview.nothing}</p>;
  const more = waiting_total > waiting.length && (
    <a href="/admin/jobs?status=needs_review">{t.overview.all(waiting_total)}</a>
  );
  return (
    <Card title={t.overview.needs} class="needs" side={more}>
      {pending.map((approval) => (
        <article key={approval.id}>
          <a href={`/admin/jobs/${approval.job_id}`}>{t.job.title(approval.job_id)}</a>
          <ApprovalBox approval={approval} done={done} />
        </article>
      ))}
      {others.map(({ id, subject, needs, updated_at }) => (
        <article key={id}>
          <a href={`/admin/jobs/${id}`}>
            #{id} {subject}
          </a>{" "}
          <span class="faint">
            <Time at={updated_at} />
          </span>
          {needs?.what === "answer" ? (
            <AnswerBox id={id} needs={needs} done={done} />
          ) : (
            needs && (
              <p class="pre">
                {needs.text} <Command text={needs.command} />
              </p>
            )
          )}
        </article>
      ))}
      {effects.map((effect) => (
        <UnknownEffect key={effect.id} effect={effect} done={unknown.reload} />
      ))}
      {findings.map(({ name, text, mend }) => (
        <article key={name + text}>
          <p>{text}</p>
          <Command text={mend} />
        </article>
      ))}
    </Card>
  );
}

function UnknownEffect({ effect, done }: { effect: Effect; done: () => void }) {
  return (
    <article>
      <p>
        <code>{effect.tool}</code> {effect.target}
      </p>
      <Resolve effect={effect} done={done} />
    </article>
  );
}

function Next() {
  const queued = useLive<JobList>((signal) => get("/api/jobs?status=queued&limit=200", signal), [], ({ kind }) => JOBS.test(kind));
  const now = useNow();
  const later = (queued.data?.jobs ?? []).filter((job) => new Date(job.run_at).getTime() > now);
  later.sort((a, b) => a.run_at.localeCompare(b.run_at));
  return (
    <Card title={t.overview.next}>
      {queued.error && <Problem error={queued.error} retry={queued.reload} />}
      {queued.data && !later.length && <p class="faint">{t.overview.nothingNext}</p>}
      <ul class="plain">
        {later.slice(0, 10).map((job) => (
          <li key={job.id} class="row">
            <a href={`/admin/jobs/${job.id}`}>
              #{job.id} {subject(job)}
            </a>
            <span class="space" />
            <Time at={job.run_at} />
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Money({ status }: { status: Status }) {
  const ended = (data: { status?: unknown }) => OUTCOMES.includes(data.status as JobStatus);
  const stats = useLive<Stats>((signal) => get("/api/stats", signal), [], ({ kind, data }) => kind === "job.status" && ended(data));
  const days = useLive<{ days: Day[] }>((signal) => get("/api/stats/days", signal), [], ({ kind, data }) => kind === "job.status" && ended(data));
  const { today, daily_limit } = status.spend;
  const costs = stats.data?.costs;
  const series = days.data?.days ?? [];
  const names = series.map(({ date }) => date);
  return (
    <div class="columns">
      <Card title={t.overview.money}>
        {stats.error && <Problem error={stats.error} retry={stats.reload} />}
        <Bar
          label={t.overview.today}
          value={today}
          most={daily_limit}
          text={`${money(today)} ${daily_limit ? t.overview.ofCap(money(daily_limit)) : t.overview.noCap}`}
        />
        {series.length > 0 && (
          <Columns
            title={t.overview.costChart}
            days={names}
            text={money}
            series={byModel(series)}
          />
        )}
        {costs && (
          <dl class="facts">
            <Fact name={t.overview.month} value={money(costs.month_total)} />
            <Fact name={t.overview.lifetime} value={money(costs.lifetime_total)} />
            <Fact name={t.overview.average} value={money(costs.average_per_job)} />
            <Fact name={t.overview.calls} value={integer(costs.api_call_count)} />
            <Fact name={t.overview.charged} value={integer(costs.charged_job_count)} />
          </dl>
        )}
      </Card>
      <Card title={t.overview.outcomes}>
        {days.error && <Problem error={days.error} retry={days.reload} />}
        {series.length > 0 && (
          <Columns
            title={t.overview.outcomeChart}
            days={names}
            text={integer}
            series={OUTCOMES.map((status) => ({ name: t.status[status], class: status, values: series.map(({ outcomes }) => outcomes[status] ?? 0) }))}
          />
        )}
        <dl class="facts">
          {(Object.entries(status.jobs) as [JobStatus, number][]).map(([name, count]) => (
            <Fact key={name} name={t.status[name]} value={integer(count)} address={`/admin/jobs?status=${name}`} />
          ))}
        </dl>
      </Card>
    </div>
  );
}

/** Models that have a colour of their own; what all others cost is one series. */
const COLOURS = 5;

/** The cost of each day by model, those that cost most first. */
function byModel(days: Day[]): Series[] {
  const sums = new Map<string, number>();
  for (const { models } of days) for (const [name, cost] of Object.entries(models)) sums.set(name, (sums.get(name) ?? 0) + cost);
  const names = [...sums.keys()].sort((one, other) => sums.get(other)! - sums.get(one)!);
  const [own, rest] = [names.slice(0, COLOURS), names.slice(COLOURS)];
  const all = own.map((name, at) => ({ name: name || t.overview.noModel, class: `model-${at + 1}`, values: days.map(({ models }) => models[name] ?? 0) }));
  if (rest.length)
    all.push({ name: t.overview.otherModels, class: "model-rest", values: days.map(({ models }) => rest.reduce((sum, name) => sum + (models[name] ?? 0), 0)) });
  return all;
}

function Fact({ name, value, address }: { name: string; value: string; address?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="number">{address ? <a href={address}>{value}</a> : value}</dd>
    </div>
  );
}

function Tries() {
  const send = async (task: { subject: string; body: string }) => {
    const made = await attempt(() => post<{ job: Job }>("/api/jobs", task));
    if (made) go(`/admin/jobs/${made.job.id}`);
  };
  return (
    <Card title={t.overview.first}>
      <Empty title={t.jobs.empty}>
        <ul class="plain tries">
          {t.overview.tries.map((task) => (
            <li key={task.subject}>
              <p>{task.body}</p>
              <div class="row">
                <button type="button" class="primary" onClick={() => send(task)}>
                  {t.overview.try}
                </button>
                <Command text={`assistantctl submit "${task.body}" --follow`} />
              </div>
            </li>
          ))}
        </ul>
      </Empty>
    </Card>
  );
}
