// Two texts, line by line.

import { useMemo } from "preact/hooks";
import { diff } from "../files/diff";
import { t } from "../texts";

const MARKS = { same: " ", added: "+", removed: "−", skipped: "" };

/** What has to be taken out of one text, and put in, to get the other. */
export function Difference({ before, after, label = t.files.difference }: { before: string; after: string; label?: string }) {
  const lines = useMemo(() => diff(before, after), [before, after]);
  if (before === after) return <p class="faint">{t.files.same}</p>;
  if (!lines) return <p class="faint">{t.files.tooDifferent}</p>;
  return (
    <div class="diff" role="group" aria-label={label} tabIndex={0}>
      {lines.map(({ kind, text, count }, at) => (
        <div key={at} class={kind}>
          {kind === "skipped" ? (
            <span class="faint">⋯ {t.files.unchanged(count ?? 0)}</span>
          ) : (
            <>
              <span aria-hidden="true">{MARKS[kind]}</span>
              {kind !== "same" && <span class="hidden">{kind === "added" ? t.files.added : t.files.removed}: </span>}
              <code>{text}</code>
            </>
          )}
        </div>
      ))}
    </div>
  );
}
