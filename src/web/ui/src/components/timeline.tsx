// What a job did, row by row, live. Rows fold; an error stands out; a row has an address.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ago, duration, exact, integer, money } from "../format";
import { setQuery } from "../router";
import { type Run, runOf, runs } from "../runs";
import { t } from "../texts";
import type { Fields, Json, LogRow } from "../types";
import { ansi } from "./ansi";
import { Long } from "./basics";
import { Call } from "./decide";
import { Icon } from "./icons";
import { VirtualList } from "./virtual";

interface Props {
  id: number;
  rows: LogRow[];
  older: boolean;
  loadOlder: () => void;
  /** Whether more is to come. */
  live: boolean;
  /** The row that the address names, by sequence. */
  wanted: number | undefined;
}

export function Timeline({ id, rows, older, loadOlder, live, wanted }: Props) {
  const [open, setOpen] = useState<ReadonlySet<number>>(() => new Set(wanted ? [wanted] : []));
  const [follow, setFollow] = useState(live && wanted === undefined);
  const [words, setWords] = useState("");
  const box = useRef<HTMLDivElement>(null);
  const before = useRef(0);
  const axes = useMemo(() => runs(rows), [rows]);
  const shown = useMemo(() => (words ? rows.filter((row) => says(row, words.toLowerCase())) : rows), [rows, words]);
  const target = wanted === undefined ? -1 : shown.findIndex(({ sequence }) => sequence === wanted);

  useEffect(() => {
    if (target < 0 && wanted !== undefined && !words && older) loadOlder();
  }, [target, rows.length]);

  const toggle = (sequence: number) => {
    const next = new Set(open);
    if (!next.delete(sequence)) next.add(sequence);
    setOpen(next);
    setFollow(false);
    setQuery("row", next.has(sequence) ? String(sequence) : undefined);
  };
  // Scrolling up lets go of the newest row; scrolling down to it takes hold again.
  const scrolled = (list: HTMLElement) => {
    const end = list.scrollHeight - list.clientHeight - list.scrollTop < 8;
    if (list.scrollTop < before.current - 2 && !end) setFollow(false);
    else if (end && live) setFollow(true);
    before.current = list.scrollTop;
  };
  return (
    <section class="card timeline" aria-label={t.job.timeline}>
      <header>
        <h2>
          {t.job.timeline} <span class="faint number">{words ? t.job.rowsOf(shown.length, rows.length) : t.job.rows(rows.length)}</span>
        </h2>
        <input type="search" aria-label={t.job.find} placeholder={t.job.find} value={words} onInput={(event) => setWords(event.currentTarget.value.trim())} />
        {older && (
          <button type="button" class="small" onClick={loadOlder}>
            {t.job.older}
          </button>
        )}
        <button type="button" class="small" aria-pressed={follow} onClick={() => setFollow(!follow)}>
          {follow ? t.job.following : t.job.follow}
        </button>
      </header>
      {shown.length === 0 ? (
        <p class="faint">{words ? t.job.noRowSays : t.job.noRows}</p>
      ) : (
        <VirtualList
          items={shown}
          id={({ sequence }) => sequence}
          estimate={37}
          label={t.job.timeline}
          list={box}
          follow={follow}
          keepFirst
          focus={target >= 0 ? target : undefined}
          atStart={older && !follow ? loadOlder : undefined}
          onScroll={scrolled}
          row={(row) => <Step key={row.sequence} job={id} row={row} open={open.has(row.sequence)} toggle={() => toggle(row.sequence)} axis={runOf(axes, row.sequence)} />}
        />
      )}
    </section>
  );
}

interface StepProps {
  job: number;
  row: LogRow;
  open: boolean;
  toggle: () => void;
  axis: Run | undefined;
}

function Step({ row, open, toggle, axis }: StepProps) {
  const bad = row.event_type === "error" || (row.event_type === "tool_result" && fields(row.output_data).ok === false);
  return (
    <div class={`step ${row.event_type}${bad ? " bad" : ""}${open ? " open" : ""}`}>
      <button type="button" class="line" aria-expanded={open} onClick={toggle}>
        <Icon name={bad ? "warning" : "chevron"} />
        <span class="kind">{t.events[row.event_type] ?? row.event_type}</span>
        <span class="what">{summary(row)}</span>
        {row.duration_ms !== null && (
          <span class="took number" title={t.jobs.took}>
            {axis && <Span row={row} axis={axis} />}
            <span>{duration(row.duration_ms)}</span>
          </span>
        )}
        <time class="faint number" dateTime={row.created_at} title={`${exact(row.created_at)} · ${ago(row.created_at)}`}>
          {new Date(row.created_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })}
        </time>
      </button>
      {row.event_type === "tool_output" ? (
        <pre class="output" tabIndex={0}>{ansi(String(fields(row.output_data).text ?? ""))}</pre>
      ) : (
        open && <Detail row={row} />
      )}
    </div>
  );
}

