// A document becomes one of another kind, beside it or where it is said.

import { useState } from "preact/hooks";
import { type ApiError, post } from "../api";
import { Field, Problem } from "../components/basics";
import { Dialog, tell } from "../components/dialog";
import { t } from "../texts";
import type { Entry } from "../types";
import { ending } from "./paths";

type Format = keyof typeof t.files.formats;
const FORMATS = Object.keys(t.files.formats) as Format[];
const ENDINGS: Record<Format, string[]> = { markdown: ["md", "markdown"], html: ["html", "htm"], pdf: ["pdf"], docx: ["docx"] };

export function ConvertDialog({ entry: { relative_path: path, name }, close, done }: { entry: Entry; close: () => void; done: (path: string) => void }) {
  const formats = FORMATS.filter((format) => !ENDINGS[format].includes(ending(path)));
  const [format, setFormat] = useState(formats[0]!);
  const [to, setTo] = useState("");
  const [remove, setRemove] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const send = async () => {
    if (busy) return;
    setBusy(true);
    setError(undefined);
    try {
      const body = { path, output_format: format, delete_original: remove, ...(to.trim() && { destination_path: to.trim() }) };
      const { file } = await post<{ file: Entry }>("/api/workspace/convert", body);
      close();
      tell(t.files.made(file.relative_path));
      done(file.relative_path);
    } catch (err) {
      setError(err as ApiError);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t.files.convertTitle(name)} close={close} class="narrow">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <Field label={t.files.format}>
          <select autofocus value={format} onChange={(event) => setFormat(event.currentTarget.value as Format)}>
            {formats.map((one) => (
              <option key={one} value={one}>
                {t.files.formats[one]}
              </option>
            ))}
          </select>
        </Field>
        <Field label={t.files.path} hint={t.files.convertPathHint}>
          <input type="text" maxLength={2000} autocomplete="off" value={to} onInput={(event) => setTo(event.currentTarget.value)} />
        </Field>
        <label class="inline">
          <input type="checkbox" checked={remove} onChange={(event) => setRemove(event.currentTarget.checked)} /> {t.files.convertRemove}
        </label>
        {error && <Problem error={error} />}
        <footer>
          <button type="button" onClick={close}>
            {t.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy}>
            {busy ? t.files.working : t.files.convert}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
