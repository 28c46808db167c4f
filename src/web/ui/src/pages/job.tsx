// One job: what it is, what it waits for, what it did, and what came of it.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get, isOn, may, query as queryOf } from "../api";
import { Card, Command, Copy, EffectMark, Long, Problem, Skeleton, State, Time, useNow } from "../components/basics";
import { AnswerBox, ApprovalBox } from "../components/decide";
import { Icon } from "../components/icons";
import { Markdown } from "../components/markdown";
import { Timeline } from "../components/timeline";
import { useEvents } from "../events";
import { duration, integer, money } from "../format";
import { t } from "../texts";
import type { JobDetail, LogPage, LogRow, Poll } from "../types";
import { JobActions, Review } from "./job-actions";
import { Limits } from "./job-limits";

/** Events that come within this time, in milliseconds, are answered by one request. */
const GATHER = 200;

export function JobPage({ id, query }: { id: number; query: URLSearchParams }) {
  const job = useJob(id);
  useEffect(() => void (document.title = t.page(t.job.title(id))), [id]);
  if (job.error?.status === 404) return <Problem error={job.error} />;
  if (job.error && !job.detail) return <Problem error={job.error} retry={job.reload} />;
  if (!job.detail) return <Skeleton lines={10} />;
  const { detail } = job;
  const title = detail.trigger_email?.subject || detail.job.task_summary || t.job.title(id);
  const row = Number(query.get("row")) || undefined;
  return (
    <div class="page job">
      <header class="title">
        <h1>
          <span class="faint">#{id}</span> {title}
        </h1>
        <State of={detail.job.status} />
      </header>
      {job.error && <Problem error={job.error} retry={job.reload} />}
      <Head detail={detail} />
      <JobActions detail={detail} reload={job.reload} set={job.set} follow={job.follow} />
      <Waits detail={detail} reload={job.reload} />
      <div class="sides">
        <Timeline
          id={id}
          rows={job.rows}
          older={job.cursor !== undefined}
          loadOlder={job.loadOlder}
          live={detail.job.status === "running"}
          wanted={row}
        />
        <div class="side">
          <Answer detail={detail} />
          <Files paths={detail.written_paths} />
          <Limits detail={detail} rows={job.rows} />
          <Thread detail={detail} />
          <Effects detail={detail} />
          {Object.keys(detail.job.metadata).length > 0 && (
            <Card title={t.job.metadata}>
              <Long code text={JSON.stringify(detail.job.metadata, null, 2)} />
            </Card>
          )}
          <Card title={t.command}>
            <p>
              <Command text={`assistantctl job show ${id}`} />
            </p>
            <p>
              <Command text={`assistantctl job logs ${id} --follow`} />
            </p>
          </Card>
        </div>
      </div>
    </div>
  );
}

function Head({ detail: { job, usage, trigger_email } }: { detail: JobDetail }) {
  const running = job.status === "running";
  const now = useNow(running ? 1000 : 60_000);
  const end = job.completed_at ? new Date(job.completed_at).getTime() : running ? now : undefined;
  return (
    <dl class="facts">
      {trigger_email && <Fact name={t.job.origin}>{trigger_email.from_address}</Fact>}
      <Fact name={t.job.created}>
        <Time at={job.created_at} />
      </Fact>
      {job.status === "queued" && new Date(job.run_at).getTime() > now && (
        <Fact name={t.job.scheduled}>
          <Time at={job.run_at} />
        </Fact>
      )}
      {job.completed_at ? (
        <Fact name={t.job.ended}>
          <Time at={job.completed_at} />
        </Fact>
      ) : (
        <Fact name={t.jobs.updated}>
          <Time at={job.updated_at} />
        </Fact>
      )}
      {end !== undefined && <Fact name={t.job.duration}>{duration(Math.max(0, end - new Date(job.created_at).getTime()))}</Fact>}
      <Fact name={t.job.cost}>{money(usage.cost_total)}</Fact>
      <Fact name={t.job.calls}>{integer(usage.api_call_count)}</Fact>
      <Fact name={t.job.tokens}>{integer(usage.total_tokens)}</Fact>
      <Fact name={t.job.attempt}>
        {job.attempts} / {job.max_attempts}
      </Fact>
      <Fact name={t.job.thread}>
        <span class="id" title={job.thread_id}>{job.thread_id}</span> <Copy text={job.thread_id} />
      </Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="number">{children}</dd>
    </div>
  );
}

/** What has to be given before it goes on stands on top. */
function Waits({ detail, reload }: { detail: JobDetail; reload: () => void }) {
  const { job, actions, approval, review_diagnostics } = detail;
  const needs = job.status === "needs_review" ? job.needs : undefined;
  return (
    <>
      {needs && (
        <Card title={t.status.needs_review} class="needs">
          {actions.can_approve && approval ? (
            <ApprovalBox key={approval.id} approval={approval} done={reload} />
          ) : actions.can_answer ? (
            <AnswerBox id={job.id} needs={needs} done={reload} />
          ) : (
            <p class="pre">{needs.text}</p>
          )}
          {may("operator") && review_diagnostics && actions.can_review_override && !actions.can_answer && !actions.can_approve && (
            <Review detail={detail} done={reload} />
          )}
        </Card>
      )}
      {job.last_error && job.last_error !== needs?.text && job.status !== "completed" && (
        <div class="problem">
          <p>
            <Icon name="warning" /> <strong>{t.job.error}</strong>
          </p>
          <p class="pre">{job.last_error}</p>
        </div>
      )}
    </>
  );
}

