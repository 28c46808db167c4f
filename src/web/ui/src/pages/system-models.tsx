import { useState } from "preact/hooks";
import { get, may, post } from "../api";
import { Card, Command, Empty, Problem, Skeleton, Time, Verdict } from "../components/basics";
import { attempt } from "../components/dialog";
import { Table } from "../components/table";
import { duration, integer, money } from "../format";
import { useLive } from "../live";
import { t } from "../texts";
import type { Model, ModelTest } from "../types";

export function Models() {
  const models = useLive<{ models: Model[] }>((signal) => get("/api/models", signal), [], ({ kind }) => /^(config|job\.status)/.test(kind));
  const [tests, setTests] = useState<ModelTest[]>();
  const [busy, setBusy] = useState(false);
  const call = async () => {
    setBusy(true);
    const done = await attempt(() => post<{ models: ModelTest[] }>("/api/models/test"));
    if (done) setTests(done.models);
    setBusy(false);
  };
  if (models.error) return <Problem error={models.error} retry={models.reload} />;
  if (!models.data) return <Skeleton />;
  if (!models.data.models.length)
    return (
      <Empty title={t.system.noModels}>
        <Command text="sudo assistantctl setup" />
      </Empty>
    );
  const failed = models.data.models.flatMap(({ role, model, recent_failures }) => recent_failures.map((failure) => ({ role, model, ...failure })));
  failed.sort((one, other) => other.at.localeCompare(one.at));
  return (
    <>
      <Card title={t.system.tabs.models}>
        <Table label={t.system.tabs.models} head={[t.system.role, t.system.model, t.system.host, t.system.price, t.system.answered, t.system.failures, t.system.state]}>
          {models.data.models.map(({ role, model, provider, host, local, price, problem, failures, failures_in_a_row, paused_seconds, last_answer }) => (
            <tr key={role + model}>
              <th scope="row">{role}</th>
              <td>
                <code>{model}</code> <small>{provider}</small>
              </td>
              <td>
                <code>{host}</code> <small>{local ? t.system.local : t.system.remote}</small>
              </td>
              <td class="number">{price ? t.system.priceOf(money(price.input), money(price.output)) : "–"}</td>
              <td class="number">
                {last_answer ? (
                  <>
                    <Time at={last_answer.at} /> <small>{duration(last_answer.latency_ms)}</small>
                  </>
                ) : (
                  "–"
                )}
              </td>
              <td class="number">{Object.entries(failures).map(([kind, count]) => `${kind} ${integer(count)}`).join(", ") || t.none}</td>
              <td>
                <Verdict good={problem === null}>{paused_seconds === null ? (problem ?? t.system.good) : t.system.paused(duration(paused_seconds * 1000))}</Verdict>
                {failures_in_a_row > 0 && <small>{t.system.inARow(failures_in_a_row)}</small>}
              </td>
            </tr>
          ))}
        </Table>
        {may("operator") && (
          <div class="row">
            <button type="button" disabled={busy} onClick={call}>
              {busy ? t.system.modelTesting : t.system.modelTest}
            </button>
            <Command text="assistantctl models test" />
          </div>
        )}
        {tests && (
          <Table label={t.system.modelTest} head={[t.system.role, t.system.outcome, t.system.tools, t.system.latency, t.jobs.cost]}>
            {tests.map(({ role, ok, problem, tools, latency_ms, cost }) => (
              <tr key={role}>
                <th scope="row">{role}</th>
                <td>
                  <Verdict good={ok}>{problem ?? t.system.answers}</Verdict>
                </td>
                <td>{tools === null ? "–" : <Verdict good={tools}>{tools ? t.system.tools : t.system.noTools}</Verdict>}</td>
                <td class="number">{latency_ms === null ? "–" : `${latency_ms} ms`}</td>
                <td class="number">{cost === null ? "–" : money(cost)}</td>
              </tr>
            ))}
          </Table>
        )}
      </Card>
      <Card title={t.system.lastFailures} side={<Command text="assistantctl models list" />}>
        {failed.length === 0 ? (
          <p class="faint">{t.system.noFailures}</p>
        ) : (
          <Table label={t.system.lastFailures} head={[t.notices.when, t.system.role, t.system.model, t.system.kind, t.system.why]}>
            {failed.map(({ at, role, model, kind, reason }) => (
              <tr key={role + at + reason}>
                <td>
                  <Time at={at} />
                </td>
                <td>{role}</td>
                <td>
                  <code>{model}</code>
                </td>
                <td>{kind.replaceAll("_", " ")}</td>
                <td>{reason}</td>
              </tr>
            ))}
          </Table>
        )}
      </Card>
    </>
  );
}
