import { useState } from "preact/hooks";
import { get, may, post } from "../api";
import { Card, Command, Problem, Skeleton, Verdict } from "../components/basics";
import { attempt } from "../components/dialog";
import { Table } from "../components/table";
import { useLive } from "../live";
import { t } from "../texts";
import type { Sandbox, SandboxTest } from "../types";

export function SandboxTab() {
  const sandbox = useLive<Sandbox>((signal) => get("/api/sandbox", signal), [], ({ kind }) => kind === "config.reloaded");
  const [test, setTest] = useState<SandboxTest>();
  const [busy, setBusy] = useState(false);
  const probe = async () => {
    setBusy(true);
    const done = await attempt(() => post<SandboxTest>("/api/sandbox/test", {}));
    if (done) setTest(done);
    setBusy(false);
  };
  if (sandbox.error) return <Problem error={sandbox.error} retry={sandbox.reload} />;
  if (!sandbox.data) return <Skeleton lines={8} />;
  const { enabled, backend, level, guarantees, refused, problem, landlock_abi } = sandbox.data;
  return (
    <>
      <Card title={t.system.tabs.sandbox}>
        {!enabled && <p>{t.system.disabled}</p>}
        {problem && (
          <p>
            <Verdict good={false}>{problem}</Verdict>
          </p>
        )}
        <dl class="facts">
          <div>
            <dt>{t.system.backend}</dt>
            <dd>{backend ?? t.none}</dd>
          </div>
          <div>
            <dt>{t.system.level}</dt>
            <dd>{level}</dd>
          </div>
          <div>
            <dt>Landlock ABI</dt>
            <dd class="number">{landlock_abi}</dd>
          </div>
        </dl>
        {guarantees.length > 0 && (
          <Table label={t.system.guarantee} head={[t.system.guarantee, t.system.state, t.system.how]}>
            {guarantees.map(({ name, required, given, reason }) => (
              <tr key={name}>
                <th scope="row">
                  <code>{name}</code> {required && <small>{t.required}</small>}
                </th>
                <td>
                  <Verdict good={given ? true : required ? false : "warn"}>{given ? t.system.given : t.system.absent}</Verdict>
                </td>
                <td>{reason}</td>
              </tr>
            ))}
          </Table>
        )}
      </Card>
      {refused.length > 0 && (
        <Card title={t.system.refused}>
          <dl class="call">
            {refused.map(({ backend, reason }) => (
              <div key={backend}>
                <dt>{backend}</dt>
                <dd>{reason}</dd>
              </div>
            ))}
          </dl>
        </Card>
      )}
      {may("operator") && enabled && (
        <Card title={t.system.test}>
          <p class="faint">{t.system.testHint}</p>
          <div class="row">
            <button type="button" disabled={busy} onClick={probe}>
              {busy ? t.system.testing : t.system.test}
            </button>
            <Command text="assistantctl sandbox test" />
          </div>
          {test && (
            <Table label={t.system.test} head={[t.system.attempt, t.system.guarantee, t.system.outcome, t.system.detail]}>
              {test.attempts.map(({ name, guarantee, outcome, good, detail }) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>{guarantee ?? ""}</td>
                  <td>
                    <Verdict good={good}>{outcome}</Verdict>
                  </td>
                  <td>{detail}</td>
                </tr>
              ))}
            </Table>
          )}
        </Card>
      )}
    </>
  );
}
