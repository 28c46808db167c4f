// The runs of a job, as its log tells of them: from when a worker took it until it was let go.

import type { Fields, LogRow } from "./types";

/** Milliseconds of the epoch. */
export interface Run {
  start: number;
  end: number;
  /** Sequences of its first row and its last. */
  first: number;
  last: number;
}

/** Oldest first. Where the log begins in the middle of a run, that one begins with what is there of it. */
export function runs(rows: LogRow[]): Run[] {
  const all: Run[] = [];
  let open: Run | undefined;
  for (const { sequence, event_type, input_data, duration_ms, created_at } of rows) {
    const end = Date.parse(created_at);
    const start = end - (duration_ms ?? 0);
    const change = event_type === "status_change" ? (input_data as Fields | null) : null;
    const begins = change?.to === "running";
    if (begins || (!open && duration_ms !== null)) all.push((open = { start, end, first: sequence, last: sequence }));
    if (!open) continue;
    open.end = Math.max(open.end, end);
    open.last = sequence;
    // A step that began before what is there.
    if (all.length === 1 && open.first === rows[0]!.sequence) open.start = Math.min(open.start, start);
    if (change && !begins) open = undefined;
  }
  return all;
}

/** The run that a row is of. */
export function runOf(all: Run[], sequence: number): Run | undefined {
  let [from, to] = [0, all.length - 1];
  while (from <= to) {
    const middle = (from + to) >> 1;
    const run = all[middle]!;
    if (sequence < run.first) to = middle - 1;
    else if (sequence > run.last) from = middle + 1;
    else return run;
  }
  return undefined;
}
