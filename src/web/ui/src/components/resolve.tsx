import { may, post } from "../api";
import { t } from "../texts";
import type { Effect } from "../types";
import { attempt, tell } from "./dialog";
import { Icon } from "./icons";

/** A person says what became of an effect that the daemon cannot find out about. */
export function Resolve({ effect, done }: { effect: Pick<Effect, "id">; done: () => void }) {
  const say = async (state: "confirmed" | "failed") => {
    if (await attempt(() => post(`/api/effects/${effect.id}/resolve`, { state }), t.effects.resolved)) done();
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
        </div>
      )}
    </div>
  );
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
