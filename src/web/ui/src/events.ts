// The one stream of what happens. Nothing here asks again and again: pages say what they care for and are told.

import { useEffect, useState } from "preact/hooks";
import type { StreamEvent } from "./types";

const KINDS = [
  "job.created",
  "job.status",
  "job.log",
  "effect.state",
  "mail.received",
  "approval",
  "workspace.changed",
  "config.reloaded",
  "stop",
  "resume",
  "gap",
  "shutdown",
];

/** `since` and `retryAt` are milliseconds of the epoch. */
export type Connection =
  | { state: "connecting" }
  | { state: "live" }
  | { state: "waiting"; since: number; retryAt: number };

type Listener = (event: StreamEvent) => void;

const listeners = new Set<Listener>();
const watchers = new Set<(connection: Connection) => void>();
let connection: Connection = { state: "connecting" };
let source: EventSource | undefined;
let last: string | undefined;
let failures = 0;
let offlineSince = 0;

function become(next: Connection) {
  connection = next;
  for (const watcher of watchers) watcher(next);
}

/** Opens the stream; after that it keeps itself open. */
export function connect() {
  source?.close();
  source = new EventSource("/api/events" + (last ? `?last_event_id=${last}` : ""));
  source.onopen = () => {
    const late = failures > 0;
    failures = offlineSince = 0;
    become({ state: "live" });
    // Whatever was missed is replayed, unless it is the first time and nothing was seen yet.
    if (late && !last) tell({ id: 0, kind: "gap", job_id: null, data: {}, at: "" });
  };
  source.onerror = () => {
    source?.close();
    failures += 1;
    offlineSince ||= Date.now();
    const wait = Math.min(1000 * 2 ** Math.min(failures - 1, 5), 30_000);
    become({ state: "waiting", since: offlineSince, retryAt: Date.now() + wait });
    setTimeout(connect, wait);
  };
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      const message = event as MessageEvent<string>;
      last = message.lastEventId || last;
      tell(JSON.parse(message.data) as StreamEvent);
    });
  }
  source.onmessage = (event) => {
    last = event.lastEventId || last;
  };
}

function tell(event: StreamEvent) {
  for (const listener of listeners) listener(event);
}

/** Calls `listener` for every event while the component is there. */
export function useEvents(listener: Listener, dependencies: unknown[] = []) {
  useEffect(() => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, dependencies);
}

export function useConnection(): Connection {
  const [now, set] = useState(connection);
  useEffect(() => {
    watchers.add(set);
    set(connection);
    return () => void watchers.delete(set);
  }, []);
  return now;
}
