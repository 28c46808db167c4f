// Data of a page that is loaded, and loaded again when an event says that it is another.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "./api";
import { useEvents } from "./events";
import type { StreamEvent } from "./types";

export interface Live<T> {
  data: T | undefined;
  error: ApiError | undefined;
  reload: () => void;
  /** Shows a value before the daemon has confirmed it. */
  set: (value: T) => void;
}

/** Events that come within this time, in milliseconds, are answered by one load. */
const GATHER = 300;

export function useLive<T>(
  load: (signal: AbortSignal) => Promise<T>,
  key: unknown[],
  concerns: (event: StreamEvent) => boolean = () => false,
): Live<T> {
  const [data, set] = useState<T>();
  const [error, setError] = useState<ApiError>();
  const running = useRef<AbortController>();
  const timer = useRef<number>();
  const reload = useCallback(() => {
    running.current?.abort();
    const control = new AbortController();
    running.current = control;
    load(control.signal).then(
      (value) => {
        if (control.signal.aborted) return;
        set(value);
        setError(undefined);
      },
      (err: ApiError) => control.signal.aborted || setError(err),
    );
  }, key);
  useEffect(() => {
    set(undefined);
    setError(undefined);
    reload();
    return () => {
      running.current?.abort();
      clearTimeout(timer.current);
      timer.current = undefined;
    };
  }, key);
  useEvents((event) => {
    if (event.kind !== "gap" && !concerns(event)) return;
    timer.current ??= window.setTimeout(() => {
      timer.current = undefined;
      reload();
    }, GATHER);
  }, key);
  return { data, error, reload, set };
}
