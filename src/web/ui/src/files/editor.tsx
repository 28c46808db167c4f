// Editing a text. It is loaded whole and saved whole; the version that it was made from has to be there still; and what
// is not saved is kept as a draft.

import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get, post, query, remove } from "../api";
import { Problem, Skeleton, Time } from "../components/basics";
import { attempt, confirm, fail, tell } from "../components/dialog";
import { Difference } from "../components/difference";
import { Icon } from "../components/icons";
import { go } from "../router";
import { t } from "../texts";
import type { Entry } from "../types";
import { upload } from "../upload";
import { AskPath } from "./actions";
import { Parts, split } from "./parts";
import { address, changed } from "./paths";
import { loadText, NotShown, type Text, written } from "./text";
import { NoText } from "./view";

/** After the last change, in milliseconds. */
const DRAFT_AFTER = 3000;
/** Characters of a text that drafts are kept of. */
const DRAFT_MOST = 4_000_000;
/** Height of a line of the field, in pixels. */
const LINE = 20;

const DRAFTS = "/api/workspace/drafts";
type Draft = Entry & { content: string };

export function Editor({ entry, gone }: { entry: Entry; gone: boolean }) {
  const path = entry.relative_path;
  const [loaded, setLoaded] = useState<Text>();
  const [error, setError] = useState<ApiError | NotShown>();
  const [draft, setDraft] = useState<Draft>();
  const load = async (signal?: AbortSignal) => {
    setError(undefined);
    try {
      const [text, { draft }] = await Promise.all([loadText(path, signal), get<{ draft: Draft | null }>(`${DRAFTS}/latest` + query({ path }), signal)]);
      if (signal?.aborted) return;
      setLoaded(text);
      setDraft(draft && draft.content !== text.text && BigInt(draft.mtime_ns) > BigInt(entry.mtime_ns) ? draft : undefined);
    } catch (err) {
      if (!signal?.aborted) setError(err as ApiError | NotShown);
    }
  };
  useEffect(() => {
    const control = new AbortController();
    void load(control.signal);
    return () => control.abort();
  }, [path]);
  if (error instanceof NotShown) return <NoText entry={entry} title={error.title} hint={error.hint} />;
  if (error) return <Problem error={error} retry={() => void load()} />;
  if (!loaded) return <Skeleton lines={12} />;
  return <Paper key={path} entry={entry} gone={gone} first={loaded} draft={draft} />;
}

/** The version that a file has, as the daemon names it. */
const tagOf = ({ mtime_ns, size_bytes }: Entry) => `"${mtime_ns}-${size_bytes}"`;

