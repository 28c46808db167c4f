// A new job: what is to be done, with files, a time and a priority.

import { useRef, useState } from "preact/hooks";
import { ApiError, post, query } from "../api";
import { Field, Problem } from "../components/basics";
import { Dialog, tell } from "../components/dialog";
import { Icon } from "../components/icons";
import { bytes } from "../format";
import { go } from "../router";
import { t } from "../texts";
import { upload } from "../upload";
import type { Job } from "../types";

/** Takes what was typed as it stood when a dialog was closed by mistake. */
const DRAFT = "new-job";

export function NewJob({ close }: { close: () => void }) {
  const [subject, setSubject] = useState("");
  const [body, setBody] = useState(sessionStorage.getItem(DRAFT) ?? "");
  const [priority, setPriority] = useState("0");
  const [when, setWhen] = useState("");
  const [iterations, setIterations] = useState("");
  const [dollars, setDollars] = useState("");
  const [tokens, setTokens] = useState("");
  const [files, setFiles] = useState<File[]>([]);
  const [over, setOver] = useState(false);
  const [sending, setSending] = useState("");
  const [error, setError] = useState<ApiError>();
  const picker = useRef<HTMLInputElement>(null);
  const add = (list: FileList | null | undefined) => list?.length && setFiles([...list].reduce(withFile, files));

  const send = async () => {
    if (sending || !body.trim()) return;
    setError(undefined);
    setSending(t.submit.sending);
    try {
      const { job } = await post<{ job: Job }>("/api/jobs", {
        subject: subject.trim() || firstLine(body),
        body,
        priority: Number(priority),
        hold: files.length > 0,
        ...(when && { run_at: new Date(when).toISOString() }),
        ...(dollars && { max_job_cost_usd: Number(dollars) }),
        ...(iterations && { max_iterations_per_task: Number(iterations) }),
        ...(tokens && { max_tokens_per_task: Number(tokens) }),
      });
      if (files.length) await attach(job.id);
      sessionStorage.removeItem(DRAFT);
      tell(t.submit.sent(job.id));
      go(`/admin/jobs/${job.id}`);
    } catch (err) {
      setError(err as ApiError);
      setSending("");
    }
  };
  const attach = async (id: number) => {
    try {
      const attachments: string[] = [];
      for (const file of files) {
        setSending(t.submit.uploading(file.name));
        const path = `jobs/${id}/in/${file.name}`;
        await upload("/api/workspace/upload" + query({ path }), file, (share) => setSending(`${t.submit.uploading(file.name)} ${Math.round(share * 100)} %`));
        attachments.push(path);
      }
      await post(`/api/jobs/${id}/release`, { attachments });
    } catch (err) {
      // It would wait for its files for ever: whoever sends again makes another one.
      await post(`/api/jobs/${id}/cancel`).catch(() => {});
      throw err;
    }
  };

  return (
    <Dialog title={t.submit.title} close={close}>
      <form
        class={over ? "over" : ""}
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void send();
        }}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          add(event.dataTransfer?.files);
        }}
        onPaste={(event) => add(event.clipboardData?.files)}
      >
        <Field label={t.submit.body} hint={t.submit.bodyHint}>
          <textarea
            required
            autofocus
            rows={7}
            value={body}
            onInput={(event) => {
              setBody(event.currentTarget.value);
              sessionStorage.setItem(DRAFT, event.currentTarget.value);
            }}
          />
        </Field>
        <Field label={t.submit.subject} hint={t.submit.subjectHint}>
          <input type="text" maxLength={240} value={subject} placeholder={firstLine(body)} onInput={(event) => setSubject(event.currentTarget.value)} />
        </Field>
        <div class="columns">
          <Field label={t.submit.when} hint={t.submit.whenHint}>
            <input type="datetime-local" value={when} onInput={(event) => setWhen(event.currentTarget.value)} />
          </Field>
          <Field label={t.submit.priority} hint={t.submit.priorityHint}>
            <input type="number" min={-1000} max={1000} value={priority} onInput={(event) => setPriority(event.currentTarget.value)} />
          </Field>
          <Field label={t.submit.dollars} hint={t.submit.dollarsHint}>
            <input type="number" min={0} max={1_000_000} step="any" value={dollars} onInput={(event) => setDollars(event.currentTarget.value)} />
          </Field>
          <Field label={t.submit.iterations} hint={t.submit.limitHint}>
            <input type="number" min={1} max={10_000} value={iterations} onInput={(event) => setIterations(event.currentTarget.value)} />
          </Field>
          <Field label={t.submit.tokens} hint={t.submit.limitHint}>
            <input type="number" min={1} max={100_000_000} value={tokens} onInput={(event) => setTokens(event.currentTarget.value)} />
          </Field>
        </div>
        {files.length > 0 && (
          <ul class="plain files" aria-label={t.submit.attached}>
            {files.map((file, index) => (
              <li key={index}>
                <Icon name="file" /> {file.name} <span class="faint">{bytes(file.size)}</span>
                <button type="button" class="icon small" aria-label={t.submit.dropFile(file.name)} onClick={() => setFiles(files.filter((_, at) => at !== index))}>
                  <Icon name="cross" />
                </button>
              </li>
            ))}
          </ul>
        )}
        {error && <Problem error={error} />}
        <footer>
          <input ref={picker} type="file" multiple class="hidden" tabIndex={-1} aria-hidden="true" onChange={(event) => add(event.currentTarget.files)} />
          <button type="button" onClick={() => picker.current?.click()}>
            <Icon name="file" /> {t.submit.attach}
          </button>
          <span class="space" />
          <button type="submit" class="primary" disabled={sending !== ""} aria-keyshortcuts="Control+Enter">
            {sending || t.submit.send} {!sending && <kbd>{t.submit.sendHint}</kbd>}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

/** With one file more. Two of one name, as pictures from the clipboard are, are two: the second gets a number. */
function withFile(files: File[], file: File): File[] {
  const [, stem = file.name, ending = ""] = /^(.+?)(\.[^.]+)?$/.exec(file.name) ?? [];
  let name = file.name;
  for (let number = 2; files.some((other) => other.name === name); number++) name = `${stem} ${number}${ending}`;
  return [...files, name === file.name ? file : new File([file], name, { type: file.type })];
}

const firstLine = (text: string) => (text.trim().split("\n")[0] ?? "").slice(0, 240);
