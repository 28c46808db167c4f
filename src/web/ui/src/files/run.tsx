// Running a script: what is typed for it, and its transcript when it has ended.

import { useState } from "preact/hooks";
import { type ApiError, post } from "../api";
import { Field, Problem, useNow } from "../components/basics";
import { Dialog, tell } from "../components/dialog";
import { duration } from "../format";
import { go } from "../router";
import { t } from "../texts";
import type { Entry, ScriptReply } from "../types";
import { address } from "./paths";

export function RunDialog({ entry: { relative_path: path, name }, close }: { entry: Entry; close: () => void }) {
  const [command, setCommand] = useState("");
  const [workdir, setWorkdir] = useState("");
  const [timeout, setTimeout] = useState("");
  const [began, setBegan] = useState<number>();
  const [error, setError] = useState<ApiError>();
  const send = async () => {
    if (began) return;
    setError(undefined);
    setBegan(Date.now());
    try {
      const { file, error: problem } = await post<ScriptReply>("/api/workspace/script-runs", {
        path,
        ...(command.trim() && { command: words(command) }),
        ...(workdir.trim() && { workdir: workdir.trim() }),
        ...(timeout && { timeout_seconds: Number(timeout) }),
      });
      close();
      tell(problem ? t.files.notRun(problem) : t.files.ran);
      go(address(file.relative_path));
    } catch (err) {
      setError(err as ApiError);
      setBegan(undefined);
    }
  };
  return (
    <Dialog title={t.files.runTitle(name)} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <p class="faint">{t.files.runHint}</p>
        <Field label={t.files.command} hint={t.files.commandHint}>
          <input type="text" autofocus spellcheck={false} autocomplete="off" value={command} onInput={(event) => setCommand(event.currentTarget.value)} />
        </Field>
        <div class="columns">
          <Field label={t.files.workdir} hint={t.files.workdirHint}>
            <input type="text" spellcheck={false} autocomplete="off" value={workdir} onInput={(event) => setWorkdir(event.currentTarget.value)} />
          </Field>
          <Field label={t.files.timeout} hint={t.files.timeoutHint}>
            <input type="number" min={1} max={3600} value={timeout} onInput={(event) => setTimeout(event.currentTarget.value)} />
          </Field>
        </div>
        {error && <Problem error={error} />}
        <footer>
          {began && <Running since={began} />}
          <span class="space" />
          <button type="submit" class="primary" disabled={began !== undefined}>
            {began ? t.files.running : t.files.run}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function Running({ since }: { since: number }) {
  const now = useNow(1000);
  return (
    <span class="faint number" role="status">
      {t.files.running} {duration(Math.max(now - since, 0))}
    </span>
  );
}

/** The words of a command, as a shell splits them: by spaces, unless in quotes. Nothing is expanded. */
export function words(command: string): string[] {
  return [...command.matchAll(/(?:"((?:\\.|[^"\\])*)"|'([^']*)'|(\S))+/g)].map(([whole]) =>
    whole.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'/g, (_, double?: string, single?: string) => double?.replace(/\\(["\\])/g, "$1") ?? single ?? ""),
  );
}
