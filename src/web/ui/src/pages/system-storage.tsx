// What lies on the disk and how long, and the backups of it.

import { get } from "../api";
import { Card, Command, Empty, Problem, Skeleton, Time, Verdict } from "../components/basics";
import { Table } from "../components/table";
import { bytes, integer } from "../format";
import { useLive } from "../live";
import { t } from "../texts";
import type { Backup, Backups, Status, Storage } from "../types";

export function StorageTab() {
  return (
    <>
      <Kinds />
      <BackupList />
    </>
  );
}

function Kinds() {
  const storage = useLive<Storage>((signal) => get("/api/storage", signal), []);
  const status = useLive<Status>((signal) => get("/api/status", signal), []);
  if (storage.error) return <Problem error={storage.error} retry={storage.reload} />;
  if (!storage.data) return <Skeleton lines={9} />;
  const { kinds, measured_at } = storage.data;
  const disk = status.data?.disk;
  const amount = (text: string, least: boolean) => (least ? t.storage.atLeast(text) : text);
  return (
    <Card
      title={t.storage.title}
      side={
        <span class="faint">
          {disk && `${t.system.free(bytes(disk.free_bytes), bytes(disk.total_bytes))} · `}
          {t.storage.measured} <Time at={measured_at} />
        </span>
      }
    >
      <Table label={t.storage.title} head={[t.storage.kind, t.storage.size, t.storage.count, t.storage.kept]}>
        {kinds.map(({ kind, bytes: size, count, at_least, kept, problem }) => (
          <tr key={kind}>
            <th scope="row">{t.storage.kinds[kind] ?? kind}</th>
            <td class="number">{size === null ? "–" : amount(bytes(size), at_least)}</td>
            <td class="number">{count === null ? "–" : kind === "sandbox" ? t.storage.sessions(count) : amount(integer(count), at_least)}</td>
            <td>{problem ? <Verdict good={false}>{problem}</Verdict> : kind === "sandbox" ? "" : (kept ?? t.storage.forever)}</td>
          </tr>
        ))}
      </Table>
      <Command text="assistantctl storage" />
    </Card>
  );
}

function BackupList() {
  const list = useLive<Backups>((signal) => get("/api/backups", signal), []);
  if (list.error) return <Problem error={list.error} retry={list.reload} />;
  if (!list.data) return <Skeleton />;
  const { backups, directory, keep_daily, keep_weekly, verify, recipients } = list.data;
  const newest = backups.find(({ kind }) => kind === "full");
  return (
    <Card title={t.storage.backups}>
      <dl class="facts">
        <div>
          <dt>{t.storage.keeps}</dt>
          <dd>{t.storage.keepsOf(keep_daily, keep_weekly)}</dd>
        </div>
        <div>
          <dt>{t.storage.checked}</dt>
          <dd>{verify ? t.yes : t.no}</dd>
        </div>
        <div>
          <dt>{t.storage.encryptedTo}</dt>
          <dd>{t.storage.recipients(recipients)}</dd>
        </div>
        <div>
          <dt>{t.storage.folder}</dt>
          <dd>
            <code class="path">{directory}</code>
          </dd>
        </div>
      </dl>
      {backups.length === 0 ? (
        <Empty title={t.storage.none} />
      ) : (
        <Table label={t.storage.backups} head={[t.storage.name, t.storage.made, t.storage.size, t.storage.schema, t.storage.check]}>
          {backups.map((backup) => (
            <tr key={backup.name}>
              <th scope="row">
                <code>{backup.name}</code>
                {backup.kind === "database" && <small>{t.storage.beforeUpgrade}</small>}
                {backup.encrypted && <small>{t.storage.encrypted}</small>}
              </th>
              <td>
                <Time at={backup.created_at} />
              </td>
              <td class="number">{bytes(backup.size_bytes)}</td>
              <td class="number">{backup.schema_version ?? "–"}</td>
              <td>
                <Check backup={backup} />
              </td>
            </tr>
          ))}
        </Table>
      )}
      <p class="faint">{t.storage.byHand}</p>
      <dl class="call">
        <dt>{t.storage.makeNow}</dt>
        <dd>
          <Command text="sudo systemctl start assistant-backup.service" />
        </dd>
        <dt>{t.storage.next}</dt>
        <dd>
          <Command text="systemctl list-timers assistant-backup.timer" />
        </dd>
        <dt>{t.storage.verifyOne}</dt>
        <dd>
          <Command text={`sudo assistantctl backup verify ${newest?.name ?? "NAME"}`} />
        </dd>
      </dl>
    </Card>
  );
}

function Check({ backup: { verified_at, checked_at, problem } }: { backup: Backup }) {
  if (problem)
    return (
      <>
        <Verdict good={false}>
          {t.storage.bad} <Time at={checked_at} />
        </Verdict>
        <small>{problem}</small>
      </>
    );
  if (!verified_at) return <Verdict good="warn">{t.storage.notChecked}</Verdict>;
  return (
    <Verdict good>
      {t.storage.good} <Time at={verified_at} />
    </Verdict>
  );
}
