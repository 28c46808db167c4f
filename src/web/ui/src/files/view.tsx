// Files as people look at them: by kind, and never as something that runs.

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { Empty, Problem, Skeleton } from "../components/basics";
import { Icon } from "../components/icons";
import { Markdown } from "../components/markdown";
import { VirtualList } from "../components/virtual";
import { setQuery } from "../router";
import { t } from "../texts";
import type { Entry } from "../types";
import { parse, separator } from "./csv";
import { highlight } from "./highlight";
import { downloadOf, ending, kindOf, viewOf } from "./paths";
import { loadText, NotShown, type Text } from "./text";

/** Characters that are coloured, or set as Markdown; a longer text is shown line by line. */
const LONG = 300_000;
/** Rows of a table at once. */
const ROWS = 200;

export function View({ entry, query }: { entry: Entry; query: URLSearchParams }) {
  switch (kindOf(entry.relative_path)) {
    case "image":
      return <Picture key={entry.mtime_ns} entry={entry} />;
    case "pdf":
      return (
        <div class="paper">
          <iframe key={entry.mtime_ns} src={viewOf(entry)} title={entry.name} />
          <p>
            <a href={viewOf(entry)} target="_blank" rel="noopener noreferrer">
              {t.files.ownTab}
            </a>
          </p>
        </div>
      );
    case "zip":
      return <NoText entry={entry} title={t.files.notText} hint={t.files.notTextHint} />;
    default:
      return <TextView entry={entry} query={query} />;
  }
}

function Picture({ entry }: { entry: Entry }) {
  const [failed, fail] = useState(false);
  if (failed) return <NoText entry={entry} title={t.files.notText} hint={t.files.notTextHint} />;
  return (
    <div class="picture">
      <a href={viewOf(entry)} target="_blank" rel="noopener noreferrer" aria-label={`${t.files.ownTab}: ${entry.name}`}>
        <img src={viewOf(entry)} alt={t.files.image(entry.name)} onError={() => fail(true)} />
      </a>
    </div>
  );
}

/** What cannot be shown, and what one can do with it. */
export function NoText({ entry, title, hint, children }: { entry: Entry; title: string; hint: string; children?: ComponentChildren }) {
  return (
    <Empty title={title}>
      <p>{hint}</p>
      <p>
        <a class="button" href={downloadOf(entry.relative_path)} download>
          <Icon name="download" /> {t.files.download}
        </a>
      </p>
      {children}
    </Empty>
  );
}

/** A text of the workspace, loaded whole again when it is another one. */
export function useText({ relative_path: path, mtime_ns }: Entry) {
  const [text, set] = useState<Text>();
  const [error, setError] = useState<ApiError | NotShown>();
  useEffect(() => {
    const control = new AbortController();
    loadText(path, control.signal).then(
      (text) => {
        if (control.signal.aborted) return;
        setError(undefined);
        set(text);
      },
      (err: ApiError | NotShown) => control.signal.aborted || setError(err),
    );
    return () => control.abort();
  }, [path, mtime_ns]);
  return { text, error };
}

function TextView({ entry, query }: { entry: Entry; query: URLSearchParams }) {
  const { text: loaded, error } = useText(entry);
  if (error instanceof NotShown) return <NoText entry={entry} title={error.title} hint={error.hint} />;
  if (error) return <Problem error={error} />;
  if (!loaded) return <Skeleton lines={12} />;
  const { text } = loaded;
  const kind = kindOf(entry.relative_path);
  const source = query.get("as") === "source" || text.length > (kind === "table" ? 4 : 1) * LONG;
  if (!text) return <Empty title={t.files.emptyFile} />;
  return (
    <>
      {kind !== "text" && (
        <div class="chips" role="group" aria-label={t.files.tabs.view}>
          <button type="button" class="chip" aria-pressed={!source} onClick={() => setQuery("as", undefined)}>
            {t.files.rendered}
          </button>
          <button type="button" class="chip" aria-pressed={source} onClick={() => setQuery("as", "source")}>
            {t.files.source}
          </button>
        </div>
      )}
      {/^(html?|xhtml|svg|xml)$/.test(ending(entry.relative_path)) && <p class="faint">{t.files.inert}</p>}
      {source || kind === "text" ? (
        <Code text={text} ending={ending(entry.relative_path)} />
      ) : kind === "table" ? (
        <Cells text={text} ending={ending(entry.relative_path)} from={Number(query.get("row")) || 1} />
      ) : (
        <div class="card">
          <Markdown text={text} />
        </div>
      )}
    </>
  );
}

function Code({ text, ending }: { text: string; ending: string }) {
  const short = text.length <= LONG;
  const lines = useMemo(() => text.split("\n"), [text]);
  const pieces = useMemo(() => (short ? highlight(text, ending) : []), [text, ending]);
  // A line end at the end ends the last line, and begins none.
  const count = lines.at(-1) === "" ? lines.length - 1 : lines.length;
  if (!short) {
    const items = lines.slice(0, count).map((line, at) => ({ at: at + 1, line }));
    return (
      <div class="long-text">
        <p class="faint">{t.files.lines(count)}</p>
        <VirtualList
          label={t.files.line}
          items={items}
          id={({ at }) => at}
          estimate={20}
          row={({ at, line }) => (
            <div class="numbered">
              <span class="faint number" aria-hidden="true">
                {at}
              </span>
              <code>{line}</code>
            </div>
          )}
        />
      </div>
    );
  }
  return (
    <div class="source" tabIndex={0} role="group" aria-label={t.files.source}>
      <pre aria-hidden="true" class="numbers">
        {Array.from({ length: count }, (_, at) => at + 1).join("\n")}
      </pre>
      <pre class="text">
        <code>{pieces.map(([kind, piece], at) => (kind ? <span key={at} class={`code-${kind}`}>{piece}</span> : piece))}</code>
      </pre>
    </div>
  );
}

function Cells({ text, ending, from }: { text: string; ending: string; from: number }) {
  const rows = useMemo(() => parse(text, separator(text, ending)), [text, ending]);
  const [head, ...body] = rows;
  const first = Math.min(Math.max(from, 1), Math.max(body.length, 1));
  const last = Math.min(first + ROWS - 1, body.length);
  const width = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const columns = Array.from({ length: width }, (_, at) => at);
  return (
    <div class="card">
      <div class="row">
        <span class="faint number" role="status">
          {t.files.rows(body.length ? first : 0, last, body.length)}
        </span>
        {body.length > ROWS && (
          <>
            <button type="button" class="small" disabled={first === 1} onClick={() => setQuery("row", String(Math.max(1, first - ROWS)))}>
              {t.files.earlier}
            </button>
            <button type="button" class="small" disabled={last === body.length} onClick={() => setQuery("row", String(last + 1))}>
              {t.files.later}
            </button>
          </>
        )}
      </div>
      <div class="scroll" role="group" aria-label={t.files.rendered} tabIndex={0}>
        <table class="cells">
          <thead>
            <tr>
              {columns.map((at) => (
                <th key={at} scope="col">
                  {head?.[at] || <span class="hidden">{at + 1}</span>}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {body.slice(first - 1, last).map((row, at) => (
              <tr key={first + at}>
                {columns.map((column) => (
                  <td key={column}>{row[column] ?? ""}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
