import { useState } from "preact/hooks";
import { get, may, post } from "../api";
import { Card, Command, Problem, Skeleton, Verdict } from "../components/basics";
import { attempt } from "../components/dialog";
import { Table } from "../components/table";
import { useLive } from "../live";
import { t } from "../texts";
import type { Sandbox, SandboxBackend, SandboxTest } from "../types";

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
  const { enabled, backend, backends, level, problem, landlock_abi } = sandbox.data;
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
        {backends.length > 0 && <Guarantees of={sandbox.data} />}
      </Card>
      {backends.length > 0 && <Reasons of={sandbox.data} />}
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

/** Of each backend, what it gives; what it lacks weighs less where commands run in it all the same. */
function Guarantees({ of: { backends, backend: taken, guarantees } }: { of: Sandbox }) {
  const mark = ({ guarantees, problem }: SandboxBackend, name: string) => {
    if (guarantees.some((its) => its.name === name && its.given)) return <Verdict good>{t.system.proven}</Verdict>;
    return problem ? <Verdict good={false}>{t.system.absent}</Verdict> : <Verdict good="warn">{t.system.degraded}</Verdict>;
  };
  return (
    <div class="matrix">
      <Table label={t.system.guarantee} head={[t.system.guarantee, ...backends.map(({ backend }) => backend)]}>
        {guarantees.map(({ name, required }) => (
          <tr key={name}>
            <th scope="row">
              <code>{name}</code> {required && <small>{t.required}</small>}
            </th>
            {backends.map((one) => (
              <td key={one.backend}>{mark(one, name)}</td>
            ))}
          </tr>
        ))}
        <tr>
          <th scope="row">{t.system.runsIn}</th>
          {backends.map(({ backend, problem }) => (
            <td key={backend}>
              <Verdict good={!problem}>{problem ? t.no : backend === taken ? t.system.taken : t.yes}</Verdict>
            </td>
          ))}
        </tr>
      </Table>
    </div>
  );
}

/** By what each guarantee is given, or why it is not. */
function Reasons({ of: { backends, backend: taken } }: { of: Sandbox }) {
  return (
    <Card title={t.system.how}>
      {backends.map(({ backend, guarantees, problem }) => (
        <details key={backend} open={backend === taken}>
          <summary>{backend}</summary>
          {problem && <p>{problem}</p>}
          <dl class="call">
            {guarantees.map(({ name, given, reason }) => (
              <div key={name}>
                <dt>
                  {name} {!given && t.system.lacking}
                </dt>
                <dd>{reason}</dd>
              </div>
            ))}
          </dl>
        </details>
      ))}
    </Card>
  );
}
