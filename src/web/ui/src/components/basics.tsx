// The small parts that every page is made of.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { ago, exact } from "../format";
import { t } from "../texts";
import type { EffectState, JobStatus } from "../types";
import { Icon, type IconName } from "./icons";

/** Wakes the component now and then, so that what it says of time stays true. */
export function useNow(every = 15_000): number {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** A time, relative; the exact one on hover. */
export function Time({ at }: { at: string | null | undefined }) {
  const now = useNow();
  if (!at) return <span class="faint">–</span>;
  return (
    <time dateTime={at} title={exact(at)}>
      {ago(at, now)}
    </time>
  );
}

const STATUS_ICONS: Record<JobStatus | EffectState, IconName> = {
  queued: "clock",
  running: "play",
  waiting: "pause",
  needs_review: "hand",
  completed: "check",
  failed: "cross",
  cancelled: "ban",
  prepared: "clock",
  dispatched: "play",
  confirmed: "check",
  unknown: "question",
};

export function State({ of }: { of: JobStatus }) {
  return (
    <span class={`state ${of}`}>
      <Icon name={STATUS_ICONS[of]} />
      {t.status[of]}
    </span>
  );
}

export function EffectMark({ of }: { of: EffectState }) {
  return (
    <span class={`state effect-${of}`}>
      <Icon name={STATUS_ICONS[of]} />
      {t.effect[of]}
    </span>
  );
}

export function Verdict({ good, children }: { good: boolean | "warn"; children: ComponentChildren }) {
  const kind = good === "warn" ? "waiting" : good ? "completed" : "failed";
  return (
    <span class={`state ${kind}`}>
      <Icon name={good === "warn" ? "warning" : good ? "check" : "cross"} />
      {children}
    </span>
  );
}

/** What the daemon said when it refused, with what to tell whoever looks into it. */
export function Problem({ error, retry }: { error: ApiError; retry?: () => void }) {
  return (
    <div class="problem" role="alert">
      <p>
        <Icon name="warning" /> <strong>{error.title}</strong>
      </p>
      {error.hint && <p>{error.hint}</p>}
      <p class="meta">
        <span>{error.kind}</span>
        {error.requestId && (
          <span>
            {t.error.request} <code>{error.requestId}</code> <Copy text={error.requestId} />
          </span>
        )}
        {retry && (
          <button type="button" class="small" onClick={retry}>
            {t.retry}
          </button>
        )}
      </p>
    </div>
  );
}

export async function toClipboard(text: string) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without HTTPS browsers have no clipboard but this one.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export function Copy({ text, label }: { text: string; label?: string }) {
  const [copied, set] = useState(false);
  const copy = async () => {
    await toClipboard(text);
    set(true);
    setTimeout(() => set(false), 2000);
  };
  return (
    <button type="button" class="icon small" onClick={copy} title={t.copy} aria-label={label ?? `${t.copy}: ${text}`}>
      <Icon name={copied ? "check" : "copy"} />
      {copied && <span class="hidden" role="status">{t.copied}</span>}
    </button>
  );
}

/** A command to type, beside the button that does the same. */
export function Command({ text }: { text: string }) {
  return (
    <span class="command">
      <code>{text}</code>
      <Copy text={text} />
    </span>
  );
}

/** Grey shapes, if it takes longer than a moment. */
export function Skeleton({ lines = 4 }: { lines?: number }) {
  const [shown, show] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => show(true), 150);
    return () => clearTimeout(timer);
  }, []);
  if (!shown) return null;
  return (
    <div class="skeleton" role="status" aria-label={t.loading}>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} />
      ))}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p>{title}</p>
      {children}
    </div>
  );
}

/** A part of a page with a heading. */
export function Card(props: { title: string; side?: ComponentChildren; class?: string; children: ComponentChildren }) {
  return (
    <section class={`card ${props.class ?? ""}`} aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        {props.side}
      </header>
      {props.children}
    </section>
  );
}

/** A text that folds at twelve lines. */
export function Long({ text, code }: { text: string; code?: boolean }) {
  const [open, set] = useState(false);
  const lines = text.split("\n");
  const long = lines.length > 12 || text.length > 1800;
  const shown = open || !long ? text : lines.slice(0, 12).join("\n").slice(0, 1800);
  return (
    <div class="long">
      <pre class={code ? "code" : "prose"} tabIndex={0}>{shown}</pre>
      {long && (
        <button type="button" class="link" aria-expanded={open} onClick={() => set(!open)}>
          {open ? t.less : t.more}
        </button>
      )}
    </div>
  );
}

/** How much of a bound is used. */
export function Bar({ label, value, most, text }: { label: string; value: number; most: number; text: string }) {
  const share = most > 0 ? Math.min(value / most, 1) : 0;
  const level = share >= 0.9 ? "high" : share >= 0.7 ? "near" : "low";
  return (
    <div class="bar">
      <div>
        <span>{label}</span>
        <span class="number">{text}</span>
      </div>
      <div class={`track ${level}`} role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={most} aria-valuenow={Math.min(value, most)} aria-valuetext={text}>
        <div style={{ width: `${share * 100}%` }} />
      </div>
    </div>
  );
}

export function Field(props: { label: string; hint?: string; children: ComponentChildren }) {
  return (
    <label class="field">
      <span>{props.label}</span>
      {props.children}
      {props.hint && <small>{props.hint}</small>}
    </label>
  );
}

/** Chips of which one is chosen. */
export function Chips<T extends string>(props: { label: string; all: [T, string][]; chosen: T; choose: (value: T) => void }) {
  return (
    <div class="chips" role="group" aria-label={props.label}>
      {props.all.map(([value, text]) => (
        <button key={value} type="button" class="chip" aria-pressed={value === props.chosen} onClick={() => props.choose(value)}>
          {text}
        </button>
      ))}
    </div>
  );
}
