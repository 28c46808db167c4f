import { useState } from "preact/hooks";
import { get, may, post } from "../api";
import { Card, Command, Problem, Skeleton, Time, Verdict } from "../components/basics";
import { attempt } from "../components/dialog";
import { Table } from "../components/table";
import { bytes, integer } from "../format";
import { useLive } from "../live";
import { t } from "../texts";
import type { Diagnosis, Status } from "../types";

export function Health() {
  const status = useLive<Status>((signal) => get("/api/status", signal), [], ({ kind }) => /^(job\.status|stop|resume|config)/.test(kind));
  if (status.error) return <Problem error={status.error} retry={status.reload} />;
  if (!status.data) return <Skeleton lines={8} />;
  const { database, workspace, disk, workers, sandbox, models, warnings, secrets, listening, version, started_at } = status.data;
  const broken = models.filter(({ problem }) => problem);
  const parts: [string, boolean | "warn", string][] = [
    [t.system.database, database.ok, database.problem ?? `${bytes(database.size_bytes)}, ${t.system.schema} ${integer(database.schema_version)}`],
    [t.system.workspace, workspace.ok, workspace.problem ?? ""],
    [t.system.disk, !disk.low, t.system.free(bytes(disk.free_bytes), bytes(disk.total_bytes))],
    [t.system.workers, true, t.system.workersBusy(workers.busy, workers.configured)],
    [t.system.sandbox, !sandbox.enabled ? "warn" : sandbox.problem === null, sandbox.problem ?? (sandbox.enabled ? `${sandbox.backend ?? ""} ${sandbox.level}` : t.system.disabled)],
    [t.system.models, models.length > 0 && broken.length === 0, broken.map(({ model, problem }) => `${model}: ${problem}`).join("; ") || models.map(({ model }) => model).join(", ") || t.system.noModels],
  ];
  return (
    <>
      <Card title={t.system.tabs.health} side={<span class="faint">{t.system.version} {version} · {t.system.started} <Time at={started_at} /></span>}>
        <Table label={t.system.tabs.health} head={[t.system.part, t.system.state, t.system.detail]}>
          {parts.map(([name, good, text]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>
                <Verdict good={good}>{good === "warn" ? t.system.warn : good ? t.system.good : t.system.bad}</Verdict>
              </td>
              <td>{text}</td>
            </tr>
          ))}
        </Table>
      </Card>
      <Card title={t.system.findings}>
        {warnings.length === 0 && <p class="faint">{t.system.noFindings}</p>}
        {warnings.map(({ name, text, mend }) => (
          <article key={name + text}>
            <p>
              <Verdict good="warn">{text}</Verdict>
            </p>
            <Command text={mend} />
          </article>
        ))}
      </Card>
      <Card title={t.system.listeners}>
        <Table label={t.system.listeners} head={[t.system.address, t.system.reach, t.system.guard]}>
          {listening.map(({ address, reach, guard }) => (
            <tr key={address}>
              <th scope="row">
                <code>{address}</code>
              </th>
              <td>
                <Verdict good={reach !== "public" && reach !== "every"}>{reach}</Verdict>
              </td>
              <td>{guard}</td>
            </tr>
          ))}
        </Table>
      </Card>
      {may("operator") && <Doctor />}
      <Card title={t.system.secrets}>
        <Table label={t.system.secrets} head={[t.system.secret, t.system.source, t.system.since, t.system.state]}>
          {secrets.map(({ name, source, since, problem }) => (
            <tr key={name}>
              <th scope="row">
                <code>{name}</code>
              </th>
              <td>{source ?? t.system.notSet}</td>
              <td>
                <Time at={since} />
              </td>
              <td>{problem && <Verdict good={source ? "warn" : false}>{problem}</Verdict>}</td>
            </tr>
          ))}
        </Table>
        <Command text="sudo assistantctl secret list" />
      </Card>
    </>
  );
}

/** Asked only when somebody wants to know: it connects to every server. */
function Doctor() {
  const [found, setFound] = useState<Diagnosis>();
  const [busy, setBusy] = useState(false);
  const look = async () => {
    setBusy(true);
    const diagnosis = await attempt(() => post<Diagnosis>("/api/doctor"));
    if (diagnosis) setFound(diagnosis);
    setBusy(false);
  };
  return (
    <Card title={t.system.servers}>
      <div class="row">
        <button type="button" disabled={busy} onClick={look}>
          {busy ? t.system.doctorRunning : t.system.doctor}
        </button>
        <Command text="assistantctl doctor" />
      </div>
      <p class="faint">{t.system.doctorHint}</p>
      {found && (
        <>
          {found.servers.length === 0 && <p>{t.system.noServers}</p>}
          {found.servers.length > 0 && (
            <Table label={t.system.servers} head={[t.system.host, t.system.purpose, t.system.latency]}>
              {found.servers.map(({ host, purpose, latency_ms, problem }) => (
                <tr key={host + purpose}>
                  <th scope="row">
                    <code>{host}</code>
                  </th>
                  <td>{purpose}</td>
                  <td>{problem ? <Verdict good={false}>{problem}</Verdict> : <Verdict good>{latency_ms} ms</Verdict>}</td>
                </tr>
              ))}
            </Table>
          )}
        </>
      )}
    </Card>
  );
}
