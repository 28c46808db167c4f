import { ApiError, get, may, post, query } from "../api";
import { t } from "../texts";
import type { Effect, MailOut } from "../types";
import { attempt, confirm, tell } from "./dialog";
import { Icon } from "./icons";

type Unknown = Pick<Effect, "id" | "tool" | "job_id">;

/** A person says what became of an effect that the daemon cannot find out about, or has it done again. */
export function Resolve({ effect, done }: { effect: Unknown; done: () => void }) {
  const isMail = effect.tool === "email_send";
  const { retry: yes, retryTitle: title, retryText: text } = isMail ? t.effects.mail : t.effects;
  const say = async (state: "confirmed" | "failed") => {
    if (await attempt(() => post(`/api/effects/${effect.id}/resolve`, { state }), t.effects.resolved)) done();
  };
  const again = async () => {
    if (!(await confirm({ title, text, yes }))) return;
    if (await attempt(() => (isMail ? resend(effect) : rerun(effect)), isMail ? t.effects.mail.retried : t.effects.retried)) done();
  };
  return (
    <div>
      <p class="faint">{t.effects.resolveHint}</p>
      {may("admin") && (
        <div class="row">
          <button type="button" onClick={() => say("confirmed")}>
            <Icon name="check" /> {t.effects.confirm}
          </button>
          <button type="button" onClick={() => say("failed")}>
            <Icon name="cross" /> {t.effects.fail}
          </button>
          {(isMail || effect.job_id !== null) && (
            <button type="button" onClick={again}>
              <Icon name="play" /> {yes}
            </button>
          )}
        </div>
      )}
    </div>
  );
}

/** The same message goes out once more. */
async function resend({ id }: Unknown) {
  const { outbox } = await get<{ outbox: Pick<MailOut, "id" | "effect_id">[] }>("/api/mail/outbox" + query({ state: "unknown", limit: 200 }));
  const mail = outbox.find(({ effect_id }) => effect_id === id);
  if (!mail) throw new ApiError(404, "not_found", t.effects.mail.gone, undefined, undefined);
  return post(`/api/mail/outbox/${mail.id}/resend`);
}

/** It counts as not having happened, and its job decides anew what to do; one that goes on anyway hears of it by itself. */
async function rerun({ id, job_id }: Unknown) {
  const resolved = await post(`/api/effects/${id}/resolve`, { state: "failed" });
  await post(`/api/jobs/${job_id}/requeue`).catch((err: ApiError) => {
    if (err.status !== 409) throw err;
  });
  return resolved;
}

/** What the ledger keeps of a change of a file. */
interface Change {
  op?: string;
  before?: { kept?: string } | null;
}

/** Takes the change of a file back, where what was there before is kept. */
export function Undo({ effect, done }: { effect: Pick<Effect, "id" | "state" | "detail">; done: () => void }) {
  const { op, before } = effect.detail as Change;
  const known = op === "write" ? !before || before.kept : ["folder", "move", "copy", "trash", "restore"].includes(op ?? "");
  if (effect.state !== "confirmed" || !known || !may("operator")) return null;
  const undo = async () => {
    const undone = await attempt(() => post<{ done: string }>(`/api/effects/${effect.id}/undo`));
    if (!undone) return;
    tell(undone.done);
    done();
  };
  return (
    <button type="button" onClick={undo}>
      <Icon name="undo" /> {t.undo}
    </button>
  );
}
