// Who is told of what, when and why; how to change it; and what was told lately.

import { get } from "../api";
import { Card, Command, EffectMark, Problem, Skeleton, Time, Verdict } from "../components/basics";
import { Table } from "../components/table";
import { useLive } from "../live";
import { t } from "../texts";
import type { Notifications, Setting } from "../types";

export function Notices() {
  const told = useLive<Notifications>((signal) => get("/api/notifications", signal), [], ({ kind }) => /^(effect\.state|config)/.test(kind));
  const settings = useLive<{ settings: Setting[] }>((signal) => get("/api/config", signal), [], ({ kind }) => kind === "config.reloaded");
  const error = told.error ?? settings.error;
  if (error) return <Problem error={error} retry={told.error ? told.reload : settings.reload} />;
  if (!told.data || !settings.data) return <Skeleton lines={10} />;
  const all = new Map(settings.data.settings.map((setting) => [setting.key, setting]));
  return (
    <>
      <div class="columns">
        {told.data.ways.map((way) => (
          <Card
            key={way.way}
            title={t.notices.ways[way.way] ?? way.way}
            side={<Verdict good={way.problem === null ? true : "warn"}>{way.problem === null ? t.notices.on : t.notices.off}</Verdict>}
          >
            <p>
              <strong class="path">{way.to ?? (way.way === "requester" ? t.notices.whoever : t.notices.nobody)}</strong>
            </p>
            {way.problem && <p>{way.problem}</p>}
            <h3>{t.notices.told}</h3>
            <ul class="told">
              {way.told.map((when) => (
                <li key={when}>{when}</li>
              ))}
            </ul>
            <details>
              <summary>{t.notices.settings}</summary>
              <dl class="call">
                {way.keys.map((key) => (
                  <div key={key} title={all.get(key)?.doc}>
                    <dt>
                      <code>{key}</code>
                    </dt>
                    <dd>
                      <code class="path">{shown(all.get(key))}</code>
                    </dd>
                  </div>
                ))}
              </dl>
            </details>
            <Command text={`sudo assistantctl config set ${way.keys[0]} VALUE`} />
          </Card>
        ))}
      </div>
      <Card title={t.notices.lately} side={<Command text="assistantctl notifications" />}>
        {told.data.lately.length === 0 ? (
          <p class="faint">{t.notices.nothing}</p>
        ) : (
          <Table label={t.notices.lately} head={[t.notices.when, t.notices.what, t.notices.way, t.notices.to, t.notices.job, t.notices.state]}>
            {told.data.lately.map(({ effect_id, at, kind, way, to, job_id, subject, state, answer }) => (
              <tr key={effect_id}>
                <td>
                  <Time at={at} />
                </td>
                <th scope="row">{t.notices.kinds[kind] ?? kind}</th>
                <td>{t.notices.wayNames[way] ?? way}</td>
                <td class="path">{to}</td>
                <td>
                  {job_id === null ? (
                    subject
                  ) : (
                    <a href={`/admin/jobs/${job_id}`}>
                      #{job_id} {subject}
                    </a>
                  )}
                </td>
                <td>
                  <EffectMark of={state} />
                  {answer && <small>{answer}</small>}
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Card>
    </>
  );
}

const shown = (setting: Setting | undefined) => (setting === undefined || setting.value === null ? "–" : JSON.stringify(setting.value));
