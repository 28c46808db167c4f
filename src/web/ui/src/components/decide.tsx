// What a job waits for, with the box that gives it.

import { useState } from "preact/hooks";
import { may, post } from "../api";
import { t } from "../texts";
import type { Approval, Needs } from "../types";
import { Command, Field } from "./basics";
import { attempt } from "./dialog";
import { Icon } from "./icons";
import { Proposed } from "./proposed";

/** A question, and the answer to it. `done` hears that it was given. */
export function AnswerBox({ id, needs, done }: { id: number; needs: Needs; done: () => void }) {
  const [answer, setAnswer] = useState("");
  const [sending, setSending] = useState(false);
  const send = async () => {
    if (!answer.trim() || sending) return;
    setSending(true);
    if (await attempt(() => post(`/api/jobs/${id}/answer`, { answer }), t.job.answered)) done();
    setSending(false);
  };
  // As if it were given; the box comes back with it if the daemon refuses.
  if (sending) return <Given title={t.job.question} text={needs.text} given={answer} />;
  return (
    <form
      class="decide"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <h3>
        <Icon name="hand" /> {t.job.question}
      </h3>
      <p class="pre">{needs.text}</p>
      {may("operator") && (
        <>
          <Field label={t.job.yourAnswer}>
            <textarea
              rows={2}
              required
              maxLength={10_000}
              value={answer}
              onInput={(event) => setAnswer(event.currentTarget.value)}
              onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && void send()}
            />
          </Field>
          <div class="row">
            <button type="submit" class="primary">
              {t.job.send}
            </button>
            <Command text={needs.command} />
          </div>
        </>
      )}
    </form>
  );
}

/** One exact call, and a yes or a no to it; another call is another box, by its key. `done` hears that it was decided. */
export function ApprovalBox({ approval, done }: { approval: Approval; done: () => void }) {
  const [reason, setReason] = useState("");
  const [decided, setDecided] = useState("");
  const decide = async (what: "approve" | "deny", text: string) => {
    setDecided(text);
    const body = { approval_id: approval.id, ...(what === "deny" && reason.trim() && { reason: reason.trim() }) };
    // What is decided is not asked again: it stays so until its place knows of it.
    if (await attempt(() => post(`/api/jobs/${approval.job_id}/${what}`, body), text)) done();
    else setDecided("");
  };
  if (decided) return <Given title={`${t.job.approvalTitle}: ${approval.tool}`} given={decided} />;
  return (
    <div class="decide">
      <h3>
        <Icon name="hand" /> {t.job.approvalTitle}: <code>{approval.tool}</code>
      </h3>
      <Proposed approval={approval} />
      <p class="faint">
        {t.job.reason}: {approval.reason} · {t.job.rule}: <code>{approval.rule}</code>
      </p>
      {may("operator") && (
        <>
          <Field label={t.job.denyReason}>
            <input type="text" value={reason} onInput={(event) => setReason(event.currentTarget.value)} />
          </Field>
          <div class="row">
            <button type="button" class="primary" onClick={() => decide("approve", t.job.approved)}>
              <Icon name="check" /> {t.job.approve}
            </button>
            <button type="button" onClick={() => decide("deny", t.job.denied)}>
              <Icon name="ban" /> {t.job.deny}
            </button>
            <Command text={approval.command} />
          </div>
        </>
      )}
    </div>
  );
}

/** What a person has said, while it is on its way. */
function Given({ title, text, given }: { title: string; text?: string | null; given: string }) {
  return (
    <div class="decide" aria-busy="true">
      <h3>
        <Icon name="check" /> {title}
      </h3>
      {text && <p class="pre">{text}</p>}
      <p class="pre faint">{given}</p>
    </div>
  );
}

/** The arguments of a call, one by one; long texts as they will be. */
export function Call({ args }: { args: unknown }) {
  if (args === null || typeof args !== "object" || Array.isArray(args)) return <pre class="code" tabIndex={0}>{JSON.stringify(args, null, 2)}</pre>;
  return (
    <dl class="call">
      {Object.entries(args).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{typeof value === "string" ? <pre class="code" tabIndex={0}>{value}</pre> : <pre class="code" tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>}</dd>
        </div>
      ))}
    </dl>
  );
}
