import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** A table that scrolls sideways where it does not fit; on a phone each row is a block of its own, whose cells name their columns. */
export function Table({ label, head, children }: { label: string; head: string[]; children: ComponentChildren }) {
  const body = useRef<HTMLTableSectionElement>(null);
  useLayoutEffect(() => {
    for (const { cells } of body.current!.rows) for (const cell of cells) cell.dataset.column = head[cell.cellIndex] ?? "";
  });
  return (
    <div class="scroll" role="group" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={body}>{children}</tbody>
      </table>
    </div>
  );
}
