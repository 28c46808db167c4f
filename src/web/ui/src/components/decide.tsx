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
    const sent = await attempt(() => post(`/api/jobs/${id}/answer`, { answer }), t.job.answered);
    setSending(false);
    if (sent) done();
  };
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
            <button type="submit" class="primary" disabled={sending}>
              {t.job.send}
            </button>
            <Command text={needs.command} />
          </div>
        </>
      )}
    </form>
  );
}

/** One exact call, and a yes or a no to it. */
export function ApprovalBox({ approval, done }: { approval: Approval; done: () => void }) {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const decide = async (what: "approve" | "deny", text: string) => {
    setBusy(true);
    const body = { approval_id: approval.id, ...(what === "deny" && reason.trim() && { reason: reason.trim() }) };
    const decided = await attempt(() => post(`/api/jobs/${approval.job_id}/${what}`, body), text);
    setBusy(false);
    if (decided) done();
  };
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
            <button type="button" class="primary" disabled={busy} onClick={() => decide("approve", t.job.approved)}>
              <Icon name="check" /> {t.job.approve}
            </button>
            <button type="button" disabled={busy} onClick={() => decide("deny", t.job.denied)}>
              <Icon name="ban" /> {t.job.deny}
            </button>
            <Command text={approval.command} />
          </div>
        </>
      )}
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