/** Units of the axis of a run, and the fewest that can be seen. */
const AXIS = 200;
const LEAST = 2;

/** When a step was, and how long, on the axis of its run. */
function Span({ row, axis }: { row: LogRow; axis: Run }) {
  const whole = Math.max(axis.end - axis.start, 1);
  const place = (milliseconds: number) => (Math.min(Math.max(milliseconds, 0), whole) / whole) * AXIS;
  const end = Date.parse(row.created_at) - axis.start;
  const width = Math.max(LEAST, place(end) - place(end - row.duration_ms!));
  return (
    <svg class="span" viewBox={`0 0 ${AXIS} 8`} preserveAspectRatio="none" aria-hidden="true">
      <rect class="axis" width={AXIS} height={8} />
      <rect x={Math.min(place(end - row.duration_ms!), AXIS - width)} width={width} height={8} />
    </svg>
  );
}

/** Whether a row has these words, in lower case, in anything that it shows when it is open. */
const says = (row: LogRow, words: string) =>
  [row.event_type, t.events[row.event_type], row.tool_name, row.tool_action, text(row.input_data), text(row.output_data), row.created_at]
    .some((part) => part?.toLowerCase().includes(words));

const fields = (value: Json): Fields => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value: Json | undefined) => (typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value));

/** One line that says what a row is about. */
function summary(row: LogRow): string {
  const input = fields(row.input_data);
  const output = fields(row.output_data);
  const line = (value: string) => value.replace(/\s+/g, " ").trim().slice(0, 300);
  switch (row.event_type) {
    case "llm_request":
      return line(preview(row.input_data ?? row.output_data ?? ""));
    case "llm_response": {
      const calls = Array.isArray(output.tool_calls) ? output.tool_calls.map(text).join(", ") : "";
      return line([text(input.model), tokens(row.tokens_used), calls && `→ ${calls}`, text(output.text)].filter(Boolean).join(" · "));
    }
    case "status_change": {
      const [from, to] = [text(input.from), text(input.to)].map((name) => (t.status as Record<string, string>)[name] ?? name);
      return line(`${from} → ${to}${input.reason ? ` · ${text(input.reason)}` : ""}`);
    }
    case "tool_output":
      return row.tool_name ?? "";
    default: {
      const about = row.output_data ?? row.input_data;
      return line([row.tool_name, row.tool_action, about === null ? "" : preview(about)].filter(Boolean).join(" · "));
    }
  }
}

function preview(value: Json): string {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  return Object.entries(value)
    .map(([name, part]) => `${name} ${text(part).slice(0, 120)}`)
    .join(", ");
}

function tokens(used: Fields | null): string {
  if (!used) return "";
  const number = (name: string) => (typeof used[name] === "number" ? (used[name] as number) : undefined);
  const [input, output, cached, nanos] = [number("prompt_tokens"), number("completion_tokens"), number("cached_tokens"), number("cost_nanos")];
  return [
    input !== undefined && `${integer(input)} ${t.job.in}`,
    output !== undefined && `${integer(output)} ${t.job.out}`,
    cached && `${integer(cached)} ${t.job.cached}`,
    nanos ? money(nanos / 1e9) : "",
  ]
    .filter(Boolean)
    .join(", ");
}

function Detail({ row }: { row: LogRow }) {
  const shown = (value: Json) => {
    const only = fields(value);
    const names = Object.keys(only);
    if (names.length === 1 && typeof only[names[0]!] === "string") return <Long code text={String(only[names[0]!])} />;
    return typeof value === "string" ? <Long code text={value} /> : <Call args={value} />;
  };
  return (
    <div class="detail">
      <p class="faint">
        {t.job.permalink(row.sequence)} · {exact(row.created_at)} {row.tokens_used && `· ${tokens(row.tokens_used)}`}
      </p>
      {row.input_data !== null && (
        <>
          <h3>{t.job.arguments}</h3>
          {shown(row.input_data)}
        </>
      )}
      {row.output_data !== null && (
        <>
          <h3>{t.job.result}</h3>
          {shown(row.output_data)}
        </>
      )}
    </div>
  );
}
