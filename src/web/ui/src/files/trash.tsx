// What was deleted: back again, or away for good.

import { useEffect, useState } from "preact/hooks";
import { type ApiError, get, may, post, query, remove } from "../api";
import { Empty, Problem, Skeleton, Time } from "../components/basics";
import { attempt, confirm, tell } from "../components/dialog";
import { Icon } from "../components/icons";
import { bytes } from "../format";
import { useLive } from "../live";
import { t } from "../texts";
import type { Entry, Trashed } from "../types";
import { AskPath } from "./actions";

interface Page {
  entries: Trashed[];
  next_cursor?: string;
}

export function TrashView() {
  const page = (cursor?: string, signal?: AbortSignal) => get<Page>("/api/workspace/trash" + query({ limit: 200, cursor }), signal);
  const first = useLive<Page>((signal) => page(undefined, signal), [], ({ kind }) => kind === "workspace.changed");
  const [older, setOlder] = useState<Trashed[]>([]);
  const [cursor, setCursor] = useState<string>();
  const [error, setError] = useState<ApiError>();
  const [elsewhere, setElsewhere] = useState<Trashed>();
  // What has changed may be on any page.
  useEffect(() => {
    setOlder([]);
    setCursor(undefined);
  }, [first.data]);
  const next = cursor ?? first.data?.next_cursor;
  const more = async () => {
    try {
      const found = await page(next);
      setOlder([...older, ...found.entries]);
      setCursor(found.next_cursor ?? "");
    } catch (err) {
      setError(err as ApiError);
    }
  };
  const restore = async ({ trash_path }: Trashed, destination_path?: string) => {
    const { item } = await post<{ item: Entry }>("/api/workspace/restore", { trash_path, destination_path });
    tell(t.files.restored(item.relative_path));
  };
  const purge = async ({ trash_path, original_path }: Trashed) => {
    if (!(await confirm({ title: t.files.purgeTitle(original_path), text: t.files.purgeText, yes: t.files.purge }))) return;
    await attempt(() => remove("/api/workspace/file" + query({ path: trash_path })), t.files.purged(original_path));
  };
  const entries = [...(first.data?.entries ?? []), ...older];
  return (
    <section class="folder" aria-label={t.files.trash}>
      {(first.error ?? error) && <Problem error={(first.error ?? error)!} retry={first.reload} />}
      {!first.data && !first.error && <Skeleton lines={6} />}
      {first.data && entries.length === 0 && (
        <Empty title={t.files.trashEmpty}>
          <p>{t.files.trashHint}</p>
        </Empty>
      )}
      {entries.length > 0 && (
        <ul class="plain ledger trash" aria-label={t.files.trash}>
          {entries.map((entry) => (
            <li key={entry.trash_path}>
              <div>
                <Icon name={entry.is_dir ? "files" : "file"} /> <strong class="path">{entry.original_path}</strong>
                <p class="faint">
                  {bytes(entry.size_bytes)} · {t.files.deleted} <Time at={entry.deleted_at} /> · {t.files.by}{" "}
                  {entry.job_id === null ? t.files.person : <a href={`/admin/jobs/${entry.job_id}`}>{t.files.job(entry.job_id)}</a>}
                </p>
              </div>
              <div class="row">
                {may("operator") && (
                  <>
                    <button type="button" class="small" aria-label={`${t.files.restore}: ${entry.original_path}`} onClick={() => void attempt(() => restore(entry))}>
                      {t.files.restore}
                    </button>
                    <button type="button" class="small" aria-label={`${t.files.restoreTo}: ${entry.original_path}`} onClick={() => setElsewhere(entry)}>
                      {t.files.restoreTo}
                    </button>
                  </>
                )}
                {may("admin") && (
                  <button type="button" class="small danger" aria-label={`${t.files.purge}: ${entry.original_path}`} onClick={() => void purge(entry)}>
                    {t.files.purge}
                  </button>
                )}
              </div>
            </li>
          ))}
        </ul>
      )}
      {next && (
        <button type="button" onClick={more}>
          {t.files.older}
        </button>
      )}
      {elsewhere && (
        <AskPath
          title={t.files.restoreTo}
          label={t.files.path}
          value={elsewhere.original_path}
          yes={t.files.restore}
          work={(path) => restore(elsewhere, path)}
          close={() => setElsewhere(undefined)}
        />
      )}
    </section>
  );
}
