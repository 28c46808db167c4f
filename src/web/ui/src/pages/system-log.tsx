// The daemon's own log: the newest lines first, and what comes, as it comes.

import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get, query as queryOf } from "../api";
import { Chips, Command, Copy, Empty, Problem, Skeleton } from "../components/basics";
import { Icon } from "../components/icons";
import { clockTime, exact } from "../format";
import { setQuery } from "../router";
import { t } from "../texts";
import type { LogLevel, LogLine, LogList, StreamEvent } from "../types";

/** Lines that the daemon has in memory at most. */
const MOST = 2000;
const USUAL = 200;
/** Milliseconds after the last key until what was typed is looked for. */
const PAUSE = 250;
/** Milliseconds within which lines are shown together. */
const GATHER = 100;
/** Milliseconds until a stream that was refused is tried again. */
const AGAIN = 5000;

const LEVELS: LogLevel[] = ["error", "warn", "info", "debug"];

interface Tail {
  /** The newest first; nothing before the first answer. */
  lines: LogLine[] | undefined;
  /** What has come since it does not follow. */
  fresh: LogLine[];
  /** What is written at all. */
  level: LogLevel | undefined;
  cut: boolean;
  error: ApiError | undefined;
}

const EMPTY: Tail = { lines: undefined, fresh: [], level: undefined, cut: false, error: undefined };

export function LogTab({ query }: { query: URLSearchParams }) {
  const filters = { level: query.get("level") ?? "", text: query.get("q") ?? "", job: query.get("job") ?? "" };
  const open = Number(query.get("line"));
  const [typed, setTyped] = useState(filters.text);
  const [follow, setFollow] = useState(true);
  const following = useRef(follow);
  following.current = follow;
  const [tail, setTail] = useState(EMPTY);
  const [most, setMost] = useState(USUAL);
  const filtered = Object.values(filters).some(Boolean);

  useEffect(() => {
    const timer = setTimeout(() => typed !== filters.text && setQuery("q", typed || undefined), PAUSE);
    return () => clearTimeout(timer);
  }, [typed]);

  useEffect(() => {
    const control = new AbortController();
    let source: EventSource | undefined;
    let again: number | undefined;
    let gather: number | undefined;
    let come: LogLine[] = [];
    const take = () => {
      gather = undefined;
      const news = come.reverse();
      come = [];
      setTail((tail) =>
        following.current
          ? { ...tail, lines: [...news, ...(tail.lines ?? [])].slice(0, MOST) }
          : { ...tail, fresh: [...news, ...tail.fresh].slice(0, MOST) },
      );
    };
    const listen = (last: number) => {
      let seen = last;
      source = new EventSource("/api/log/stream" + queryOf({ ...filters, last_event_id: last }));
      source.onopen = () => setTail((tail) => ({ ...tail, cut: false }));
      source.onerror = () => {
        setTail((tail) => ({ ...tail, cut: true }));
        // It tries again by itself, unless it was refused.
        if (source?.readyState === EventSource.CLOSED) again = window.setTimeout(() => listen(seen), AGAIN);
      };
      source.addEventListener("log", (event) => {
        const { id, at, job_id, data } = JSON.parse((event as MessageEvent<string>).data) as StreamEvent;
        seen = id;
        come.push({ id, at, job_id, ...data } as LogLine);
        gather ??= window.setTimeout(take, GATHER);
      });
    };
    setTail(EMPTY);
    get<LogList>("/api/log" + queryOf({ ...filters, limit: most }), control.signal).then(
      ({ lines, level }) => {
        setTail({ ...EMPTY, level, lines: lines.reverse() });
        listen(lines[0]?.id ?? 0);
      },
      (error: ApiError) => control.signal.aborted || setTail({ ...EMPTY, error }),
    );
    return () => {
      control.abort();
      source?.close();
      clearTimeout(again);
      clearTimeout(gather);
    };
  }, [...Object.values(filters), most]);

  const show = () => setTail((tail) => ({ ...tail, fresh: [], lines: [...tail.fresh, ...(tail.lines ?? [])].slice(0, MOST) }));
  const { lines, fresh, level, error, cut } = tail;
  return (
    <>
      <div class="row">
        <input type="search" aria-label={t.log.text} placeholder={t.log.text} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        {filters.job && (
          <button type="button" class="chip" aria-pressed="true" onClick={() => setQuery("job", undefined)}>
            {t.job.title(Number(filters.job))} <Icon name="cross" />
          </button>
        )}
        <span class="space" />
        <button
          type="button"
          aria-pressed={follow}
          onClick={() => {
            setFollow(!follow);
            if (!follow) show();
          }}
        >
          <Icon name={follow ? "pause" : "play"} /> {follow ? t.log.following : t.log.follow}
        </button>
      </div>
      <div class="row">
        <Chips
          label={t.log.level}
          all={[["", t.log.all], ...LEVELS.map((level): [string, string] => [level, t.log.levels[level]!])]}
          chosen={filters.level}
          choose={(value) => setQuery("level", value || undefined)}
        />
      </div>
      {level && rank(filters.level) > rank(level) && <p>{t.log.notWritten(level)}</p>}
      {cut && (
        <p class="faint" role="status">
          {t.log.cut}
        </p>
      )}
      {error && <Problem error={error} />}
      {!lines && !error && <Skeleton lines={8} />}
      {fresh.length > 0 && (
        <button type="button" class="fresh" onClick={show}>
          {t.log.fresh(fresh.length)}
        </button>
      )}
      {lines?.length === 0 && <Empty title={filtered ? t.log.none : t.log.nothing} />}
      {lines && lines.length > 0 && (
        <ul class="plain ledger log" aria-label={t.system.tabs.log}>
          {lines.map((line) => (
            <li key={line.id}>
              <Line line={line} open={line.id === open} />
            </li>
          ))}
        </ul>
      )}
      {lines && lines.length >= most && most < MOST && (
        <button type="button" onClick={() => setMost(MOST)}>
          {t.log.older}
        </button>
      )}
      <p class="faint">{t.log.where}</p>
      <div class="row">
        <Command text="assistantctl log --follow" />
        <Command text="journalctl -u assistantd" />
      </div>
    </>
  );
}

