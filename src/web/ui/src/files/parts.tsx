// A text that is too long for one field: it is edited a part at a time, and is one text all the same.

import { useState } from "preact/hooks";
import { Icon } from "../components/icons";
import { integer } from "../format";
import { t } from "../texts";

/** Characters of a part; fields of browsers become slow beyond a few of these. */
const PART = 200_000;

/** The parts of a text, each a number of whole lines if lines are not longer than a part. */
export function split(text: string): string[] {
  if (text.length <= 2 * PART) return [text];
  const parts: string[] = [];
  for (let from = 0; from < text.length; ) {
    const line = text.indexOf("\n", from + PART) + 1;
    let to = line && line <= from + 2 * PART ? line : from + PART;
    // Not between the halves of a character.
    if (/[\uDC00-\uDFFF]/.test(text[to] ?? "")) to += 1;
    if (text.length - to < PART / 2) to = text.length;
    parts.push(text.slice(from, to));
    from = to;
  }
  return parts;
}

/** Where a text is found next after a place, going round. */
function find(parts: string[], what: string, part: number, from: number): [part: number, at: number] | undefined {
  const here = parts[part]!.indexOf(what, from);
  if (here >= 0) return [part, here];
  for (let step = 1; step <= parts.length; step++) {
    const next = (part + step) % parts.length;
    const at = parts[next]!.indexOf(what);
    if (at >= 0) return [next, at];
  }
  return undefined;
}

interface Props {
  parts: string[];
  part: number;
  /** Where the mark is in the part. */
  mark: () => number;
  /** Shows a part, with this stretch of it marked. */
  show: (part: number, from?: number, to?: number) => void;
}

export function Parts({ parts, part, mark, show }: Props) {
  const [what, set] = useState("");
  const [none, setNone] = useState(false);
  const before = parts.slice(0, part).reduce((sum, text) => sum + text.split("\n").length - 1, 0);
  const next = () => {
    const found = what ? find(parts, what, part, mark()) : undefined;
    setNone(what !== "" && !found);
    if (found) show(found[0], found[1], found[1] + what.length);
  };
  return (
    <div class="row parts" role="group" aria-label={t.files.parts}>
      <button type="button" class="small" disabled={part === 0} onClick={() => show(part - 1)}>
        {t.files.partBefore}
      </button>
      <span class="number" role="status">
        {t.files.part(part + 1, parts.length, integer(before + 1))}
      </span>
      <button type="button" class="small" disabled={part === parts.length - 1} onClick={() => show(part + 1)}>
        {t.files.partAfter}
      </button>
      <form
        class="row"
        role="search"
        aria-label={t.files.findInText}
        onSubmit={(event) => {
          event.preventDefault();
          next();
        }}
      >
        <input type="search" aria-label={t.files.findInText} placeholder={t.files.findInText} value={what} onInput={(event) => set(event.currentTarget.value)} />
        <button type="submit" class="small" aria-label={t.files.findNext} title={t.files.findNext}>
          <Icon name="search" />
        </button>
      </form>
      <span class="faint" role="status">
        {none ? t.files.findNone : t.files.partsHint}
      </span>
    </div>
  );
}
