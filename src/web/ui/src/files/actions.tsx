// What can be done with a file or folder, the same in every list.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { type ApiError, may, post, query, remove, request } from "../api";
import { Field, Problem, toClipboard } from "../components/basics";
import { attempt, Dialog, tell } from "../components/dialog";
import { Icon } from "../components/icons";
import { go } from "../router";
import { t } from "../texts";
import type { Entry } from "../types";
import { ConvertDialog } from "./convert";
import { address, downloadOf, ending, isDocument, isScript, join, nameOf, parent } from "./paths";
import { RunDialog } from "./run";

/** Asks for a path and does something with it; stays open, with the reason, when that fails. */
export function AskPath(props: {
  title: string;
  label: string;
  value: string;
  yes: string;
  hint?: string;
  work: (path: string) => Promise<unknown>;
  close: () => void;
}) {
  const [value, set] = useState(props.value);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const send = async () => {
    if (busy || !value.trim()) return;
    setBusy(true);
    setError(undefined);
    try {
      await props.work(value.trim());
      props.close();
    } catch (err) {
      setError(err as ApiError);
      setBusy(false);
    }
  };
  return (
    <Dialog title={props.title} close={props.close} class="narrow">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <Field label={props.label} hint={props.hint ?? t.files.pathHint}>
          <input type="text" required autofocus maxLength={2000} autocomplete="off" value={value} onInput={(event) => set(event.currentTarget.value)} />
        </Field>
        {error && <Problem error={error} />}
        <footer>
          <button type="button" onClick={props.close}>
            {t.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy}>
            {busy ? t.files.working : props.yes}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

export type Doing = { what: "rename" | "copy" | "zip" | "unzip" | "convert" | "run"; entry: Entry } | undefined;

/** The dialog of an action that needs one. `done` hears where the thing is then. */
export function ActionDialog({ doing, close, done }: { doing: Doing; close: () => void; done: (path: string) => void }) {
  if (!doing) return null;
  if (doing.what === "run") return <RunDialog entry={doing.entry} close={close} />;
  if (doing.what === "convert") return <ConvertDialog entry={doing.entry} close={close} done={done} />;
  const { relative_path: path } = doing.entry;
  const transfer = (to: string) => ({ source_path: path, destination_path: to });
  const all = {
    rename: {
      title: t.files.rename,
      label: t.files.path,
      value: path,
      yes: t.files.move,
      work: async (to: string) => (await request<{ item: Entry }>("PATCH", "/api/workspace/path", transfer(to))).item,
    },
    copy: {
      title: t.files.copy,
      label: t.files.path,
      value: beside(path),
      yes: t.files.make,
      work: async (to: string) => (await post<{ item: Entry }>("/api/workspace/copy", transfer(to))).item,
    },
    zip: {
      title: t.files.zip,
      label: t.files.path,
      value: `${path}.zip`,
      yes: t.files.make,
      work: async (to: string) => (await post<{ file: Entry }>("/api/workspace/zip", { path, destination_path: to })).file,
    },
    unzip: {
      title: t.files.unzip,
      label: t.files.extractTo,
      value: path.replace(/\.[^./]+$/, ""),
      yes: t.files.unzip,
      work: async (to: string) => (await post<{ folder: Entry }>("/api/workspace/unzip", { path, destination_folder: to })).folder,
    },
  }[doing.what];
  const work = async (to: string) => {
    const { relative_path: now } = await all.work(to);
    tell(doing.what === "rename" ? t.files.moved(now) : t.files.made(now));
    done(now);
  };
  return <AskPath {...all} work={work} close={close} />;
}

/** A name for a copy. */
function beside(path: string): string {
  const end = ending(path);
  return end ? `${path.slice(0, -end.length - 1)} copy.${end}` : `${path} copy`;
}

/** Into the trash, with a way back. */
export async function trash(paths: string[], done?: () => void) {
  const lying: string[] = [];
  await attempt(async () => {
    for (const path of paths) {
      const { trash_path } = await remove<{ trash_path?: string }>("/api/workspace/file" + query({ path }));
      if (trash_path) lying.push(trash_path);
    }
  });
  if (!lying.length) return;
  const undo = () =>
    void attempt(async () => {
      for (const trash_path of lying.reverse()) await post("/api/workspace/restore", { trash_path });
    }, t.files.restored(lying.length === 1 ? paths[0]! : String(lying.length)));
  tell(lying.length === 1 ? t.files.trashed(nameOf(paths[0]!)) : t.files.trashedMany(lying.length), undo);
  done?.();
}

/** The menu of one entry. */
export function More({ entry, act }: { entry: Entry; act: (doing: Doing) => void }) {
  const [open, set] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const { relative_path: path, name, is_dir } = entry;
  useLayoutEffect(() => {
    if (!open) return;
    const drop = box.current!.querySelector<HTMLElement>(".drop")!;
    const { bottom, height } = drop.getBoundingClientRect();
    const place = drop.closest("main")!.getBoundingClientRect();
    // Upwards where there is no room below.
    drop.classList.toggle("up", bottom > place.bottom && bottom - 2 * height > place.top);
    drop.querySelector<HTMLElement>("a, button")?.focus();
    const away = (event: Event) => box.current?.contains(event.target as Node) || set(false);
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, [open]);
  const close = () => {
    set(false);
    box.current?.querySelector<HTMLElement>("button")?.focus();
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape" && open) {
      event.stopPropagation();
      close();
    } else if (step && open) {
      event.preventDefault();
      event.stopPropagation();
      const all = [...box.current!.querySelectorAll<HTMLElement>(".drop a, .drop button")];
      all[(all.indexOf(document.activeElement as HTMLElement) + step + all.length) % all.length]?.focus();
    }
  };
  const item = (text: string, work: () => void) => (
    <button
      type="button"
      class="item"
      onClick={() => {
        close();
        work();
      }}
    >
      {text}
    </button>
  );
  return (
    <div class="menu" ref={box} onKeyDown={press}>
      <button type="button" class="icon" aria-expanded={open} aria-label={t.files.more(name)} title={t.files.actions} onClick={() => set(!open)}>
        <Icon name="more" />
      </button>
      {open && (
        <div class="drop items" onFocusOut={(event) => event.relatedTarget && !box.current?.contains(event.relatedTarget as Node) && set(false)}>
          <a class="item" href={downloadOf(path)} download onClick={close}>
            {is_dir ? t.files.downloadZip : t.files.download}
          </a>
          {may("operator") && (
            <>
              {isScript(path) && item(t.files.run, () => act({ what: "run", entry }))}
              {item(t.files.rename, () => act({ what: "rename", entry }))}
              {item(t.files.copy, () => act({ what: "copy", entry }))}
              {item(t.files.zip, () => act({ what: "zip", entry }))}
              {isDocument(path) && item(t.files.convert, () => act({ what: "convert", entry }))}
              {ending(path) === "zip" && item(t.files.unzip, () => act({ what: "unzip", entry }))}
            </>
          )}
          {item(t.files.copyPath, () => void toClipboard(path).then(() => tell(t.copied)))}
          {may("operator") && item(t.files.remove, () => void trash([path], () => here(path) && go(address(parent(path)))))}
        </div>
      )}
    </div>
  );
}

/** Whether a path is what the page shows. */
const here = (path: string) => new URLSearchParams(location.search).get("path") === path;

/** A new file or folder in a folder. */
export function Make({ what, folder, close }: { what: "file" | "folder"; folder: string; close: () => void }) {
  const work = async (name: string) => {
    const path = join(folder, name.replace(/^\/+/, ""));
    if (what === "folder") {
      await post("/api/workspace/folders", { path });
      tell(t.files.made(path));
    } else {
      await request("PUT", "/api/workspace/file", { path, content: "", create_only: true });
      go(address(path, { tab: "edit" }));
    }
  };
  return (
    <AskPath
      title={what === "file" ? t.files.newFile : t.files.newFolder}
      label={t.files.name}
      hint=""
      value=""
      yes={t.files.make}
      work={work}
      close={close}
    />
  );
}
