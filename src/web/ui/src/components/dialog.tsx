// Dialogs, and the messages that tell what came of something.

import { type ComponentChildren, render } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { t } from "../texts";
import { Copy } from "./basics";
import { Icon } from "./icons";

export function Dialog(props: { title: string; close: () => void; children: ComponentChildren; class?: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    dialog.current?.showModal();
    return () => dialog.current?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={props.class}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        props.close();
      }}
      onClick={(event) => event.target === dialog.current && props.close()}
    >
      <header>
        <h2 id={heading}>{props.title}</h2>
        <button type="button" class="icon" onClick={props.close} aria-label={t.close}>
          <Icon name="cross" />
        </button>
      </header>
      {props.children}
    </dialog>
  );
}

/** Asks before something is done that cannot be taken back. */
export function confirm(question: { title: string; text: string; yes: string }): Promise<boolean> {
  return new Promise((resolve) => {
    const place = document.createElement("div");
    document.body.append(place);
    const end = (answer: boolean) => {
      render(null, place);
      place.remove();
      resolve(answer);
    };
    render(
      <Dialog title={question.title} close={() => end(false)} class="narrow">
        <p>{question.text}</p>
        <footer>
          <button type="button" onClick={() => end(false)} autofocus>
            {t.cancel}
          </button>
          <button type="button" class="danger" onClick={() => end(true)}>
            {question.yes}
          </button>
        </footer>
      </Dialog>,
      place,
    );
  });
}

interface Note {
  id: number;
  text: string;
  error?: ApiError;
  /** What takes it back. */
  undo?: () => void;
}

let notes: Note[] = [];
let changed: (notes: Note[]) => void = () => {};
let next = 0;

function show(list: Note[]) {
  notes = list;
  changed(notes);
}

/** Tells shortly what came of something. */
export function tell(text: string, undo?: () => void) {
  const id = next++;
  show([...notes, { id, text, ...(undo && { undo }) }]);
  setTimeout(() => show(notes.filter((note) => note.id !== id)), undo ? 20_000 : 6000);
}

/** Tells that something failed, until it is read. */
export function fail(error: ApiError) {
  show([...notes, { id: next++, text: error.title, error }]);
}

export function Notes() {
  const [list, set] = useState(notes);
  changed = set;
  return (
    <div class="notes" role="status" aria-live="polite">
      {list.map(({ id, text, error, undo }) => (
        <div key={id} class={error ? "note bad" : "note"}>
          <span>
            <Icon name={error ? "warning" : "check"} /> {text}
            {error?.hint && <small>{error.hint}</small>}
            {error?.requestId && (
              <small>
                {t.error.request} <code>{error.requestId}</code> <Copy text={error.requestId} />
              </small>
            )}
          </span>
          {undo && (
            <button
              type="button"
              class="small"
              onClick={() => {
                show(notes.filter((note) => note.id !== id));
                undo();
              }}
            >
              {t.undo}
            </button>
          )}
          <button type="button" class="icon small" aria-label={t.close} onClick={() => show(notes.filter((note) => note.id !== id))}>
            <Icon name="cross" />
          </button>
        </div>
      ))}
    </div>
  );
}

/** Does what a button says: shows it at once, and takes it back with a message when the daemon refuses. */
export async function attempt<T>(work: () => Promise<T>, done?: string, undo?: () => void): Promise<T | undefined> {
  try {
    const value = await work();
    if (done) tell(done);
    return value;
  } catch (err) {
    undo?.();
    fail(err as ApiError);
    return undefined;
  }
}