function Answer({ detail: { job } }: { detail: JobDetail }) {
  const answer = job.metadata.final_response;
  return (
    <Card title={t.job.answer}>
      {typeof answer === "string" && answer ? <Markdown text={answer} /> : <p class="faint">{t.job.noAnswer}</p>}
    </Card>
  );
}

function Files({ paths }: { paths: string[] }) {
  if (!paths.length) return null;
  return (
    <Card title={t.job.files}>
      <ul class="plain files">
        {paths.map((path) => (
          <li key={path}>
            {isOn("/workspace") && <a href={"/workspace" + queryOf({ path })}>{path}</a>}
            <a href={"/api/workspace/download" + queryOf({ path })} download aria-label={`${t.job.download}: ${path}`}>
              <Icon name="download" /> {!isOn("/workspace") && path}
            </a>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Thread({ detail: { thread_messages } }: { detail: JobDetail }) {
  if (!thread_messages.length) return null;
  return (
    <Card title={t.job.thread}>
      {thread_messages.map((message) => (
        <article key={message.thread_item_id} class="message">
          <p>
            <strong>{message.subject}</strong>{" "}
            <span class="faint">
              {message.direction === "outbound" ? t.job.sentTo(message.to_addresses.join(", ")) : message.from_address} ·{" "}
              <Time at={message.received_at} />
            </span>
          </p>
          {message.body_text && <Long text={message.body_text} />}
        </article>
      ))}
    </Card>
  );
}

function Effects({ detail: { effects, job } }: { detail: JobDetail }) {
  if (!effects.length) return null;
  return (
    <Card title={t.job.effects} side={<a href={`/admin/effects?job=${job.id}`}>{t.overview.all(effects.length)}</a>}>
      <ul class="plain">
        {effects.slice(0, 10).map((effect) => (
          <li key={effect.id} class="row">
            <EffectMark of={effect.state} />
            <code>{effect.tool}</code>
            <a class="path" href={`/admin/effects?job=${job.id}&open=${effect.id}`}>
              {effect.target}
            </a>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** A job with its log, which grows at both ends. */
function useJob(id: number) {
  const [detail, setDetail] = useState<JobDetail>();
  const [rows, setRows] = useState<LogRow[]>([]);
  const [cursor, setCursor] = useState<string>();
  const [error, setError] = useState<ApiError>();
  const timer = useRef<number>();
  const loading = useRef(false);
  const last = useRef(0);
  /** Off when the page is left, and while its job is erased: what comes after that is for nobody. */
  const following = useRef(true);
  const stop = () => {
    following.current = false;
    clearTimeout(timer.current);
    timer.current = undefined;
  };
  useEffect(() => stop, []);

  const grow = (added: LogRow[]) => {
    const fresh = added.filter(({ sequence }) => sequence > last.current);
    if (!fresh.length) return;
    last.current = fresh.at(-1)!.sequence;
    setRows((known) => [...known, ...fresh]);
  };
  const reload = useCallback(async () => {
    try {
      const read = await get<JobDetail>(`/api/jobs/${id}`);
      if (!following.current) return;
      const begin = read.logs[0]?.sequence ?? 0;
      // What is there already stays, as long as nothing is missing in between.
      if (last.current && begin <= last.current + 1) {
        grow(read.logs);
      } else {
        last.current = read.logs.at(-1)?.sequence ?? 0;
        setRows(read.logs);
        setCursor(read.logs_cursor);
      }
      setDetail(read);
      setError(undefined);
    } catch (err) {
      if (following.current) setError(err as ApiError);
    }
  }, [id]);
  useEffect(() => void reload(), [reload]);

  const poll = async () => {
    try {
      const news = await get<Poll>(`/api/jobs/${id}/poll?after_sequence=${last.current}`);
      if (!following.current) return;
      grow(news.new_logs);
      setDetail((known) => known && { ...known, job: { ...known.job, ...news.job, metadata: news.job.metadata ?? known.job.metadata }, usage: news.usage, actions: news.actions });
      // A poll gives so many rows and no more.
      if (news.new_logs.length >= 200) await poll();
    } catch (err) {
      if (following.current) setError(err as ApiError);
    } finally {
      timer.current = undefined;
    }
  };
  useEvents(
    ({ kind, job_id }) => {
      if (!following.current) return;
      if (kind === "gap" || (job_id === id && (kind === "job.status" || kind === "approval" || kind === "effect.state"))) void reload();
      else if (job_id === id && kind === "job.log") timer.current ??= window.setTimeout(poll, GATHER);
    },
    [id, reload],
  );

  const follow = (on: boolean) => {
    if (!on) return stop();
    following.current = true;
    void reload();
  };

  const loadOlder = async () => {
    if (loading.current || cursor === undefined) return;
    loading.current = true;
    try {
      const page = await get<LogPage>(`/api/jobs/${id}/logs` + queryOf({ cursor, limit: 500 }));
      setCursor(page.next_cursor);
      const older = [...page.logs].sort((a, b) => a.sequence - b.sequence);
      setRows((known) => [...older.filter(({ sequence }) => sequence < (known[0]?.sequence ?? Infinity)), ...known]);
    } catch (err) {
      setError(err as ApiError);
    } finally {
      loading.current = false;
    }
  };
  return { detail, rows, cursor, error, loadOlder, reload: () => void reload(), set: setDetail, follow };
}
