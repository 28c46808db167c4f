// The mailbox: what came and what was decided about it, and what goes out.

import type { ComponentChild } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, get, query as queryOf } from "../api";
import { Chips, EffectMark, Empty, Problem, Skeleton, Time, Verdict } from "../components/basics";
import { Icon } from "../components/icons";
import { useLive } from "../live";
import { setQuery } from "../router";
import { t } from "../texts";
import type { EffectState, MailDecision, MailOut, MailOutList, MailReceived, MailReceivedList, StreamEvent } from "../types";

const DECISIONS = Object.entries(t.mail.decisions) as [MailDecision, string][];
const STATES = Object.entries(t.effect) as [EffectState, string][];

export function MailPage({ out, query }: { out: boolean; query: URLSearchParams }) {
  useEffect(() => void (document.title = t.page(t.mail.title)), []);
  return (
    <div class="page">
      <h1>{t.mail.title}</h1>
      <nav class="tabs" aria-label={t.mail.tabs}>
        <a href="/admin/mail" aria-current={out ? undefined : "page"}>
          {t.mail.came}
        </a>
        <a href="/admin/mail/out" aria-current={out ? "page" : undefined}>
          {t.mail.out}
        </a>
      </nav>
      {out ? <Out query={query} /> : <Came query={query} />}
    </div>
  );
}

function Came({ query }: { query: URLSearchParams }) {
  const decision = query.get("decision") ?? "";
  const filters = { decision, q: query.get("q") ?? "", job: query.get("job") ?? "" };
  const list = usePages<MailReceivedList, MailReceived>(
    (cursor, signal) => get("/api/mail/received" + queryOf({ ...filters, cursor }), signal),
    ({ received }) => received,
    Object.values(filters),
    ({ kind }) => kind === "mail.received",
  );
  return (
    <>
      <Search label={t.mail.search} query={query} />
      <Chips
        label={t.mail.decision}
        all={[["", t.mail.all], ...DECISIONS]}
        chosen={decision as MailDecision | ""}
        choose={(value) => setQuery("decision", value)}
      />
      <Pages list={list} empty={t.mail.empty} hint={t.mail.emptyHint} filtered={Object.values(filters).some(Boolean)}>
        {(one) => (
          <a class="line" href={`/admin/mail/${one.id}`}>
            <span class={`state mail-${one.decision}`}>{t.mail.decisions[one.decision]}</span>
            <span class="what">
              <strong>{one.from_address ?? t.mail.unknownSender}</strong> {one.subject || t.mail.noSubject}
            </span>
            <Verdict good={one.verified ? true : "warn"}>{one.verified ? t.mail.verified : t.mail.unverified}</Verdict>
            <span class="faint">
              <Time at={one.received_at} />
            </span>
          </a>
        )}
      </Pages>
    </>
  );
}

function Out({ query }: { query: URLSearchParams }) {
  const state = query.get("state") ?? "";
  const filters = { state, q: query.get("q") ?? "", job: query.get("job") ?? "" };
  const list = usePages<MailOutList, MailOut>(
    (cursor, signal) => get("/api/mail/outbox" + queryOf({ ...filters, cursor }), signal),
    ({ outbox }) => outbox,
    Object.values(filters),
    ({ kind }) => kind === "effect.state",
  );
  return (
    <>
      <Search label={t.mail.searchOut} query={query} />
      <Chips
        label={t.mail.state}
        all={[["", t.mail.all], ...STATES]}
        chosen={state as EffectState | ""}
        choose={(value) => setQuery("state", value)}
      />
      <Pages list={list} empty={t.mail.emptyOut} filtered={Object.values(filters).some(Boolean)}>
        {(one) => (
          <a class="line" href={`/admin/mail/out/${one.id}`}>
            <EffectMark of={one.state} />
            <span class="what">
              <strong>{one.to_addresses.join(", ")}</strong> {one.subject || t.mail.noSubject}
            </span>
            <span class="faint">{t.mail.kinds[one.kind] ?? one.kind}</span>
            <span class="faint">
              <Time at={one.sent_at ?? one.created_at} />
            </span>
          </a>
        )}
      </Pages>
    </>
  );
}

function Search({ label, query }: { label: string; query: URLSearchParams }) {
  return (
    <form
      role="search"
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        setQuery("q", new FormData(event.currentTarget).get("q")?.toString().trim() || undefined);
      }}
    >
      <input type="search" name="q" aria-label={label} placeholder={label} value={query.get("q") ?? ""} maxLength={200} />
      <button type="submit" class="icon" aria-label={label}>
        <Icon name="search" />
      </button>
    </form>
  );
}

interface Listed<T> {
  reload: () => void;
  items: T[] | undefined;
  error: ApiError | undefined;
  more: (() => void) | undefined;
}

/** The newest page, kept up to date, and the older ones that were asked for. */
function usePages<P extends { next_cursor: string | null }, T extends { id: number }>(
  load: (cursor: string | undefined, signal?: AbortSignal) => Promise<P>,
  of: (page: P) => T[],
  key: unknown[],
  concerns: (event: StreamEvent) => boolean,
): Listed<T> {
  const [older, setOlder] = useState<T[]>([]);
  const [cursor, setCursor] = useState<string | null>();
  const [error, setError] = useState<ApiError>();
  const first = useLive<P>((signal) => load(undefined, signal), key, concerns);
  useEffect(() => {
    setOlder([]);
    setCursor(undefined);
    setError(undefined);
  }, key);
  const next = cursor === undefined ? first.data?.next_cursor : cursor;
  const more = () =>
    load(next ?? undefined).then(
      (page) => {
        setOlder([...older, ...of(page)]);
        setCursor(page.next_cursor);
      },
      (err) => setError(err as ApiError),
    );
  const newest = first.data && of(first.data);
  const seen = new Set(newest?.map(({ id }) => id));
  const items = newest && [...newest, ...older.filter(({ id }) => !seen.has(id))];
  return { reload: first.reload, items, error: first.error ?? error, more: next ? () => void more() : undefined };
}

function Pages<T extends { id: number }>(props: {
  list: Listed<T>;
  empty: string;
  hint?: string;
  filtered: boolean;
  children: (one: T) => ComponentChild;
}) {
  const { reload, items, error, more } = props.list;
  return (
    <>
      {error && <Problem error={error} retry={reload} />}
      {!items && !error && <Skeleton lines={8} />}
      {items?.length === 0 && (
        <Empty title={props.filtered ? t.mail.emptyFilter : props.empty}>{!props.filtered && props.hint}</Empty>
      )}
      <ul class="plain ledger mails">
        {items?.map((one) => (
          <li key={one.id}>{props.children(one)}</li>
        ))}
      </ul>
      {more && (
        <button type="button" onClick={more}>
          {t.mail.older}
        </button>
      )}
    </>
  );
}
