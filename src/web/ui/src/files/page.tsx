// The files of the workspace: folders on one side, what is open on the other.

import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get, query as queryOf } from "../api";
import { Empty, Problem, Skeleton } from "../components/basics";
import { Icon } from "../components/icons";
import { useLive } from "../live";
import { go } from "../router";
import { t } from "../texts";
import type { Entry } from "../types";
import { FileView } from "./file";
import { FolderView, Found } from "./folder";
import { above, address, nameOf, parent, ROOT } from "./paths";
import { TrashView } from "./trash";
import { touches, Tree } from "./tree";
import { isBusy, Uploads } from "./uploads";

export function FilesPage({ query }: { query: URLSearchParams }) {
  const path = query.get("path") || ROOT;
  const what = query.get("q") ?? "";
  const inTrash = query.has("trash");
  const entry = useEntry(path);
  const content = useRef<HTMLDivElement>(null);
  useEffect(() => void (document.title = t.page(path === ROOT ? t.files.title : nameOf(path))), [path]);
  // After going to another place, the reader of the screen starts with it.
  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else if (!(document.activeElement instanceof HTMLInputElement)) content.current?.focus({ preventScroll: true });
  }, [path, inTrash]);
  useEffect(() => {
    const leave = (event: BeforeUnloadEvent) => isBusy() && event.preventDefault();
    addEventListener("beforeunload", leave);
    return () => removeEventListener("beforeunload", leave);
  }, []);
  /** It was here, and somebody has taken it away. */
  const gone = entry.error?.status === 404;
  const folder = entry.data?.is_dir === false ? parent(path) : path;
  return (
    <div class="page files-page">
      <div class="title">
        <h1>{t.files.title}</h1>
        <Search what={what} folder={folder} />
        <a class="button" href={inTrash ? address(ROOT) : address(ROOT, { trash: "1" })} aria-current={inTrash ? "page" : undefined}>
          <Icon name="trash" /> {t.files.trash}
        </a>
      </div>
      <Uploads />
      <div class="browse">
        <Tree path={folder} query={query} />
        <div class="open" ref={content} tabIndex={-1}>
          <Crumbs path={path} inTrash={inTrash} />
          {inTrash ? (
            <TrashView />
          ) : what ? (
            <Found what={what} folder={folder} />
          ) : (
            <>
              {entry.error && (!entry.data || (gone && query.get("tab") !== "edit")) && <Missing error={entry.error} path={path} retry={entry.reload} />}
              {!entry.data && !entry.error && <Skeleton lines={8} />}
              {entry.data?.is_dir && !gone && <FolderView key={path} path={path} query={query} />}
              {entry.data?.is_dir === false && (!gone || query.get("tab") === "edit") && <FileView key={path} entry={entry.data} gone={gone} query={query} />}
            </>
          )}
        </div>
      </div>
    </div>
  );
}

/** What a path is; the last that was known stays when it goes. */
function useEntry(path: string) {
  const live = useLive<{ asked: string; item: Entry }>(
    async (signal) => ({ asked: path, ...(await get<{ item: Entry }>("/api/workspace/metadata" + queryOf({ path }), signal)) }),
    [path],
    (event) => (event.kind === "workspace.changed" && event.data.path === path) || touches(event, parent(path)),
  );
  // At first there is still what was said of another path.
  return { ...live, data: live.data?.asked === path ? live.data.item : undefined };
}

function Missing({ error, path, retry }: { error: ApiError; path: string; retry: () => void }) {
  if (error.status !== 404) return <Problem error={error} retry={retry} />;
  return (
    <Empty title={t.files.nowhere}>
      <p>
        <code>{path}</code>
      </p>
      <p>
        <a href={address(parent(path))}>{parent(path) === ROOT ? t.files.root : parent(path)}</a> · <a href={address(ROOT, { trash: "1" })}>{t.files.trash}</a>
      </p>
    </Empty>
  );
}

function Crumbs({ path, inTrash }: { path: string; inTrash: boolean }) {
  const all = inTrash ? [ROOT] : above(path);
  const last = inTrash ? t.files.trash : path === ROOT ? t.files.root : nameOf(path);
  return (
    <nav class="crumbs" aria-label={t.files.where}>
      <ol>
        {all.map((at) => (
          <li key={at}>
            <a href={address(at)}>{at === ROOT ? t.files.root : nameOf(at)}</a>
          </li>
        ))}
        <li aria-current="page">
          <h2>{last}</h2>
        </li>
      </ol>
    </nav>
  );
}

/** After this pause in typing it is looked for, in milliseconds. */
const PAUSE = 300;

function Search({ what, folder }: { what: string; folder: string }) {
  const [value, set] = useState(what);
  const timer = useRef<number>();
  useEffect(() => {
    if (value.trim() !== what) set(what);
  }, [what]);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const find = (text: string) => go(address(folder, { q: text.trim() || undefined }), { replace: what !== "" });
  return (
    <form
      role="search"
      aria-label={t.files.search}
      onSubmit={(event) => {
        event.preventDefault();
        window.clearTimeout(timer.current);
        find(value);
      }}
    >
      <input
        type="search"
        aria-label={t.files.search}
        placeholder={t.files.search}
        title={t.files.searchHint}
        value={value}
        onInput={(event) => {
          const text = event.currentTarget.value;
          set(text);
          window.clearTimeout(timer.current);
          timer.current = window.setTimeout(() => find(text), PAUSE);
        }}
      />
    </form>
  );
}