function Paper({ entry, gone, first, draft: found }: { entry: Entry; gone: boolean; first: Text; draft: Draft | undefined }) {
  const path = entry.relative_path;
  const area = useRef<HTMLTextAreaElement>(null);
  const base = useRef(first);
  const dirty = useRef(false);
  const timer = useRef<number>();
  /** Of which a draft was made last. */
  const last = useRef<string>();
  const [state, show] = useState<"clean" | "unsaved" | "saving">("clean");
  const [draft, setDraft] = useState(found);
  const [kept, setKept] = useState("");
  const [other, setOther] = useState(false);
  const [compared, compare] = useState<string>();
  const [saveAs, setSaveAs] = useState(false);
  const parts = useRef<string[]>();
  parts.current ??= split(first.text);
  const part = useRef(0);
  const [, turned] = useState(0);
  const now = () => parts.current!.join("");
  const fill = (to: number) => {
    part.current = Math.min(to, parts.current!.length - 1);
    area.current!.value = parts.current![part.current]!;
    turned((count) => count + 1);
  };
  const showPart = (to: number, from = 0, end = from) => {
    const field = area.current!;
    fill(to);
    field.focus();
    field.setSelectionRange(from, end);
    // As far down as the lines before it say.
    const before = field.value.slice(0, from).split("\n").length - 1;
    field.scrollTop = Math.max(0, before * LINE - field.clientHeight / 2);
  };

  const keep = async () => {
    window.clearTimeout(timer.current);
    timer.current = undefined;
    const content = now();
    if (!dirty.current || content.length > DRAFT_MOST || content === last.current) return;
    try {
      last.current = content;
      await post(DRAFTS, { path, content });
      setKept(new Date().toISOString());
    } catch (err) {
      fail(err as ApiError);
    }
  };
  const touch = () => {
    parts.current![part.current] = area.current!.value;
    dirty.current = true;
    show("unsaved");
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => void keep(), DRAFT_AFTER);
  };
  const put = (text: string) => {
    parts.current = split(text);
    fill(part.current);
  };
  const forget = () => {
    window.clearTimeout(timer.current);
    timer.current = last.current = undefined;
    setKept("");
    setDraft(undefined);
    return remove(DRAFTS + query({ path })).catch(() => undefined);
  };
  const isSaved = (text: Text) => {
    base.current = text;
    dirty.current = now() !== text.text;
    show(dirty.current ? "unsaved" : "clean");
    setOther(false);
    compare(undefined);
  };

  const save = async (tag = base.current.tag) => {
    if (state === "saving") return;
    const text = now();
    const { ends } = base.current;
    show("saving");
    try {
      const file = await upload("/api/workspace/upload" + query({ path, overwrite: "true" }), written(text, ends), () => {}, undefined, tag);
      isSaved({ text, ends: ends === "mixed" ? "\n" : ends, tag: tagOf(file) });
      await forget();
      tell(t.files.saved);
    } catch (err) {
      show("unsaved");
      const { status } = err as ApiError;
      if (status === 412 || status === 409) setOther(true);
      else fail(err as ApiError);
    }
  };
  const saveOver = async () => {
    if (!(await confirm({ title: t.files.overTitle, text: t.files.overText, yes: t.files.mine }))) return;
    await attempt(async () => {
      // What is there now is looked at once more: it is replaced, and nothing newer.
      const present = gone ? undefined : (await get<{ item: Entry }>("/api/workspace/metadata" + query({ path }))).item;
      await save(present ? tagOf(present) : "");
    });
  };
  const takeTheirs = async () => {
    await attempt(async () => {
      const text = await loadText(path);
      put(text.text);
      isSaved(text);
    });
  };
  const revert = async () => {
    if (!(await confirm({ title: t.files.revertTitle, text: t.files.revertText, yes: t.files.revert }))) return;
    put(base.current.text);
    dirty.current = false;
    await forget();
    isSaved(base.current);
  };
  const elsewhere = async (to: string) => {
    const file = await upload("/api/workspace/upload" + query({ path: to }), written(now(), base.current.ends), () => {});
    dirty.current = false;
    await forget();
    tell(t.files.made(file.relative_path));
    go(address(file.relative_path, { tab: "edit" }));
  };

  // Somebody else has written the file: shown at once if nothing was typed here, else it is for the person to say.
  const present = tagOf(entry);
  useEffect(() => {
    if (gone) setOther(true);
    else if (state !== "saving" && present !== base.current.tag) {
      if (dirty.current) setOther(true);
      else void takeTheirs();
    }
  }, [present, gone, state]);

  const latest = useRef(keep);
  latest.current = keep;
  useEffect(() => {
    const away = () => document.visibilityState === "hidden" && void latest.current();
    const leave = (event: BeforeUnloadEvent) => {
      if (!dirty.current) return;
      void latest.current();
      event.preventDefault();
    };
    document.addEventListener("visibilitychange", away);
    addEventListener("beforeunload", leave);
    return () => {
      document.removeEventListener("visibilitychange", away);
      removeEventListener("beforeunload", leave);
    };
  }, []);
  // Another page is looked at.
  useEffect(() => {
    return () => {
      window.clearTimeout(timer.current);
      const content = now();
      if (dirty.current && content.length <= DRAFT_MOST && content !== last.current) void post(DRAFTS, { path, content }).catch(() => undefined);
    };
  }, []);

  return (
    <div class="editor">
      {draft && (
        <div class="selection" role="region" aria-label={t.files.draft}>
          <span>
            {t.files.draft} <Time at={changed(draft)} />
          </span>
          <button
            type="button"
            class="small"
            onClick={() => {
              put(draft.content);
              setDraft(undefined);
              touch();
            }}
          >
            {t.files.takeDraft}
          </button>
          <button type="button" class="small" onClick={() => void forget()}>
            {t.files.dropDraft}
          </button>
        </div>
      )}
      {first.ends === "mixed" && <p class="faint">{t.files.mixed}</p>}
      {other && (
        <div class="problem" role="alert">
          <p>
            <Icon name="warning" /> <strong>{gone ? t.files.gone : t.files.conflict}</strong>
          </p>
          <div class="row">
            {!gone && (
              <>
                <button
                  type="button"
                  class="small"
                  onClick={() => void attempt(async () => compare((await loadText(path)).text))}
                >
                  {t.files.compare}
                </button>
                <button type="button" class="small" onClick={() => void takeTheirs()}>
                  {t.files.theirs}
                </button>
              </>
            )}
            <button type="button" class="small" onClick={() => void saveOver()}>
              {t.files.mine}
            </button>
            <button type="button" class="small" onClick={() => setSaveAs(true)}>
              {t.files.saveAs}
            </button>
          </div>
          {compared !== undefined && <Difference before={compared} after={now()} />}
        </div>
      )}
      <div class="row">
        <button type="button" class="primary" disabled={state === "saving"} onClick={() => void save()} aria-keyshortcuts="Control+S">
          {state === "saving" ? t.files.saving : t.files.save} <kbd>Ctrl S</kbd>
        </button>
        <button type="button" onClick={() => setSaveAs(true)}>
          {t.files.saveAs}
        </button>
        {state === "unsaved" && (
          <button type="button" onClick={() => void revert()}>
            {t.files.revert}
          </button>
        )}
        <span class="faint" role="status">
          {state === "unsaved"
            ? kept
              ? t.files.unsavedDraft(new Date(kept).toLocaleTimeString())
              : now().length > DRAFT_MOST
                ? t.files.noDraft
                : t.files.unsaved
            : state === "clean"
              ? t.files.clean
              : ""}
        </span>
      </div>
      {parts.current.length > 1 && <Parts parts={parts.current} part={part.current} mark={() => area.current?.selectionEnd ?? 0} show={showPart} />}
      <textarea
        ref={area}
        aria-label={t.files.text}
        spellcheck={false}
        wrap="off"
        defaultValue={parts.current[0]}
        onInput={touch}
        onKeyDown={(event) => {
          if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey)) return;
          event.preventDefault();
          if (event.shiftKey) setSaveAs(true);
          else void save();
        }}
      />
      {saveAs && <AskPath title={t.files.saveAs} label={t.files.path} value={path} yes={t.files.save} work={elsewhere} close={() => setSaveAs(false)} />}
    </div>
  );
}
