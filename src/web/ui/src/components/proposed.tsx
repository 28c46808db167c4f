// A call that somebody has to allow: what it would make of a file, against what the file is now.

import { type ApiError, get, query as queryOf } from "../api";
import { downloadOf } from "../files/paths";
import { MOST, NotShown, read } from "../files/text";
import { useLive } from "../live";
import { t } from "../texts";
import type { Approval, Entry, Fields } from "../types";
import { Problem, Skeleton } from "./basics";
import { Call } from "./decide";
import { Difference } from "./difference";

/** What a tool makes of the content of a file. */
const MAKES: Record<string, (before: string, args: Fields) => string> = {
  file_write: (_, { content }) => plain(content),
  file_append: (before, { content }) => before + plain(content),
  file_delete: () => "",
};

/** With plain line ends, as the present content is read. */
const plain = (content: unknown) => (typeof content === "string" ? content.replace(/\r\n?/g, "\n") : "");

export function Proposed({ approval: { tool, args } }: { approval: Approval }) {
  const makes = MAKES[tool];
  const fields = args !== null && typeof args === "object" && !Array.isArray(args) ? args : {};
  if (!makes || typeof fields.path !== "string") return <Call args={args} />;
  return (
    <>
      <p>
        <code>{fields.path}</code>
      </p>
      <Change path={fields.path} after={(before) => makes(before, fields)} deletes={tool === "file_delete"} />
      <details>
        <summary>{t.job.exactCall}</summary>
        <Call args={args} />
      </details>
    </>
  );
}

/** Where the file is none, or none that can be shown, what there is to say of it. */
type Present = { text: string; note?: string } | { note: string };

async function present(path: string, signal: AbortSignal): Promise<Present> {
  try {
    const { item } = await get<{ item: Entry }>("/api/workspace/metadata" + queryOf({ path }), signal);
    if (item.is_dir) return { note: t.job.isFolder };
    if (item.size_bytes > MOST) return { note: t.files.tooLongHint };
    return { text: (await read(downloadOf(path), signal)).text };
  } catch (err) {
    if (err instanceof NotShown) return { note: err.title };
    if ((err as ApiError).status === 404) return { text: "", note: t.job.newFile };
    throw err;
  }
}

function Change({ path, after, deletes }: { path: string; after: (before: string) => string; deletes: boolean }) {
  const now = useLive<Present>((signal) => present(path, signal), [path], ({ kind }) => kind === "workspace.changed");
  if (now.error) return <Problem error={now.error} retry={now.reload} />;
  if (!now.data) return <Skeleton lines={3} />;
  const note = deletes && "text" in now.data && !now.data.note ? t.job.toTrash : now.data.note;
  return (
    <>
      {note && <p class="faint">{note}</p>}
      {"text" in now.data && <Difference label={t.job.change} before={now.data.text} after={after(now.data.text)} />}
    </>
  );
}
