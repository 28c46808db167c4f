// The output of commands: colours as elements (ECMA-48, SGR), everything else that moves a cursor left out.

import type { ComponentChildren } from "preact";

const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

export function ansi(text: string): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let colour = "";
  let bold = false;
  // Progress that is drawn over itself ends as its last state.
  const settled = text.replace(/\r\n/g, "\n").replace(/[^\n]*\r(?!\n)/g, "");
  for (const part of settled.split(/(\u001b\[[0-9;]*m)/)) {
    const codes = /^\u001b\[([0-9;]*)m$/.exec(part)?.[1];
    if (codes !== undefined) {
      for (const code of codes.split(";").map(Number)) {
        if (code === 0) [colour, bold] = ["", false];
        else if (code === 1) bold = true;
        else if (code === 22) bold = false;
        else if (code === 39) colour = "";
        else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) colour = NAMES[code % 10]!;
      }
      continue;
    }
    const plain = part.replace(/\u001b(\[[0-9;?]*[A-Za-z]|\][^\u0007]*(\u0007|$)|.)/g, "").replace(/[\u0000-\u0008\u000b-\u001f]/g, "");
    if (!plain) continue;
    if (!colour && !bold) out.push(plain);
    else
      out.push(
        <span key={out.length} class={`${colour && `ansi-${colour}`}${bold ? " ansi-bold" : ""}`}>
          {plain}
        </span>,
      );
  }
  return out;
}
