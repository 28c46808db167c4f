// Jobs about the open file: a question, what became of it, and what one says to that.

import { useState } from "preact/hooks";
import { type ApiError, get, may, post } from "../api";
import { Card, Field, Problem, Skeleton, State, Time } from "../components/basics";
import { AnswerBox, ApprovalBox } from "../components/decide";
import { Markdown } from "../components/markdown";
import { useLive } from "../live";
import { setQuery } from "../router";
import { t } from "../texts";
import type { Entry, Job, JobDetail, JobList } from "../types";
import { loadText } from "./text";

export function Ask({ entry, query }: { entry: Entry; query: URLSearchParams }) {
  const path = entry.relative_path;
  const job = Number(query.get("job"));
  const jobs = useLive<JobList>((signal) => get("/api/workspace/jobs?limit=100", signal), [path], ({ kind }) => kind === "job.created" || kind === "job.status");
  const about = jobs.data?.jobs.filter(({ metadata }) => metadata.workspace_active_path === path) ?? [];
  return (
    <div class="columns ask">
      <div class="side">
        {job ? (
          <Conversation key={job} id={job} entry={entry} />
        ) : (
          may("operator") && (
            <Card title={t.files.ask}>
              <Question entry={entry} to="/api/workspace/jobs" send={t.files.send} />
            </Card>
          )
        )}
      </div>
      <Card title={t.files.asked}>
        {jobs.error && <Problem error={jobs.error} retry={jobs.reload} />}
        {jobs.data && about.length === 0 && <p class="faint">{t.files.noneAsked}</p>}
        <ul class="plain">
          {about.map(({ id, status, metadata, created_at }) => (
            <li key={id} class="asked">
              <State of={status} />
              <button type="button" class="link" aria-current={id === job ? "true" : undefined} onClick={() => setQuery("job", String(id))}>
                {String(metadata.workspace_message ?? id)}
              </button>
              <span class="faint">
                <Time at={created_at} />
              </span>
            </li>
          ))}
        </ul>
      </Card>
    </div>
  );
}

function Question({ entry: { relative_path: path }, to, send: text }: { entry: Entry; to: string; send: string }) {
  const [message, set] = useState("");
  const [whole, setWhole] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const send = async () => {
    if (busy || !message.trim()) return;
    setBusy(true);
    setError(undefined);
    try {
      const content = whole ? (await loadText(path)).text : undefined;
      const { job } = await post<{ job: Job }>(to, {
        message,
        active_path: path,
        include_active_file: true,
        include_file_content: content !== undefined && content.length <= 25_000,
        ...(content !== undefined && content.length <= 25_000 && { file_content: content }),
      });
      setQuery("job", String(job.id));
    } catch (err) {
      setError(err as ApiError);
    }
    setBusy(false);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <Field label={t.files.question} hint={t.files.askHint}>
        <textarea
          rows={4}
          required
          value={message}
          onInput={(event) => set(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && void send()}
        />
      </Field>
      <label class="inline">
        <input type="checkbox" checked={whole} onChange={(event) => setWhole(event.currentTarget.checked)} /> {t.files.withText}
      </label>
      {error && <Problem error={error} />}
      <div class="row">
        <button type="submit" class="primary" disabled={busy} aria-keyshortcuts="Control+Enter">
          {busy ? t.files.working : text}
        </button>
      </div>
    </form>
  );
}

function Conversation({ id, entry }: { id: number; entry: Entry }) {
  const { data, error, reload } = useLive<JobDetail>(
    (signal) => get(`/api/workspace/jobs/${id}`, signal),
    [id],
    ({ kind, job_id }) => job_id === id && (kind === "job.status" || kind === "approval"),
  );
  if (error) return <Problem error={error} retry={reload} />;
  if (!data) return <Skeleton lines={6} />;
  const { job, approval, actions } = data;
  const answer = job.metadata.final_response;
  const ended = !["queued", "running", "waiting"].includes(job.status);
  return (
    <>
      <Card title={t.job.title(id)} side={<State of={job.status} />}>
        <p class="pre">{String(job.metadata.workspace_message ?? "")}</p>
        <div class="row">
          <a href={`/admin/jobs/${id}`}>{t.files.open}</a>
          <button type="button" class="small" onClick={() => setQuery("job", undefined)}>
            {t.files.newQuestion}
          </button>
        </div>
        {actions.can_approve && approval && <ApprovalBox key={approval.id} approval={approval} done={reload} />}
        {actions.can_answer && job.needs && <AnswerBox id={id} needs={job.needs} done={reload} />}
      </Card>
      {typeof answer === "string" && answer && (
        <Card title={t.job.answer}>
          <Markdown text={answer} />
        </Card>
      )}
      {job.last_error && (
        <Card title={t.job.error}>
          <p class="pre">{job.last_error}</p>
        </Card>
      )}
      {!ended && (
        <p class="faint" role="status">
          {t.files.busy}
        </p>
      )}
      {ended && may("operator") && (
        <Card title={t.files.reply}>
          <Question entry={entry} to={`/api/workspace/jobs/${id}/messages`} send={t.files.reply} />
        </Card>
      )}
    </>
  );
}
