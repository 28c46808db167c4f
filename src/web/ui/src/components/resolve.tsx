import { may, post } from "../api";
import { t } from "../texts";
import type { Effect } from "../types";
import { attempt } from "./dialog";
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
