// What runs now: each job with the step that it is at, and for how long.

import { get } from "../api";
import { Card, Problem, State, useNow } from "../components/basics";
import { duration } from "../format";
import { useLive } from "../live";
import { t } from "../texts";
import type { JobItem, JobList, StreamEvent } from "../types";
import { subject } from "./jobs";

/** Output of commands comes often and changes no step. */
const concerns = ({ kind, data }: StreamEvent) =>
  kind === "job.log" ? data.event_type !== "tool_output" : /^(job\.created|job\.status|approval|stop|resume)$/.test(kind);

export function Now() {
  const running = useLive<JobList>((signal) => get("/api/jobs?status=running&limit=50", signal), [], concerns);
  const now = useNow(1000);
  const since = (time: string) => <span class="number">{duration(Math.max(0, now - new Date(time).getTime()))}</span>;
  return (
    <Card title={t.overview.now}>
      {running.error && <Problem error={running.error} retry={running.reload} />}
      {running.data?.jobs.length === 0 && <p class="faint">{t.overview.idle}</p>}
      <ul class="plain running">
        {running.data?.jobs.map((job) => (
          <li key={job.id}>
            <div class="row">
              <State of={job.status} />
              <a href={`/admin/jobs/${job.id}`}>
                #{job.id} {subject(job)}
              </a>
              <span class="space" />
              {job.locked_at && (
                <span class="faint">
                  {t.overview.since} {since(job.locked_at)}
                </span>
              )}
            </div>
            {job.step && (
              <p class="present">
                <span>
                  <Present step={job.step} />
                </span>
                <span class="faint">{since(job.step.at)}</span>
              </p>
            )}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Present({ step: { event_type, tool_name, about } }: { step: NonNullable<JobItem["step"]> }) {
  if (event_type !== "tool_call") return <>{t.overview.steps[event_type] ?? t.overview.between}</>;
  if (tool_name === "command_execute" && about)
    return (
      <>
        {t.overview.runs} <code>{about}</code>
      </>
    );
  return (
    <>
      {t.overview.callsTool} <code>{tool_name}</code> {about && <span class="faint">{about}</span>}
    </>
  );
}
