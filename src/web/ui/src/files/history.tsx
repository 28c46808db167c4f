// What a file was before: each version against the present one, and back to it.

import { useEffect, useState } from "preact/hooks";
import { type ApiError, get, may, query as queryOf, send } from "../api";
import { Empty, Problem, Skeleton, Time } from "../components/basics";
import { attempt } from "../components/dialog";
import { Difference } from "../components/difference";
import { Icon } from "../components/icons";
import { bytes } from "../format";
import { useLive } from "../live";
import { setQuery } from "../router";
import { t } from "../texts";
import type { Entry, OldVersion } from "../types";
import { loadText, NotShown, read } from "./text";

interface Page {
  versions: OldVersion[];
  next_cursor?: string;
}

export function HistoryView({ entry, query }: { entry: Entry; query: URLSearchParams }) {
  const path = entry.relative_path;
  const page = (cursor?: string, signal?: AbortSignal) => get<Page>("/api/workspace/history" + queryOf({ path, cursor }), signal);
  const first = useLive<Page>((signal) => page(undefined, signal), [path, entry.mtime_ns]);
  const [older, setOlder] = useState<OldVersion[]>([]);
  const [cursor, setCursor] = useState<string>();
  useEffect(() => {
    setOlder([]);
    setCursor(undefined);
  }, [first.data]);
  const open = Number(query.get("version"));
  const next = cursor ?? first.data?.next_cursor;
  const more = () =>
    attempt(async () => {
      const found = await page(next);
      setOlder([...older, ...found.versions]);
      setCursor(found.next_cursor ?? "");
    });
  const putBack = async (id: number) => {
    const headers = { "If-Match": `"${entry.mtime_ns}-${entry.size_bytes}"` };
    if (await attempt(() => send("POST", `/api/workspace/history/${id}`, { headers }), t.files.putBackDone)) setQuery("version", undefined);
  };
  const versions = [...(first.data?.versions ?? []), ...older];
  if (first.error) return <Problem error={first.error} retry={first.reload} />;
  if (!first.data) return <Skeleton lines={6} />;
  if (!versions.length)
    return (
      <Empty title={t.files.noHistory}>
        <p>{t.files.noHistoryHint}</p>
      </Empty>
    );
  return (
    <>
      <ul class="plain ledger" aria-label={t.files.history}>
        {versions.map(({ id, size_bytes, replaced_at, job_id }) => (
          <li key={id}>
            <div class={`step${id === open ? " open" : ""}`}>
              <button type="button" class="line" aria-expanded={id === open} onClick={() => setQuery("version", id === open ? undefined : String(id))}>
                <Icon name="chevron" />
                <span class="what">
                  {t.files.replaced} <Time at={replaced_at} /> · {job_id === null ? t.files.person : t.files.job(job_id)}
                </span>
                <span class="faint number">{bytes(size_bytes)}</span>
              </button>
              {id === open && (
                <div class="detail">
                  <div class="row">
                    {may("operator") && (
                      <button type="button" onClick={() => void putBack(id)}>
                        {t.files.putBack}
                      </button>
                    )}
                    <a class="button" href={`/api/workspace/history/${id}`} download>
                      <Icon name="download" /> {t.files.download}
                    </a>
                    {job_id !== null && <a href={`/admin/jobs/${job_id}`}>{t.files.job(job_id)}</a>}
                  </div>
                  <ToNow id={id} entry={entry} />
                </div>
              )}
            </div>
          </li>
        ))}
      </ul>
      {next && (
        <button type="button" onClick={() => void more()}>
          {t.files.older}
        </button>
      )}
    </>
  );
}

function ToNow({ id, entry }: { id: number; entry: Entry }) {
  const [both, set] = useState<[string, string]>();
  const [error, setError] = useState<ApiError | NotShown>();
  useEffect(() => {
    const control = new AbortController();
    Promise.all([read(`/api/workspace/history/${id}`, control.signal), loadText(entry.relative_path, control.signal)]).then(
      ([old, now]) => set([old.text, now.text]),
      (err: ApiError | NotShown) => control.signal.aborted || setError(err),
    );
    return () => control.abort();
  }, [id, entry.mtime_ns]);
  if (error instanceof NotShown) return <p class="faint">{error.title}</p>;
  if (error) return <Problem error={error} />;
  if (!both) return <Skeleton lines={3} />;
  return (
    <>
      <h3>{t.files.difference}</h3>
      <Difference before={both[0]} after={both[1]} />
    </>
  );
}
