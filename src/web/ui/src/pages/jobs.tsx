// All jobs, newest first, over any number of them.

import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { type ApiError, get, may, post, query as queryOf, remove } from "../api";
import { Chips, Empty, Problem, Skeleton, State, Time } from "../components/basics";
import { confirm, fail, tell } from "../components/dialog";
import { Icon } from "../components/icons";
import { VirtualList } from "../components/virtual";
import { useEvents } from "../events";
import { duration, money } from "../format";
import { setQuery } from "../router";
import { t } from "../texts";
import type { JobItem, JobList, JobStatus, Poll, Status } from "../types";
import { NewJob } from "./submit";

const PAGE = 100;
/** Rows that fill a screen; until there are so many, the next page is asked for at once. */
const ENOUGH = 30;
const STATUSES = Object.entries(t.status) as [JobStatus, string][];
/** Rows of one change are asked for together after this time, in milliseconds. */
const GATHER = 300;

const ORIGINS = Object.entries(t.origin);
const TIMES = Object.entries(t.jobs.times);
/** What the choices of time mean, in hours. */
const HOURS: Record<string, number> = { day: 24, week: 7 * 24, month: 30 * 24 };

/** What the API is asked for, from the page's address. */
type Wanted = { status?: string; q?: string; origin?: string; since?: string };

function filterOf(query: URLSearchParams): Wanted {
  const wanted: Wanted = {};
  for (const name of ["status", "q", "origin"] as const) {
    const value = query.get(name);
    if (value) wanted[name] = value;
  }
  const hours = HOURS[query.get("made") ?? ""];
  if (hours) wanted.since = new Date(Date.now() - hours * 3_600_000).toISOString();
  return wanted;
}

export function JobsPage({ query }: { query: URLSearchParams }) {
  const status = query.get("status") ?? "";
  const wanted = useMemo(() => filterOf(query), [query.toString()]);
  const filtered = Object.keys(wanted).length > 0;
  const list = useJobs(wanted);
  const [chosen, choose] = useState(-1);
  const [selected, select] = useState<ReadonlySet<number>>(new Set());
  const box = useRef<HTMLDivElement>(null);
  const creating = query.get("new") !== null && may("operator");
  useEffect(() => void (document.title = t.page(t.jobs.title)), []);
  useEffect(() => {
    choose(-1);
    select(new Set());
  }, [wanted]);

  const { jobs } = list;
  const toggle = (id: number) => {
    const next = new Set(selected);
    if (!next.delete(id)) next.add(id);
    select(next);
  };
  // Before the next key comes: it goes on from what this one has done.
  useLayoutEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || (event.target as Element).closest("input:not([type=checkbox]), textarea, select, dialog")) return;
      if (event.key === "n" && may("operator")) {
        event.preventDefault();
        return setQuery("new", "1");
      }
      if (!jobs?.length) return;
      if (event.key === "j") choose(Math.min(chosen + 1, jobs.length - 1));
      else if (event.key === "k") choose(Math.max(chosen - 1, 0));
      else if (event.key === "x" && jobs[chosen]) toggle(jobs[chosen].id);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });

  return (
    <div class="page full">
      <header class="title">
        <h1>{t.jobs.title}</h1>
        {may("operator") && (
          <button type="button" class="primary" onClick={() => setQuery("new", "1")} title={t.jobs.keys}>
            <Icon name="plus" /> {t.jobs.new}
          </button>
        )}
      </header>
      <div class="row">
        <Chips label={t.jobs.filter} all={[["", t.jobs.all], ...STATUSES]} chosen={status as JobStatus | ""} choose={(value) => setQuery("status", value)} />
        <span class="faint number">{jobs && t.jobs.loaded(jobs.length, list.total)}</span>
      </div>
      <div class="row filters">
        <SearchBox value={query.get("q") ?? ""} />
        <Choice label={t.jobs.origin} name="origin" query={query} all={[["", t.jobs.anyOrigin], ...ORIGINS]} />
        <Choice label={t.jobs.created} name="made" query={query} all={[["", t.jobs.anyTime], ...TIMES]} />
      </div>
      {selected.size > 0 && <Selection ids={[...selected]} clear={() => select(new Set())} expect={list.expect} />}
      {list.error && <Problem error={list.error} retry={list.reload} />}
      {list.fresh > 0 && (
        <button type="button" class="fresh" onClick={() => { if (box.current) box.current.scrollTop = 0; list.reload(); }}>
          {t.jobs.fresh(list.fresh)}
        </button>
      )}
      {!jobs && !list.error && <Skeleton lines={8} />}
      {jobs?.length === 0 && (
        <Empty title={filtered ? (list.looking ? t.jobs.looking : t.jobs.emptyFilter) : t.jobs.empty}>
          {!filtered && may("operator") && (
            <>
              <p>{t.jobs.emptyHint}</p>
              <button type="button" class="primary" onClick={() => setQuery("new", "1")}>
                <Icon name="plus" /> {t.jobs.new}
              </button>
              <p>
                <code>assistantctl submit "…" --follow</code>
              </p>
            </>
          )}
        </Empty>
      )}
      {jobs && jobs.length > 0 && (
        <>
          <div class="job-row heading" aria-hidden="true">
            <span />
            <span>{t.jobs.filter}</span>
            <span>{t.jobs.subject}</span>
            <span>{t.jobs.from}</span>
            <span>{t.jobs.age}</span>
            <span class="number">{t.jobs.took}</span>
            <span class="number">{t.jobs.cost}</span>
          </div>
          <VirtualList
            items={jobs}
            id={(job) => job.id}
            estimate={44}
            label={t.jobs.title}
            list={box}
            atEnd={list.more}
            onScroll={(element) => list.scrolled(element.scrollTop)}
            focus={chosen >= 0 ? chosen : undefined}
            row={(job, index) => (
              <JobRow job={job} chosen={index === chosen} selected={selected.has(job.id)} toggle={() => toggle(job.id)} />
            )}
          />
        </>
      )}
      {creating && <NewJob close={() => setQuery("new", undefined)} />}
    </div>
  );
}

