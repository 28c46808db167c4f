// Paths of the workspace, and the addresses that show them.

import { query } from "../api";
import type { Entry } from "../types";

export const ROOT = ".";

export const parent = (path: string) => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ROOT);
export const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
export const join = (folder: string, name: string) => (folder === ROOT ? name : `${folder}/${name}`);
export const ending = (path: string) => /[^/.][^/]*\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? "";

/** Every folder on the way to a path, from the top on, without the path itself. */
export function above(path: string): string[] {
  const names = path === ROOT ? [] : path.split("/");
  return [ROOT, ...names.slice(0, -1).map((_, at) => names.slice(0, at + 1).join("/"))].slice(0, Math.max(names.length, 0));
}

/** The address of a folder or file; what holds for the whole page (hidden files, open folders) stays in it. */
export function address(path: string, more: Record<string, string | undefined> = {}): string {
  const now = new URLSearchParams(location.search);
  const kept = { hidden: now.get("hidden") ?? undefined, sort: now.get("sort") ?? undefined, open: now.get("open") ?? undefined };
  return "/workspace" + query({ path: path === ROOT ? undefined : path, ...kept, ...more });
}

export const downloadOf = (path: string) => "/api/workspace/download" + query({ path });
export const viewOf = ({ relative_path: path, mtime_ns }: Entry) => "/api/workspace/view" + query({ path, v: mtime_ns });

/** When it was changed, as dates are written. */
export const changed = ({ mtime_ns }: Entry) => new Date(Number(BigInt(mtime_ns) / 1_000_000n)).toISOString();

export type Kind = "markdown" | "table" | "image" | "pdf" | "zip" | "text";

const KINDS: Record<string, Kind> = {
  md: "markdown",
  markdown: "markdown",
  csv: "table",
  tsv: "table",
  png: "image",
  jpg: "image",
  jpeg: "image",
  gif: "image",
  webp: "image",
  avif: "image",
  bmp: "image",
  pdf: "pdf",
  zip: "zip",
};

/** What a file is by its name; that it is a text nobody knows before it is read. */
export const kindOf = (path: string): Kind => KINDS[ending(path)] ?? "text";

/** Documents that are no text, and that the daemon makes one of. */
export const isOffice = (path: string) => /^(docx?|odt|epub|rtf|pdf|xlsx|xlsm|xls|ods|pptx?|odp)$/.test(ending(path));

/** What can become a document of another kind. */
export const isDocument = (path: string) => isOffice(path) || /^(md|markdown|txt|html?|csv|tsv|json|xml)$/.test(ending(path));

/** What the daemon knows to run. */
export const isScript = (path: string) => /^(py|sh|bash|js|mjs|cjs|rb|pl)$/.test(ending(path));
