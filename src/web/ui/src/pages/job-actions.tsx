// What a person may do with a job: the buttons that fit its state, an instruction, other limits.

import { useState } from "preact/hooks";
import { may, post, remove } from "../api";
import { Bar, Field } from "../components/basics";
import { attempt, confirm, Dialog } from "../components/dialog";
import { Icon } from "../components/icons";
import { integer } from "../format";
import { go } from "../router";
import { t } from "../texts";
import type { JobDetail, JobStatus } from "../types";
import { spent } from "./job-limits";

interface Props {
  detail: JobDetail;
  reload: () => void;
  set: (detail: JobDetail) => void;
  /** Whether the page is to keep up with the job. One that is being erased has nothing more to tell. */
  follow: (on: boolean) => void;
}

export function JobActions({ detail, reload, set, follow }: Props) {
  const [telling, setTelling] = useState(false);
  const [reviewing, setReviewing] = useState(false);
  const { job, actions } = detail;
  if (!may("operator")) return null;

  // Shown at once; taken back when the daemon refuses.
  const become = async (status: JobStatus, path: string, done: string) => {
    set({ ...detail, job: { ...job, status } });
    await attempt(() => post(path), done, () => set(detail));
    reload();
  };
  const cancel = async () => {
    if (await confirm({ title: t.job.cancelTitle, text: t.job.cancelText, yes: t.job.actions.cancel }))
      await become("cancelled", `/api/jobs/${job.id}/cancel`, t.job.cancelled);
  };
  const erase = async () => {
    if (!(await confirm({ title: t.job.eraseTitle, text: t.job.eraseText, yes: t.job.actions.erase }))) return;
    follow(false);
    if (await attempt(() => remove(`/api/jobs/${job.id}`), t.job.erased, () => follow(true))) go("/admin/jobs", { replace: true });
  };
  return (
    <div class="row actions">
      {actions.can_cancel && (
        <button type="button" onClick={cancel}>
          <Icon name="ban" /> {t.job.actions.cancel}
        </button>
      )}
      {actions.can_requeue && (
        <button type="button" onClick={() => become("queued", `/api/jobs/${job.id}/requeue`, t.job.requeued)}>
          <Icon name="play" /> {t.job.actions.requeue}
        </button>
      )}
      <button type="button" onClick={() => setTelling(true)}>
        <Icon name="plus" /> {t.job.actions.instruct}
      </button>
      {actions.can_review_override && (
        <button type="button" onClick={() => setReviewing(true)}>
          {t.job.actions.review}
        </button>
      )}
      {may("admin") && (
        <button type="button" class="danger" onClick={erase}>
          {t.job.actions.erase}
        </button>
      )}
      {telling && <Instruct id={job.id} close={() => setTelling(false)} done={reload} />}
      {reviewing && (
        <Dialog title={t.job.actions.review} close={() => setReviewing(false)}>
          <Review
            detail={detail}
            done={() => {
              setReviewing(false);
              reload();
            }}
          />
        </Dialog>
      )}
    </div>
  );
}

function Instruct({ id, close, done }: { id: number; close: () => void; done: () => void }) {
  const [instruction, setInstruction] = useState("");
  const send = async () => {
    if (!instruction.trim()) return;
    if (!(await attempt(() => post(`/api/jobs/${id}/instructions`, { instruction }), t.job.told))) return;
    close();
    done();
  };
  return (
    <Dialog title={t.job.actions.instruct} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <Field label={t.job.instruction} hint={t.job.instructionHint}>
          <textarea rows={4} required maxLength={10_000} autofocus value={instruction} onInput={(event) => setInstruction(event.currentTarget.value)} />
        </Field>
        <footer>
          <button type="submit" class="primary">
            {t.job.send}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

/** Why it stopped, how far it had come, and the limits of its next run: doubled where one was reached. */
export function Review({ detail, done }: { detail: JobDetail; done: () => void }) {
  const { job, review_diagnostics: found, review_defaults: base } = detail;
  const limit = (name: "max_iterations" | "max_tokens" | "max_job_cost_usd", reason: string, fallback: number) => {
    const now = found?.limits[name];
    const value = typeof now === "number" ? now : fallback;
    return { now: value, next: found?.stop_reason === reason ? value * 2 : value };
  };
  const iterations = limit("max_iterations", "max_iterations", base.max_iterations_per_task);
  const tokens = limit("max_tokens", "token_budget", base.max_tokens_per_task);
  const dollars = limit("max_job_cost_usd", "spend_cap", base.max_job_cost_usd);
  const [maxDollars, setDollars] = useState(String(dollars.next));
  const [maxIterations, setIterations] = useState(String(iterations.next));
  const [maxTokens, setTokens] = useState(String(tokens.next));
  const [instruction, setInstruction] = useState("");
  const [requeue, setRequeue] = useState(true);
  const used = (name: string) => (typeof found?.usage[name] === "number" ? (found.usage[name] as number) : 0);
  const apply = async () => {
    const body = {
      max_iterations_per_task: Number(maxIterations),
      max_tokens_per_task: Number(maxTokens),
      max_job_cost_usd: Number(maxDollars),
      requeue,
      ...(instruction.trim() && { instruction: instruction.trim() }),
    };
    if (await attempt(() => post(`/api/jobs/${job.id}/review-override`, body), t.job.applied)) done();
  };
  return (
    <form
      class="decide"
      onSubmit={(event) => {
        event.preventDefault();
        void apply();
      }}
    >
      {found && (
        <>
          <p>
            <strong>{t.job.stoppedBecause}</strong> {found.explanation}
          </p>
          <Bar label={t.job.iterations} value={used("iterations_used")} most={iterations.now} text={`${integer(used("iterations_used"))} / ${integer(iterations.now)}`} />
          <Bar label={t.job.tokens} value={used("total_tokens")} most={tokens.now} text={`${integer(used("total_tokens"))} / ${integer(tokens.now)}`} />
          <Bar label={t.job.money} value={detail.usage.cost_total} most={dollars.now} text={spent(detail.usage.cost_total, dollars.now)} />
          <p>
            {t.job.calls}: <span class="number">{integer(used("api_calls"))}</span>
          </p>
        </>
      )}
      <div class="columns">
        <Field label={t.job.maxIterations}>
          <input type="number" min={1} max={10_000} required value={maxIterations} onInput={(event) => setIterations(event.currentTarget.value)} />
        </Field>
        <Field label={t.job.maxTokens}>
          <input type="number" min={1} max={100_000_000} required value={maxTokens} onInput={(event) => setTokens(event.currentTarget.value)} />
        </Field>
        <Field label={t.job.maxDollars} hint={t.job.maxDollarsHint}>
          <input type="number" min={0} max={1_000_000} step="any" required value={maxDollars} onInput={(event) => setDollars(event.currentTarget.value)} />
        </Field>
      </div>
      <Field label={t.job.instruction}>
        <textarea rows={2} maxLength={10_000} value={instruction} onInput={(event) => setInstruction(event.currentTarget.value)} />
      </Field>
      <label class="inline">
        <input type="checkbox" checked={requeue} onChange={(event) => setRequeue(event.currentTarget.checked)} /> {t.job.requeueNow}
      </label>
      <div class="row">
        <button type="submit" class="primary">
          {t.job.apply}
        </button>
      </div>
    </form>
  );
}
