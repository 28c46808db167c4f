// One message that came, or one that goes out.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get, may, post } from "../api";
import { EffectMark, Problem, Skeleton, Time, Verdict } from "../components/basics";
import { Call } from "../components/decide";
import { attempt, confirm } from "../components/dialog";
import { Markdown } from "../components/markdown";
import { Resolve } from "../components/resolve";
import { SafeHtml } from "../components/safe-html";
import { bytes } from "../format";
import { useLive } from "../live";
import { t } from "../texts";
import type { MailArtifact, MailOutDetail, MailReceivedDetail } from "../types";

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function JobLink({ id }: { id: number | null }) {
  return id === null ? null : (
    <Fact name={t.mail.job}>
      <a href={`/admin/jobs/${id}`}>#{id}</a>
    </Fact>
  );
}

export function ReceivedPage({ id }: { id: number }) {
  const live = useLive<MailReceivedDetail>(
    (signal) => get(`/api/mail/received/${id}`, signal),
    [id],
    ({ kind }) => kind === "mail.received",
  );
  const [asHtml, setAsHtml] = useState(false);
  useEffect(() => void (document.title = t.page(live.data?.received.subject || t.mail.title)), [live.data]);
  if (live.error) return <Problem error={live.error} retry={live.reload} />;
  if (!live.data) return <Skeleton lines={10} />;
  const { received, headers, email, artifacts } = live.data;
  const open = ["stored", "loop", "ignored", "set_aside"].includes(received.decision) && received.email_id !== null;
  return (
    <div class="page">
      <p>
        <a href="/admin/mail">{t.mail.title}</a>
      </p>
      <h1>{received.subject || t.mail.noSubject}</h1>
      <dl class="facts">
        <Fact name={t.mail.from}>
          {received.from_address ?? t.mail.unknownSender}{" "}
          <Verdict good={received.verified ? true : "warn"}>{received.verified ? t.mail.verified : t.mail.unverified}</Verdict>
        </Fact>
        {email && <Fact name={t.mail.to}>{email.to_addresses.join(", ")}</Fact>}
        {email && email.cc_addresses.length > 0 && <Fact name={t.mail.cc}>{email.cc_addresses.join(", ")}</Fact>}
        <Fact name={t.mail.at}>
          <Time at={received.received_at} />
        </Fact>
        <Fact name={t.mail.size}>{bytes(received.size_bytes)}</Fact>
        <Fact name={t.mail.mailbox}>{received.mailbox}</Fact>
        <Fact name={t.mail.decision}>
          <span class={`state mail-${received.decision}`}>{t.mail.decisions[received.decision]}</span>
        </Fact>
        <Fact name={t.mail.why}>{received.reason}</Fact>
        {received.decided_by && <Fact name={t.mail.by}>{received.decided_by}</Fact>}
        <JobLink id={received.job_id} />
        <Fact name={t.mail.archive}>
          {t.mail.archived[received.archive] ?? received.archive}
          {received.archive_error && `: ${received.archive_error}`}
        </Fact>
      </dl>
      {open && may("operator") && <ByHand id={id} ignored={received.decision === "ignored"} reload={live.reload} />}
      <Attachments all={artifacts} />
      {email && (
        <section aria-label={t.mail.text}>
          {email.body_html && (
            <div class="row">
              <button type="button" class="chip" aria-pressed={!asHtml} onClick={() => setAsHtml(false)}>
                {t.mail.text}
              </button>
              <button type="button" class="chip" aria-pressed={asHtml} onClick={() => setAsHtml(true)}>
                {t.mail.html}
              </button>
            </div>
          )}
          {asHtml && email.body_html ? <SafeHtml html={email.body_html} /> : <pre class="prose">{email.body_text}</pre>}
        </section>
      )}
      <details>
        <summary>{t.mail.proof}</summary>
        <Call args={received.verification} />
      </details>
      {headers.length > 0 && (
        <details>
          <summary>{t.mail.headers}</summary>
          <dl class="headers">
            {headers.map(([name, value]) => (
              <div>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </details>
      )}
    </div>
  );
}

/** A person decides otherwise. */
function ByHand({ id, ignored, reload }: { id: number; ignored: boolean; reload: () => void }) {
  const decide = async (decision: "accept" | "ignore") => {
    const { acceptTitle: title, acceptText: text, accept: yes } = t.mail;
    if (decision === "accept" && !(await confirm({ title, text, yes }))) return;
    if (await attempt(() => post(`/api/mail/received/${id}/decide`, { decision }), t.mail.decided)) reload();
  };
  return (
    <div class="row">
      <button type="button" onClick={() => decide("accept")}>
        {t.mail.accept}
      </button>
      {!ignored && (
        <button type="button" onClick={() => decide("ignore")}>
          {t.mail.ignore}
        </button>
      )}
    </div>
  );
}

function Attachments({ all }: { all: MailArtifact[] }) {
  if (all.length === 0) return null;
  return (
    <section>
      <h2>{t.mail.attachments}</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">{t.mail.file}</th>
              <th scope="col">{t.mail.size}</th>
              <th scope="col">{t.mail.scan}</th>
              <th scope="col">{t.mail.conversion}</th>
            </tr>
          </thead>
          <tbody>
            {all.map((one) => (
              <tr key={one.artifact_id}>
                <td>{one.original_filename ?? one.source_uri ?? one.label}</td>
                <td>{one.size_bytes === null ? "–" : bytes(one.size_bytes)}</td>
                <td>
                  <Verdict good={one.scan_status === "infected" ? false : one.scan_status === "clean" ? true : "warn"}>
                    {one.scan_result ?? one.scan_status}
                  </Verdict>
                </td>
                <td>
                  {one.markdown_path ? (
                    <a href={`/workspace?path=${encodeURIComponent(one.markdown_path)}`}>{one.markdown_path}</a>
                  ) : (
                    (one.error ?? one.conversion_status)
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

export function OutgoingPage({ id }: { id: number }) {
  const live = useLive<MailOutDetail>(
    (signal) => get(`/api/mail/outbox/${id}`, signal),
    [id],
    ({ kind }) => kind === "effect.state",
  );
  useEffect(() => void (document.title = t.page(live.data?.outgoing.subject || t.mail.title)), [live.data]);
  if (live.error) return <Problem error={live.error} retry={live.reload} />;
  if (!live.data) return <Skeleton lines={10} />;
  const { outgoing, body_text } = live.data;
  return (
    <div class="page">
      <p>
        <a href="/admin/mail/out">{t.mail.out}</a>
      </p>
      <h1>{outgoing.subject || t.mail.noSubject}</h1>
      <dl class="facts">
        <Fact name={t.mail.to}>{outgoing.to_addresses.join(", ")}</Fact>
        {outgoing.cc_addresses.length > 0 && <Fact name={t.mail.cc}>{outgoing.cc_addresses.join(", ")}</Fact>}
        <Fact name={t.mail.state}>
          <EffectMark of={outgoing.state} /> {t.mail.kinds[outgoing.kind] ?? outgoing.kind}
        </Fact>
        <JobLink id={outgoing.job_id} />
        <Fact name={t.mail.sent}>
          <Time at={outgoing.sent_at} />
        </Fact>
        <Fact name={t.mail.attempts}>{outgoing.attempts}</Fact>
        {outgoing.next_attempt_at && (
          <Fact name={t.mail.nextTry}>
            <Time at={outgoing.next_attempt_at} />
          </Fact>
        )}
        {outgoing.answer && <Fact name={t.mail.answer}>{outgoing.answer}</Fact>}
        {outgoing.bounce && <Fact name={t.mail.bounce}>{outgoing.bounce}</Fact>}
        <Fact name={t.mail.copy}>
          {t.mail.copies[outgoing.sent_copy] ?? outgoing.sent_copy}
          {outgoing.sent_copy_error && `: ${outgoing.sent_copy_error}`}
        </Fact>
      </dl>
      {outgoing.state === "unknown" && (
        <Resolve effect={{ id: outgoing.effect_id, tool: "email_send", job_id: outgoing.job_id }} done={live.reload} />
      )}
      <Markdown text={body_text} />
    </div>
  );
}
