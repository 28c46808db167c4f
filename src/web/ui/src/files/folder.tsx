// One folder as a list, or what was found by name; and what can be done with the entries.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { get, may, query as queryOf, request } from "../api";
import { Empty, Problem, Skeleton, Time } from "../components/basics";
import { tell } from "../components/dialog";
import { Icon } from "../components/icons";
import { bytes } from "../format";
import { useLive } from "../live";
import { go, setQuery } from "../router";
import { t } from "../texts";
import type { Entry } from "../types";
import { ActionDialog, AskPath, type Doing, Make, More, trash } from "./actions";
import { address, changed, downloadOf, join, nameOf, parent } from "./paths";
import { isHidden, useListing } from "./tree";
import { dropped, pickedOf, start } from "./uploads";

type Sort = "name" | "size" | "changed";

const ORDERS: Record<Sort, (one: Entry, other: Entry) => number> = {
  name: (one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }),
  size: (one, other) => other.size_bytes - one.size_bytes,
  changed: (one, other) => (BigInt(other.mtime_ns) > BigInt(one.mtime_ns) ? 1 : -1),
};

export function FolderView({ path, query }: { path: string; query: URLSearchParams }) {
  const listing = useListing(path);
  const [over, setOver] = useState(false);
  const [making, make] = useState<"file" | "folder">();
  const files = useRef<HTMLInputElement>(null);
  const folders = useRef<HTMLInputElement>(null);
  const hidden = query.has("hidden");
  const entries = listing.data?.entries.filter(({ name }) => hidden || !isHidden(name));
  const change = may("operator");

  useLayoutEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key !== "n" || event.ctrlKey || event.metaKey || event.altKey || !change) return;
      if ((event.target as Element).closest?.("input, textarea, select, dialog")) return;
      event.preventDefault();
      make("file");
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);

  const pick = (input: HTMLInputElement) => {
    if (input.files?.length) void start(path, pickedOf(input.files));
    input.value = "";
  };
  return (
    <section
      class={`folder${over ? " over" : ""}`}
      aria-label={nameOf(path)}
      onDragOver={(event) => {
        if (!change || !event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => event.currentTarget.contains(event.relatedTarget as Node) || setOver(false)}
      onDrop={(event) => {
        if (!change || !event.dataTransfer) return;
        event.preventDefault();
        setOver(false);
        void dropped(event.dataTransfer).then((picked) => start(path, picked));
      }}
    >
      <div class="row actions">
        {change && (
          <>
            <input ref={files} type="file" multiple class="hidden" tabIndex={-1} aria-hidden="true" onChange={(event) => pick(event.currentTarget)} />
            <input
              ref={(input) => {
                folders.current = input;
                input?.setAttribute("webkitdirectory", "");
              }}
              type="file"
              class="hidden"
              tabIndex={-1}
              aria-hidden="true"
              onChange={(event) => pick(event.currentTarget)}
            />
            <button type="button" class="primary" onClick={() => files.current?.click()}>
              <Icon name="upload" /> {t.files.upload}
            </button>
            <button type="button" onClick={() => folders.current?.click()}>
              {t.files.uploadFolder}
            </button>
            <button type="button" onClick={() => make("file")} aria-keyshortcuts="n">
              <Icon name="plus" /> {t.files.newFile}
            </button>
            <button type="button" onClick={() => make("folder")}>
              {t.files.newFolder}
            </button>
          </>
        )}
        <a class="button" href={downloadOf(path)} download>
          <Icon name="download" /> {t.files.downloadZip}
        </a>
        <span class="space" />
        <label class="inline">
          <input type="checkbox" checked={hidden} onChange={(event) => setQuery("hidden", event.currentTarget.checked ? "1" : undefined)} />
          {t.files.hidden}
        </label>
      </div>
      {listing.error && <Problem error={listing.error} retry={listing.reload} />}
      {!listing.data && !listing.error && <Skeleton lines={8} />}
      {entries?.length === 0 && (
        <Empty title={t.files.emptyFolder}>
          <p>{t.files.emptyHint}</p>
        </Empty>
      )}
      {entries && entries.length > 0 && <Entries entries={entries} sort={(query.get("sort") as Sort) || "name"} />}
      {listing.data?.truncated && <p class="faint">{t.files.cut(listing.data.entries.length)}</p>}
      {over && <p class="drop-hint">{t.files.drop}</p>}
      {making && <Make what={making} folder={path} close={() => make(undefined)} />}
    </section>
  );
}

/** What has a name like that. */
export function Found({ what, folder }: { what: string; folder: string }) {
  const found = useLive<{ entries: Entry[]; truncated: boolean }>(
    (signal) => get("/api/workspace/search" + queryOf({ q: what, directory: folder, max_results: 200 }), signal),
    [what, folder],
    ({ kind }) => kind === "workspace.changed",
  );
  return (
    <section class="folder" aria-label={t.files.search}>
      {found.error && <Problem error={found.error} retry={found.reload} />}
      {!found.data && !found.error && <Skeleton lines={6} />}
      {found.data && (
        <p role="status" class="faint">
          {t.files.found(found.data.entries.length, what)} {found.data.truncated && t.files.foundMore}
        </p>
      )}
      {found.data?.entries.length === 0 && <Empty title={t.files.notFound} />}
      {found.data && found.data.entries.length > 0 && <Entries entries={found.data.entries} sort="name" wholePath />}
    </section>
  );
}

function Entries({ entries, sort, wholePath }: { entries: Entry[]; sort: Sort; wholePath?: boolean }) {
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const [doing, act] = useState<Doing>();
  const [moving, setMoving] = useState(false);
  const table = useRef<HTMLTableElement>(null);
  const order = ORDERS[sort] ?? ORDERS.name;
  const sorted = [...entries].sort((one, other) => Number(other.is_dir) - Number(one.is_dir) || order(one, other));
  const there = sorted.filter(({ relative_path }) => chosen.has(relative_path)).map(({ relative_path }) => relative_path);
  const toggle = (path: string) => {
    const next = new Set(chosen);
    if (!next.delete(path)) next.add(path);
    choose(next);
  };

  useLayoutEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest?.("input:not([type=checkbox]), textarea, select, dialog, .drop")) return;
      const links = [...table.current!.querySelectorAll<HTMLElement>("a.name")];
      const row = target.closest?.("tr")?.querySelector<HTMLElement>("a.name");
      const at = row ? links.indexOf(row) : -1;
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
      const entry = sorted[at];
      if (step && (row || event.key === "j" || event.key === "k")) links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
      else if (event.key === "x" && entry) toggle(entry.relative_path);
      else if (event.key === "Delete" && entry && may("operator")) void trash(there.length ? there : [entry.relative_path], () => choose(new Set()));
      else if (event.key === "F2" && entry && may("operator")) act({ what: "rename", entry });
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });

  const move = async (folder: string) => {
    for (const path of there) {
      await request("PATCH", "/api/workspace/path", { source_path: path, destination_path: join(folder, nameOf(path)) });
    }
    tell(t.files.moved(folder));
    choose(new Set());
  };
  const heading = (name: Sort, text: string) => (
    <th scope="col" aria-sort={name === sort ? (name === "name" ? "ascending" : "descending") : undefined} class={name}>
      {wholePath ? (
        text
      ) : (
        <button type="button" class="sort" onClick={() => setQuery("sort", name === "name" ? undefined : name)}>
          {text} {name === sort && <span aria-hidden="true">{name === "name" ? "↑" : "↓"}</span>}
        </button>
      )}
    </th>
  );
  return (
    <>
      {there.length > 0 && (
        <div class="selection" role="region" aria-label={t.files.selected(there.length)}>
          <span role="status">{t.files.selected(there.length)}</span>
          {may("operator") && (
            <>
              <button type="button" class="small" onClick={() => setMoving(true)}>
                {t.files.move}
              </button>
              <button type="button" class="small danger" onClick={() => void trash(there, () => choose(new Set()))}>
                {t.files.remove}
              </button>
            </>
          )}
          <button type="button" class="small" onClick={() => choose(new Set())}>
            {t.files.clear}
          </button>
        </div>
      )}
      <table class="entries" ref={table}>
        <thead>
          <tr>
            <td class="check" />
            {heading("name", t.files.name)}
            {heading("size", t.files.size)}
            {heading("changed", t.files.changed)}
            <td class="more" />
          </tr>
        </thead>
        <tbody>
          {sorted.map((entry) => {
            const { relative_path: path, name, is_dir } = entry;
            return (
              <tr key={path} class={chosen.has(path) ? "chosen" : ""}>
                <td class="check">
                  <label>
                    <input type="checkbox" checked={chosen.has(path)} aria-label={t.files.select(name)} onChange={() => toggle(path)} />
                  </label>
                </td>
                <td class="name">
                  <a class="name" href={address(path)}>
                    <Icon name={is_dir ? "files" : "file"} /> <span>{wholePath ? path : name}</span>
                    {is_dir && <span class="hidden"> ({t.files.folder})</span>}
                  </a>
                </td>
                <td class="size number">{is_dir ? "" : bytes(entry.size_bytes)}</td>
                <td class="changed">
                  <Time at={changed(entry)} />
                </td>
                <td class="more">
                  <More entry={entry} act={act} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <p class="faint keys">{t.files.keys}</p>
      <ActionDialog doing={doing} close={() => act(undefined)} done={(path) => doing?.what === "unzip" && go(address(path))} />
      {moving && (
        <AskPath
          title={t.files.moveMany(there.length)}
          label={t.files.into}
          hint=""
          value={parent(there[0] ?? "")}
          yes={t.files.move}
          work={move}
          close={() => setMoving(false)}
        />
      )}
    </>
  );
}
