// Files on their way up: a few at a time, each with its progress and a way to stop it. They go on while one looks at
// other pages.

import { useEffect, useState } from "preact/hooks";
import { ApiError, query } from "../api";
import { confirm } from "../components/dialog";
import { Icon, type IconName } from "../components/icons";
import { bytes } from "../format";
import { t } from "../texts";
import { upload } from "../upload";
import { address, join } from "./paths";

/** At once. */
const PARALLEL = 3;
/** From here on it is asked whether it is meant. */
const [MANY, MUCH] = [50, 200 * 1024 * 1024];

type State = keyof typeof t.files.uploadState;

interface Item {
  id: number;
  path: string;
  file: File;
  state: State;
  share: number;
  replace: boolean;
  error?: ApiError;
  control: AbortController;
}

let items: Item[] = [];
let next = 0;
const watchers = new Set<() => void>();
const active = ({ state }: Item) => state === "waiting" || state === "running";

function change(id: number, to: Partial<Item>) {
  items = items.map((item) => (item.id === id ? { ...item, ...to } : item));
  for (const watcher of watchers) watcher();
}

/** A file, and where it goes below the folder that is open. */
export interface Picked {
  file: File;
  name: string;
}

export async function start(folder: string, picked: Picked[]) {
  const size = picked.reduce((sum, { file }) => sum + file.size, 0);
  if (picked.length > MANY || size > MUCH) {
    const yes = await confirm({ title: t.files.manyTitle(picked.length, bytes(size)), text: t.files.manyText, yes: t.files.upload });
    if (!yes) return;
  }
  const added = picked.map(({ file, name }): Item => {
    return { id: next++, path: join(folder, name), file, state: "waiting", share: 0, replace: false, control: new AbortController() };
  });
  items = [...items, ...added];
  for (const watcher of watchers) watcher();
  pump();
}

function pump() {
  let running = items.filter(({ state }) => state === "running").length;
  for (const item of items) {
    if (running >= PARALLEL) return;
    if (item.state !== "waiting") continue;
    running += 1;
    void send(item);
  }
}

async function send({ id, path, file, replace, control }: Item) {
  change(id, { state: "running", share: 0 });
  try {
    const to = "/api/workspace/upload" + query({ path, overwrite: replace ? "true" : undefined });
    await upload(to, file, (share) => change(id, { share }), control.signal);
    change(id, { state: "done", share: 1 });
  } catch (err) {
    if (control.signal.aborted) change(id, { state: "cancelled" });
    else change(id, { state: (err as ApiError).status === 409 ? "exists" : "failed", error: err as ApiError });
  }
  pump();
}

function again(id: number, replace: boolean) {
  change(id, { state: "waiting", replace, control: new AbortController() });
  pump();
}

function cancel(wanted: (item: Item) => boolean) {
  for (const { id, control, state } of items.filter((item) => active(item) && wanted(item))) {
    control.abort();
    if (state === "waiting") change(id, { state: "cancelled" });
  }
}

/** Whether something is still on its way. */
export const isBusy = () => items.some(active);

const ICONS: Record<State, IconName> = { waiting: "clock", running: "play", done: "check", failed: "cross", cancelled: "ban", exists: "question" };
const COLOURS: Record<State, string> = { waiting: "", running: "running", done: "completed", failed: "failed", cancelled: "", exists: "waiting" };

export function Uploads() {
  const [, set] = useState(0);
  useEffect(() => {
    const watcher = () => set((count) => count + 1);
    watchers.add(watcher);
    return () => void watchers.delete(watcher);
  }, []);
  if (!items.length) return null;
  const done = items.filter(({ state }) => state === "done").length;
  return (
    <section class="card uploads" aria-label={t.files.uploads}>
      <header>
        <h2>{t.files.uploads}</h2>
        <span class="faint" role="status">
          {t.files.uploading(done, items.length)}
        </span>
        <span class="space" />
        {isBusy() ? (
          <button type="button" class="small" onClick={() => cancel(() => true)}>
            {t.files.cancelAll}
          </button>
        ) : (
          <button
            type="button"
            class="small"
            onClick={() => {
              items = [];
              set((count) => count + 1);
            }}
          >
            {t.files.clearDone}
          </button>
        )}
      </header>
      <ul class="plain">
        {items.map((item) => (
          <li key={item.id}>
            <Row item={item} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Row({ item: { id, path, file, state, share, error } }: { item: Item }) {
  const percent = Math.round(share * 100);
  return (
    <div class="upload">
      <span class={`state ${COLOURS[state]}`}>
        <Icon name={ICONS[state]} /> {t.files.uploadState[state]}
      </span>
      <span class="path">{state === "done" ? <a href={address(path)}>{path}</a> : path}</span>
      <span class="faint number">{state === "running" ? `${percent} %` : bytes(file.size)}</span>
      {state === "running" && <progress value={share} max={1} aria-label={path} aria-valuetext={`${percent} %`} />}
      {(state === "waiting" || state === "running") && (
        <button type="button" class="icon small" aria-label={t.files.cancelUpload(path)} onClick={() => cancel((item) => item.id === id)}>
          <Icon name="cross" />
        </button>
      )}
      {state === "exists" && (
        <button type="button" class="small" onClick={() => again(id, true)}>
          {t.files.replace}
        </button>
      )}
      {(state === "failed" || state === "cancelled") && (
        <button type="button" class="small" onClick={() => again(id, false)}>
          {t.files.again}
        </button>
      )}
      {state === "failed" && error && (
        <small class="bad">
          {error.title}
          {error.requestId && ` (${t.error.request} ${error.requestId})`}
        </small>
      )}
    </div>
  );
}

/** All files that were dropped, also those in folders. */
export async function dropped(transfer: DataTransfer): Promise<Picked[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => !!entry);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  const found: Picked[] = [];
  const enter = async (entry: FileSystemEntry): Promise<void> => {
    const name = entry.fullPath.replace(/^\//, "");
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      found.push({ file, name });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    // It gives them in portions, and none at the end.
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const inside of some) await enter(inside);
    }
  };
  for (const entry of entries) await enter(entry);
  return found;
}

/** Files of a picker; of a folder, with their place in it. */
export const pickedOf = (list: FileList): Picked[] => [...list].map((file) => ({ file, name: file.webkitRelativePath || file.name }));

