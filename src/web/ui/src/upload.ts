// Uploads with progress, which fetch does not tell of.

import { ApiError, csrf } from "./api";
import { t } from "./texts";
import type { Entry } from "./types";

/** Sends a file as it is; `progress` hears its share, 0 to 1. With `tag`, only the version that it names is replaced. */
export function upload(path: string, file: Blob, progress: (share: number) => void, signal?: AbortSignal, tag?: string): Promise<Entry> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    const token = csrf();
    if (token) request.setRequestHeader("X-CSRF-Token", token);
    if (tag) request.setRequestHeader("If-Match", tag);
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(event.total, 1));
    request.onerror = () => reject(new ApiError(0, "unreachable", t.error.unreachable, t.error.unreachableHint, undefined));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    request.onload = () => {
      let said: { file?: Entry; kind?: string; title?: string; hint?: string; request_id?: string } = {};
      try {
        said = JSON.parse(request.responseText);
      } catch {
        // Not the daemon's own answer, such as a proxy's.
      }
      if (request.status < 300 && said.file) return resolve(said.file);
      if (request.status === 401) location.reload();
      reject(new ApiError(request.status, said.kind ?? "unknown", said.title ?? t.error.status(request.status), said.hint, said.request_id));
    };
    if (signal?.aborted) return request.onabort(new ProgressEvent("abort"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