const rank = (level: string) => ["error", "warn", "info", "debug", "trace"].indexOf(level);

function Mark({ level }: { level: LogLevel }) {
  if (level === "error" || level === "warn")
    return (
      <span class={`state ${level === "error" ? "failed" : "waiting"}`}>
        <Icon name={level === "error" ? "cross" : "warning"} />
        {t.log.names[level]}
      </span>
    );
  return <span class="state">{t.log.names[level]}</span>;
}

function Line({ line, open }: { line: LogLine; open: boolean }) {
  const { id, at, level, target, text, job_id, fields } = line;
  const brief = Object.entries(fields).map(([name, value]) => `${name}=${value}`).join("  ");
  return (
    <div class={`step${open ? " open" : ""}`}>
      <button type="button" class="line" aria-expanded={open} onClick={() => setQuery("line", open ? undefined : String(id))}>
        <Icon name="chevron" />
        <time class="faint number" dateTime={at} title={exact(at)}>
          {clockTime(at)}
        </time>
        <Mark level={level} />
        <span class="what">
          {job_id !== null && <strong>{t.job.title(job_id)} </strong>}
          {text} <span class="faint">{brief}</span>
        </span>
      </button>
      {open && (
        <div class="detail">
          <p class="pre">{text}</p>
          <dl class="call">
            <div>
              <dt>{t.log.at}</dt>
              <dd>{exact(at)}</dd>
            </div>
            <div>
              <dt>{t.log.target}</dt>
              <dd>
                <code>{target}</code>
              </dd>
            </div>
            {job_id !== null && (
              <div>
                <dt>{t.log.job}</dt>
                <dd>
                  <a href={`/admin/jobs/${job_id}`}>{t.job.title(job_id)}</a>{" "}
                  <button type="button" class="link" onClick={() => setQuery("job", String(job_id))}>
                    {t.log.onlyJob}
                  </button>
                </dd>
              </div>
            )}
            {Object.entries(fields).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>
                  <code class="path">{String(value)}</code>
                </dd>
              </div>
            ))}
          </dl>
          <Copy text={JSON.stringify(line)} label={t.log.copy} />
        </div>
      )}
    </div>
  );
}