/** Typing waits this long before it is looked for, in milliseconds. */
const PAUSE = 300;

function SearchBox({ value }: { value: string }) {
  const [text, set] = useState(value);
  const timer = useRef<number>();
  useEffect(() => set(value), [value]);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const find = (next: string) => setQuery("q", next.trim() || undefined);
  return (
    <form role="search" onSubmit={(event) => { event.preventDefault(); find(text); }}>
      <input
        type="search"
        aria-label={t.jobs.search}
        placeholder={t.jobs.search}
        maxLength={200}
        value={text}
        onInput={({ currentTarget }) => {
          set(currentTarget.value);
          window.clearTimeout(timer.current);
          timer.current = window.setTimeout(find, PAUSE, currentTarget.value);
        }}
      />
    </form>
  );
}

function Choice(props: { label: string; name: string; query: URLSearchParams; all: [string, string][] }) {
  return (
    <select aria-label={props.label} value={props.query.get(props.name) ?? ""} onChange={({ currentTarget }) => setQuery(props.name, currentTarget.value || undefined)}>
      {props.all.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </select>
  );
}

function JobRow({ job, chosen, selected, toggle }: { job: JobItem; chosen: boolean; selected: boolean; toggle: () => void }) {
  // The chosen row has the focus: Enter follows its link.
  const link = useRef<HTMLAnchorElement>(null);
  useLayoutEffect(() => void (chosen && link.current?.focus({ preventScroll: true })), [chosen]);
  const took = job.completed_at ? new Date(job.completed_at).getTime() - new Date(job.created_at).getTime() : undefined;
  return (
    <div class={`job-row${chosen ? " chosen" : ""}`}>
      <label class="check">
        <input type="checkbox" checked={selected} onChange={toggle} aria-label={t.jobs.select(job.id)} />
      </label>
      <State of={job.status} />
      <a ref={link} href={`/admin/jobs/${job.id}`} class="subject">
        <span class="faint">#{job.id}</span> {subject(job)}
      </a>
      <span class="from faint">
        <Sender job={job} />
      </span>
      <span class="faint">
        <Time at={job.created_at} />
      </span>
      <span class="number faint">{took === undefined ? "" : duration(took)}</span>
      <span class="number">{job.cost_total ? money(job.cost_total) : ""}</span>
    </div>
  );
}

/** Who asked for it; of mail, whether it is proved that it is theirs. */
function Sender({ job: { trigger_from_address: address, sender_verified: verified } }: { job: JobItem }) {
  return (
    <>
      {verified !== undefined && (
        <span title={verified ? t.mail.verified : t.mail.unverified}>
          <Icon name={verified ? "check" : "question"} />
          <span class="hidden">{verified ? t.mail.verified : t.mail.unverified}</span>
        </span>
      )}{" "}
      {address}
    </>
  );
}

export const subject = (job: JobItem) => job.trigger_subject || job.task_summary || t.jobs.open(job.id);

/** Shows jobs as they are about to be, or without a status, without them; what it gives puts one of them back. */
type Expect = (ids: number[], status?: JobStatus) => (id: number) => void;

function Selection({ ids, clear, expect }: { ids: number[]; clear: () => void; expect: Expect }) {
  // Shown at once; taken back where the daemon refuses.
  const each = async (work: (id: number) => Promise<unknown>, status?: JobStatus) => {
    const back = expect(ids, status);
    clear();
    const failed: ApiError[] = [];
    for (const id of ids) {
      try {
        await work(id);
      } catch (err) {
        back(id);
        failed.push(err as ApiError);
      }
    }
    const done = ids.length - failed.length;
    if (done) tell(t.jobs.bulkDone(done));
    if (failed.length > 1) tell(t.jobs.bulkFailed(failed.length));
    if (failed[0]) fail(failed[0]);
  };
  const erase = async () => {
    if (await confirm({ title: t.jobs.eraseTitle(ids.length), text: t.job.eraseText, yes: t.job.actions.erase }))
      await each((id) => remove(`/api/jobs/${id}`));
  };
  return (
    <div class="selection" role="toolbar" aria-label={t.jobs.selected(ids.length)}>
      <span>{t.jobs.selected(ids.length)}</span>
      {may("operator") && (
        <>
          <button type="button" onClick={() => each((id) => post(`/api/jobs/${id}/cancel`), "cancelled")}>
            {t.job.actions.cancel}
          </button>
          <button type="button" onClick={() => each((id) => post(`/api/jobs/${id}/requeue`), "queued")}>
            {t.job.actions.requeue}
          </button>
        </>
      )}
      {may("admin") && (
        <button type="button" class="danger" onClick={erase}>
          {t.job.actions.erase}
        </button>
      )}
      <button type="button" onClick={clear}>
        {t.jobs.clear}
      </button>
    </div>
  );
}

/** The jobs that are loaded; grows downwards on demand, and changes with the events. */
function useJobs(wanted: Wanted) {
  const status = wanted.status ?? "";
  // What an event says of a job tells only whether its state is the wanted one.
  const byState = Object.keys(wanted).every((name) => name === "status");
  const [jobs, setJobs] = useState<JobItem[]>();
  const [total, setTotal] = useState<number>();
  const [error, setError] = useState<ApiError>();
  const [fresh, setFresh] = useState(0);
  const [looking, setLooking] = useState(false);
  const cursor = useRef<string>();
  const busy = useRef(false);
  const atTop = useRef(true);
  const current = useRef(0);
  const changed = useRef(new Set<number>());
  const timer = useRef<number>();

  const load = useCallback(
    async (next?: string) => {
      const round = next ? current.current : ++current.current;
      busy.current = true;
      try {
        // A page may be empty and not be the last: each looks at so many jobs only.
        let found = 0;
        let from = next;
        do {
          const page = await get<JobList>("/api/jobs" + queryOf({ ...wanted, limit: PAGE, cursor: from }));
          if (round !== current.current) return;
          cursor.current = page.next_cursor;
          const grows = from !== undefined;
          setJobs((known) => (grows ? [...(known ?? []), ...page.jobs] : page.jobs));
          setLooking(page.next_cursor !== undefined);
          found += page.jobs.length;
          from = page.next_cursor;
        } while (from && found < ENOUGH);
        setError(undefined);
        if (!next) {
          setFresh(0);
          const counts = (await get<Status>("/api/status")).jobs;
          if (round !== current.current) return;
          setTotal(!byState ? undefined : status ? counts[status as JobStatus] : Object.values(counts).reduce((sum, count) => sum + count, 0));
        }
      } catch (err) {
        if (round === current.current) setError(err as ApiError);
      } finally {
        busy.current = false;
      }
    },
    [wanted],
  );
  useEffect(() => {
    setJobs(undefined);
    setTotal(undefined);
    void load();
  }, [load]);

  // One row at a time, by what it needs: the whole list may be long.
  const refresh = async () => {
    timer.current = undefined;
    const ids = [...changed.current];
    changed.current.clear();
    for (const id of ids) {
      try {
        const { job, usage } = await get<Poll>(`/api/jobs/${id}/poll?after_sequence=${Number.MAX_SAFE_INTEGER}`);
        const wanted = !status || job.status === status;
        setJobs((known) => known?.flatMap((old) => (old.id !== id ? [old] : wanted ? [{ ...old, ...job, cost_total: usage.cost_total }] : [])));
      } catch {
        setJobs((known) => known?.filter((old) => old.id !== id));
      }
    }
  };
  useEvents(
    ({ kind, job_id, data }) => {
      if (kind === "gap") return void load();
      if (job_id === null) return;
      const known = jobs?.some(({ id }) => id === job_id);
      const comes = !known && (kind === "job.created" || (kind === "job.status" && data.status === status));
      if (comes && (!status || kind === "job.status" || status === "queued")) {
        if (atTop.current && !busy.current) void load();
        else if (byState) setFresh((count) => count + 1);
      } else if (known && (kind === "job.status" || kind === "approval" || data.event_type === "llm_response")) {
        changed.current.add(job_id);
        timer.current ??= window.setTimeout(refresh, GATHER);
      }
    },
    [jobs, wanted],
  );

  return {
    jobs,
    total,
    looking,
    error,
    fresh,
    reload: () => void load(),
    more: () => {
      if (cursor.current && !busy.current) void load(cursor.current);
    },
    scrolled: (top: number) => void (atTop.current = top < 40),
    expect: ((ids, status) => {
      const before = new Map(jobs?.filter(({ id }) => ids.includes(id)).map((job) => [job.id, job]));
      for (const id of ids) changed.current.delete(id);
      setJobs((known) => known?.flatMap((job) => (!before.has(job.id) ? [job] : status ? [{ ...job, status }] : [])));
      return (id) => {
        const old = before.get(id);
        if (old) setJobs((known) => known && [...known.filter((job) => job.id !== id), old].sort((a, b) => b.id - a.id));
      };
    }) satisfies Expect,
  };
}
