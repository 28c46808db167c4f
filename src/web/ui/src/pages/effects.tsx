// The ledger: what was done that outlives its job.

import { useEffect, useState } from "preact/hooks";
import { type ApiError, get, query as queryOf } from "../api";
import { Chips, Copy, EffectMark, Empty, Problem, Skeleton, Time } from "../components/basics";
import { Call } from "../components/decide";
import { Icon } from "../components/icons";
import { Resolve, Undo } from "../components/resolve";
import { useLive } from "../live";
import { setQuery } from "../router";
import { t } from "../texts";
import type { Effect, EffectList, EffectState } from "../types";

const STATES = Object.entries(t.effect) as [EffectState, string][];

export function EffectsPage({ query }: { query: URLSearchParams }) {
  const state = query.get("state") ?? "";
  const job = query.get("job") ?? "";
  const open = Number(query.get("open"));
  const [older, setOlder] = useState<Effect[]>([]);
  const [cursor, setCursor] = useState<string>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => void (document.title = t.page(t.effects.title)), []);
  const page = (next: string | undefined, signal?: AbortSignal) =>
    get<EffectList>("/api/effects" + queryOf({ state, job, limit: 100, cursor: next }), signal);
  const first = useLive<EffectList>((signal) => page(undefined, signal), [state, job], ({ kind }) => kind === "effect.state");
  useEffect(() => {
    setOlder([]);
    setCursor(undefined);
  }, [state, job]);
  const next = cursor ?? first.data?.next_cursor;
  const more = async () => {
    try {
      const found = await page(next);
      setOlder([...older, ...found.effects]);
      setCursor(found.next_cursor ?? "");
    } catch (err) {
      setError(err as ApiError);
    }
  };
  const seen = new Set(first.data?.effects.map(({ id }) => id));
  const effects = [...(first.data?.effects ?? []), ...older.filter(({ id }) => !seen.has(id))];
  return (
    <div class="page">
      <h1>{t.effects.title}</h1>
      <div class="row">
        <Chips label={t.effects.state} all={[["", t.effects.all], ...STATES]} chosen={state as EffectState | ""} choose={(value) => setQuery("state", value)} />
        {job && (
          <button type="button" class="chip" aria-pressed="true" onClick={() => setQuery("job", undefined)}>
            {t.job.title(Number(job))} <Icon name="cross" />
          </button>
        )}
      </div>
      {(first.error ?? error) && <Problem error={(first.error ?? error)!} retry={first.reload} />}
      {!first.data && !first.error && <Skeleton lines={8} />}
      {first.data && effects.length === 0 && <Empty title={state ? t.effects.emptyFilter : t.effects.empty} />}
      <ul class="plain ledger">
        {effects.map((effect) => (
          <li key={effect.id}>
            <Entry effect={effect} open={effect.id === open} reload={first.reload} />
          </li>
        ))}
      </ul>
      {next && (
        <button type="button" onClick={more}>
          {t.effects.older}
        </button>
      )}
    </div>
  );
}

function Entry({ effect, open, reload }: { effect: Effect; open: boolean; reload: () => void }) {
  return (
    <div class={`step${open ? " open" : ""}`}>
      <button type="button" class="line" aria-expanded={open} onClick={() => setQuery("open", open ? undefined : String(effect.id))}>
        <Icon name="chevron" />
        <EffectMark of={effect.state} />
        <span class="what">
          <code>{effect.tool}</code> {effect.target}
        </span>
        <span class="faint">
          <Time at={effect.prepared_at} />
        </span>
      </button>
      {open && (
        <div class="detail">
          <dl class="facts">
            {effect.job_id !== null && (
              <div>
                <dt>{t.effects.job}</dt>
                <dd>
                  <a href={`/admin/jobs/${effect.job_id}`}>#{effect.job_id}</a>
                </dd>
              </div>
            )}
            <div>
              <dt>{t.effects.origin}</dt>
              <dd>{effect.origin}</dd>
            </div>
            <div>
              <dt>{t.effects.rule}</dt>
              <dd>
                <code>{effect.rule}</code>
              </dd>
            </div>
            <div>
              <dt>{t.effects.hash}</dt>
              <dd>
                <code>{effect.args_hash.slice(0, 16)}</code> <Copy text={effect.args_hash} />
              </dd>
            </div>
          </dl>
          <h3>{t.effects.evidence}</h3>
          <Call args={effect.detail} />
          {effect.state === "unknown" && <Resolve effect={effect} done={reload} />}
          <Undo effect={effect} done={reload} />
        </div>
      )}
    </div>
  );
}
