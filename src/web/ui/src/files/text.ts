// Texts as they are read and written: whole, or not at all.

import { ApiError, send } from "../api";
import { bytes } from "../format";
import { t } from "../texts";
import { downloadOf } from "./paths";

/** Bytes of a text that is shown and edited. */
export const MOST = 16 * 1024 * 1024;

export interface Text {
  /** With plain line ends. */
  text: string;
  /** The version that it is, as an entity tag. */
  tag: string;
  ends: "\n" | "\r\n" | "mixed";
}

/** What is no text, or too long a one. */
export class NotShown extends Error {
  constructor(
    readonly title: string,
    readonly hint: string,
  ) {
    super(title);
  }
}

export async function loadText(path: string, signal?: AbortSignal): Promise<Text> {
  return read(downloadOf(path), signal);
}

export async function read(address: string, signal?: AbortSignal): Promise<Text> {
  const control = new AbortController();
  signal?.addEventListener("abort", () => control.abort());
  const response = await send("GET", address, { signal: control.signal });
  const size = Number(response.headers.get("Content-Length"));
  const tooLong = (size: number) => new NotShown(t.files.tooLong(bytes(size), bytes(MOST)), t.files.tooLongHint);
  if (size > MOST) {
    control.abort();
    throw tooLong(size);
  }
  let content: ArrayBuffer;
  try {
    content = await response.arrayBuffer();
  } catch (err) {
    if (signal?.aborted) throw err;
    // It ended before its end: nothing of it is taken.
    throw new ApiError(0, "unreachable", t.error.unreachable, t.error.unreachableHint, undefined);
  }
  // A proxy may have packed it, and said another length or none.
  if (content.byteLength > MOST) throw tooLong(content.byteLength);
  const text = decode(content);
  const plain = text.replaceAll("\r\n", "\n");
  const returns = text.length - plain.length;
  const lines = returns ? plain.split("\n").length - 1 : 0;
  const mixed = plain.includes("\r") || (returns > 0 && returns !== lines);
  return {
    text: plain.replaceAll("\r", "\n"),
    tag: response.headers.get("ETag") ?? "",
    ends: mixed ? "mixed" : returns ? "\r\n" : "\n",
  };
}

function decode(content: ArrayBuffer): string {
  try {
    // A byte order mark is a character of the text, and is written again.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
    if (!text.includes("\0")) return text;
  } catch {
    // not UTF-8
  }
  throw new NotShown(t.files.notText, t.files.notTextHint);
}

/** A text with the line ends that its file has. */
export const written = (text: string, ends: Text["ends"]) => new Blob([ends === "\r\n" ? text.replaceAll("\n", "\r\n") : text]);
